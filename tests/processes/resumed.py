"""A process that runs a routed step over a SQLite checkpoint and may be told to die in the middle.

    python resumed.py FOLDER DURABILITY start|resume DIE_AT

Every paid call is a line in FOLDER/calls. DIE_AT is `verify` (after the small reply), `large` (before the
large call) or `never`; death is `os._exit`, as by a signal: nothing is flushed, no handler runs.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from langroute import add_routed_step
from langroute.cascade import Verdict
from langroute.testing import ScriptedChatModel

FOLDER, DURABILITY, DOING, DIE_AT = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


class Paid(ScriptedChatModel):
    """A scripted model whose calls outlive the process."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        if self.name == DIE_AT:
            os._exit(9)
        with (FOLDER / "calls").open("a") as calls:
            calls.write(f"{self.name}\n")
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.reply))])


def strict(case: Any) -> Verdict:
    if DIE_AT == "verify":
        os._exit(9)
    return Verdict("strict", accepted="good" in case.text, reason="looked at")


class State(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]
    answer: str


def main() -> None:
    tiers = {
        "small": {"models": [Paid(name="small", reply="bad")]},
        "large": {"models": [Paid(name="large", reply="good")]},
    }
    builder = StateGraph(State)
    step = {"cascade": ["small", "large"], "verify": [strict]}
    add_routed_step(builder, "answer", {"tiers": tiers, "steps": {"answer": step}}, output="answer")
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    with SqliteSaver.from_conn_string(str(FOLDER / "checkpoints.sqlite")) as saver:
        graph = builder.compile(checkpointer=saver)
        given = {"messages": [HumanMessage("When?")]} if DOING == "start" else None
        done = graph.invoke(given, {"configurable": {"thread_id": "1"}}, durability=DURABILITY)
    sys.stdout.write(done["answer"])


main()
