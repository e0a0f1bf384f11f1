"""A process that runs a routed step with an answer store, and may be told to die where no checkpoint helps.

    python answered.py FOLDER STORE_URL sync|async DIE_AT

DIE_AT is `kept` (the reply's commit has returned, the node's writes are not saved yet) or `never`. Every
paid call is a line in FOLDER/calls; death is SIGKILL. The run starts, or goes on where a killed one stopped,
and prints its decision record without what depends on the clock.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from langroute import add_routed_step
from langroute.testing import ScriptedChatModel, capture_decisions

FOLDER, STORE, MODE, DIE_AT = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
PRICE = {"input": 1_000.0, "output": 1_000.0}


class Paid(ScriptedChatModel):
    """A scripted model whose calls outlive the process."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        with (FOLDER / "calls").open("a") as calls:
            calls.write(f"{self.name}\n")
        return super()._generate(messages, *args, **kwargs)


class State(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]
    answer: str


def die_if_told(writes: Any) -> None:
    held = dict(writes).get("langroute_answer") or {}
    if DIE_AT == "kept" and held.get("pending"):
        os.kill(os.getpid(), signal.SIGKILL)


class Saver(SqliteSaver):
    """A saver whose process may die before a node's writes are saved."""

    def put_writes(self, config: Any, writes: Any, *args: Any, **kwargs: Any) -> None:
        die_if_told(writes)
        super().put_writes(config, writes, *args, **kwargs)


class AsyncSaver(AsyncSqliteSaver):
    """The same for async runs."""

    async def aput_writes(self, config: Any, writes: Any, *args: Any, **kwargs: Any) -> None:
        die_if_told(writes)
        await super().aput_writes(config, writes, *args, **kwargs)


def builder() -> StateGraph[Any, Any, Any, Any]:
    tiers = {
        name: {"models": [{"model": Paid(name=name, reply=reply), "name": name, "price": PRICE}]}
        for name, reply in (("small", "I cannot help with that."), ("large", "It was laid in 1866."))
    }
    step = {"cascade": ["small", "large"], "verify": ["no_refusal"]}
    written = {"tiers": tiers, "steps": {"answer": step}}
    drawn = StateGraph(State)
    add_routed_step(drawn, "answer", written, output="answer", answer_store=STORE)
    drawn.add_edge(START, "answer")
    drawn.add_edge("answer", END)
    return drawn


CONFIG: Any = {"configurable": {"thread_id": "1"}}


def run() -> None:
    with Saver.from_conn_string(str(FOLDER / "checkpoints.sqlite")) as saver:
        graph = builder().compile(checkpointer=saver)
        given = None if graph.get_state(CONFIG).next else {"messages": [HumanMessage("When?")]}
        graph.invoke(given, CONFIG, durability="sync")


async def arun() -> None:
    opened: AbstractAsyncContextManager[Any] = AsyncSaver.from_conn_string(str(FOLDER / "checkpoints.sqlite"))
    async with opened as saver:
        graph = builder().compile(checkpointer=saver)
        given = None if (await graph.aget_state(CONFIG)).next else {"messages": [HumanMessage("When?")]}
        await graph.ainvoke(given, CONFIG, durability="sync")


with capture_decisions() as decisions:
    run() if MODE == "sync" else asyncio.run(arun())
record = decisions[0].as_dict()
for timed in (record, *record["attempts"]):
    for key in ("call_id", "latency_s", "judged_s"):
        timed.pop(key, None)
sys.stdout.write(json.dumps(record))
