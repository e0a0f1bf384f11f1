"""A cost gate: an escalation above the limit waits for a person, and the run goes on where it stopped.

    python examples/approval.py

Runs offline: the models are scripted; the routing, the interrupt and the resumed run are real.
"""

from typing import Annotated, Any

from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command
from typing_extensions import TypedDict

from langroute import add_routed_step
from langroute.testing import ScriptedChatModel

QUESTION = "When was the cable laid?"


def policy() -> dict[str, Any]:
    """Return a policy whose large tier costs more than anybody may spend unasked."""
    small = ScriptedChatModel(name="small", reply="I cannot help with that.")
    large = ScriptedChatModel(name="large", reply="The cable was laid in 1866.")
    return {
        "tiers": {
            "small": {"models": [{"model": small, "name": "small", "price": {"input": 0.1, "output": 0.4}}]},
            "large": {"models": [{"model": large, "name": "large", "price": {"input": 50, "output": 200}}]},
        },
        "steps": {"answer": {"cascade": ["small", "large"], "verify": ["no_refusal"]}},
        "budget": {"approve_above_usd": 0.05},
    }


class State(TypedDict, total=False):
    """What the graph carries."""

    messages: Annotated[list[BaseMessage], add_messages]
    answer: str


def build() -> Any:
    """Return the compiled graph; a checkpointer is what lets it wait."""
    builder = StateGraph(State)
    add_routed_step(builder, "answer", policy(), output="answer")
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=InMemorySaver())


def main() -> None:
    """Ask; be asked; approve; go on."""
    graph, thread = build(), {"configurable": {"thread_id": "1"}}
    print(f"{QUESTION}\nThe graph waits for a person:")
    asked = graph.invoke({"messages": [HumanMessage(QUESTION)]}, thread)
    question = asked["__interrupt__"][0].value
    print(f"  step {question['step']}: {question['reason']}")
    print(f"  would cost about {question['expected_usd']:.4f} USD; spent {question['spent_usd']:.6f} so far")
    print(f"  because the last reply was rejected: {'; '.join(question['findings'])}")
    print(f"  answer with one of: {', '.join(question['answers'])}")
    done = graph.invoke(Command(resume="approve"), thread)
    print(f"Resumed with approve: {done['answer']}")


if __name__ == "__main__":
    main()
