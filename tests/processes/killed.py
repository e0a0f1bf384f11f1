"""A process that runs routed graphs on a real checkpointer, and dies where it is told to.

Its models are those of a loopback provider in the test's own process: the provider's log of what was
paid for outlives every death. A conversation that has begun is resumed, any other is started.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.synchronize import Event
from typing import Annotated, Any, Literal
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AnyMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from langroute import RoutedChatModel, add_routed_step

__all__ = ["PRELOADED", "Death", "Job", "drawn", "opened", "thread", "work"]

PRELOADED = [
    *("langroute.graph", "langchain_openai", "pytest", "sqlalchemy"),
    *("langgraph.checkpoint.sqlite.aio", "langgraph.checkpoint.postgres.aio"),
]
"""What a server of new processes may have imported already; a process that imports it afresh takes 2 s."""

SQLITE = "sqlite:///"

STEPS: dict[str, dict[str, Any]] = {
    "rewrite": {"cascade": ["small"]},
    "extract": {"cascade": ["shaky", "large"], "verify": ["no_refusal"]},
    "answer": {"cascade": ["small", "large"], "verify": ["no_refusal"], "repair": 1},
}
"""A reply that nothing judges; a call that fails and an escalation; a repair and an escalation."""


@dataclass
class Death(BaseCallbackHandler):
    """Ends the process by `os._exit`, as by a signal: nothing is flushed, no handler runs."""

    place: str = "never"
    """`read`: right after a reply was read, before langroute has it; `kept`: after the node that made the
    call has returned (an answer store has committed), before LangGraph has written any of it down; or a
    node's name: right before it works."""
    reply: int = 1
    """Which reply of the process, counted from 1, `read` and `kept` mean."""
    run_inline = True
    _node: UUID | None = None

    def on_chain_start(self, *_: Any, metadata: dict[str, Any] | None = None, **__: Any) -> None:
        self._die((metadata or {}).get("langgraph_node"))

    def on_llm_end(self, *_: Any, parent_run_id: UUID | None = None, **__: Any) -> None:
        self.reply -= 1
        if self.reply == 0:
            self._node = parent_run_id
            self._die("read")

    def on_chain_end(self, *_: Any, run_id: UUID, **__: Any) -> None:
        if run_id == self._node:
            self._die("kept")

    def _die(self, place: str | None) -> None:
        if self.place == place:
            os._exit(9)


@dataclass(frozen=True)
class Job:
    """Which conversations a process runs, and where it keeps them."""

    provider_url: str
    saver_url: str
    store_url: str | None
    """URL of the answer store, None without one."""
    threads: tuple[str, ...]
    durability: Literal["sync", "async"] = "sync"
    mode: Literal["sync", "async"] = "sync"
    """Whether the graph is invoked one conversation after the other, or awaited for all of them at once."""
    death: Death = field(default_factory=Death)


def work(job: Job, begun: Event) -> None:
    """Say that the work has begun, and run every conversation of the job to its end, or to its death."""
    begun.set()
    if job.mode == "async":
        asyncio.run(_converse_at_once(job))
        return
    with opened(job.saver_url) as saver:
        graph = drawn(job).compile(checkpointer=saver)
        for name in job.threads:
            config = thread(name, job.death)
            known = graph.get_state(config).created_at is not None
            graph.invoke(None if known else {"thread": name}, config, durability=job.durability)


async def _converse_at_once(job: Job) -> None:
    async with _aopened(job.saver_url) as saver:
        graph = drawn(job).compile(checkpointer=saver)

        async def converse(name: str) -> None:
            config = thread(name, job.death)
            known = (await graph.aget_state(config)).created_at is not None
            await graph.ainvoke(None if known else {"thread": name}, config, durability=job.durability)

        await asyncio.gather(*map(converse, job.threads))


def thread(name: str, *callbacks: BaseCallbackHandler) -> Any:
    """Return the config of a conversation."""
    return {"configurable": {"thread_id": name}, "callbacks": list(callbacks)}


class State(TypedDict, total=False):
    thread: str
    messages: Annotated[list[AnyMessage], add_messages]


def drawn(job: Job) -> StateGraph[Any, Any, Any, Any]:
    """Return the graph of the three steps; each prompt says which conversation and which step it is."""
    tiers = {"shaky": ["down", "small"], "small": ["small"], "large": ["large"]}
    price = {"input": 1.0, "output": 4.0}
    clients = {
        name: ChatOpenAI(model=name, base_url=job.provider_url, api_key="loopback", max_retries=0)
        for name in ("down", "small", "large")
    }
    models = {
        tier: [{"model": clients[name], "name": f"{tier}-{name}", "price": price} for name in names]
        for tier, names in tiers.items()
    }
    policy = {"tiers": {tier: {"models": models[tier]} for tier in tiers}, "steps": STEPS}
    model, builder = RoutedChatModel(policy), StateGraph(State)
    store = {} if job.store_url is None else {"answer_store": job.store_url}
    for step in STEPS:
        add_routed_step(builder, step, model, prompt=f"{{thread}} {step}", **store)
    for source, target in pairwise((START, *STEPS, END)):
        builder.add_edge(source, target)
    return builder


@contextmanager
def opened(url: str) -> Iterator[BaseCheckpointSaver[Any]]:
    """Open the saver of a database."""
    if url.startswith(SQLITE):
        from langgraph.checkpoint.sqlite import SqliteSaver

        with SqliteSaver.from_conn_string(url.removeprefix(SQLITE)) as saver:
            yield saver
        return
    from langgraph.checkpoint.postgres import PostgresSaver

    with PostgresSaver.from_conn_string(url) as saver:
        saver.setup()
        yield saver


@asynccontextmanager
async def _aopened(url: str) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    if url.startswith(SQLITE):
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        async with AsyncSqliteSaver.from_conn_string(url.removeprefix(SQLITE)) as saver:
            yield saver
        return
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        await saver.setup()
        yield saver
