"""A process that runs a pipeline with upstream repair over a SQLite checkpoint and may die on the way back.

    python resumed_upstream.py FOLDER start|resume PLACE:CALLS

Every paid call is a line in FOLDER/calls. The process dies in PLACE (`extract`, `between`, `synthesize` or
`documents`) when CALLS calls have been paid for; death is `os._exit`: nothing is flushed, no handler runs.
"""

import os
import sys
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from langroute import add_routed_step
from langroute.testing import ScriptedChatModel

FOLDER, DOING = Path(sys.argv[1]), sys.argv[2]
PLACE, _, CALLS = sys.argv[3].partition(":")


def reached(place: str) -> None:
    calls = (FOLDER / "calls").read_text().split() if (FOLDER / "calls").exists() else []
    if place == PLACE and len(calls) == int(CALLS):
        os._exit(9)


class Paid(ScriptedChatModel):
    """A scripted model whose calls outlive the process."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        with (FOLDER / "calls").open("a") as calls:
            calls.write(f"{self.name}\n")
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.reply))])


class State(TypedDict, total=False):
    facts: str
    answer: str


def extract(state: State) -> str:
    reached("extract")
    return "Extract."


def between(state: State) -> State:
    reached("between")
    return {}


def synthesize(state: State) -> str:
    reached("synthesize")
    return f"Answer from: {state['facts']}"


def documents(state: State) -> list[dict[str, str]]:
    reached("documents")
    return [{"id": name, "text": name} for name in state["facts"].split()]


def main() -> None:
    replies = {"small-x": "d1", "large-x": "d1 d2", "small-w": "So it is [d2].", "large-w": "So it is [d2]."}
    tiers = {name: {"models": [Paid(name=name, reply=reply)]} for name, reply in replies.items()}
    steps = {
        "extract": {"cascade": ["small-x", "large-x"]},
        "synthesize": {"cascade": ["small-w", "large-w"], "verify": "citations", "blame": "extract"},
    }
    policy = {"tiers": tiers, "steps": steps}
    builder = StateGraph(State)
    add_routed_step(builder, "extract", policy, prompt=extract, output="facts")
    builder.add_node("between", between)
    add_routed_step(builder, "synthesize", policy, prompt=synthesize, output="answer", documents=documents)
    for source, target in ((START, "extract"), ("extract", "between"), ("between", "synthesize")):
        builder.add_edge(source, target)
    builder.add_edge("synthesize", END)
    with SqliteSaver.from_conn_string(str(FOLDER / "checkpoints.sqlite")) as saver:
        graph = builder.compile(checkpointer=saver)
        given: Any = {"facts": ""} if DOING == "start" else None
        done = graph.invoke(given, {"configurable": {"thread_id": "1"}}, durability="sync")
    sys.stdout.write(done["answer"])


main()
