"""A pipeline whose first step, extraction, may miss a fact, for which its last, synthesis, may blame it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from pydantic import BaseModel
from typing_extensions import TypedDict

from langroute import add_routed_step
from langroute.testing import ScriptedChatModel

THIN = "d1: a cable was laid"
FULL = "d1: a cable was laid\nd2: it was laid by the Niagara"
CITES = "It was laid by the Niagara [d2]."
"""What synthesis says on any tier: right where extraction found the ship's log, made up where it did not."""

PRICE = {"input": 1_000.0, "output": 1_000.0}
THREAD = {"configurable": {"thread_id": "1"}}
ASKED = {"question": "Which ship laid the cable?"}


class Typed(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]
    question: str
    facts: str
    answer: str


class Modelled(BaseModel):
    messages: Annotated[list[BaseMessage], add_messages] = []
    question: str = ""
    facts: str = ""
    answer: str = ""


@dataclass
class Classed:
    messages: Annotated[list[BaseMessage], add_messages] = field(default_factory=list)
    question: str = ""
    facts: str = ""
    answer: str = ""


STATES = [Typed, Modelled, Classed]


def value(state: Any, key: str) -> Any:
    return state[key] if isinstance(state, dict) else getattr(state, key)


def facts(state: Any) -> list[dict[str, str]]:
    """Read `id: text` lines as documents; there may be none."""
    pairs = (line.partition(": ") for line in value(state, "facts").splitlines())
    return [{"id": name, "text": text} for name, colon, text in pairs if colon]


class Pipeline:
    """The models, the policy and the graph of one test; any part may be given."""

    def __init__(
        self,
        *,
        extract: dict[str, Any] | None = None,
        write: dict[str, Any] | None = None,
        extraction: dict[str, Any] | None = None,
        synthesis: dict[str, Any] | None = None,
        budget: dict[str, Any] | None = None,
        price: Any = PRICE,
    ) -> None:
        extract = extract or {"small": THIN, "large": FULL}
        write = write or {"small": CITES, "large": CITES}
        self.extract = {tier: ScriptedChatModel(name=f"{tier}-x", reply=r) for tier, r in extract.items()}
        self.write = {tier: ScriptedChatModel(name=f"{tier}-w", reply=r) for tier, r in write.items()}
        tiers = {
            f"{tier}_{kind}": {"models": [{"model": model, "name": model.name, "price": price}]}
            for kind, models in (("x", self.extract), ("w", self.write))
            for tier, model in models.items()
        }
        self.policy: dict[str, Any] = {
            "tiers": tiers,
            "steps": {
                "extraction": {"cascade": [f"{tier}_x" for tier in extract], **(extraction or {})},
                "synthesis": {
                    "cascade": [f"{tier}_w" for tier in write],
                    "verify": ["citations"],
                    "blame": "extraction",
                    **(synthesis or {}),
                },
            },
        }
        if budget:
            self.policy["budget"] = budget

    @property
    def calls(self) -> list[int]:
        """How often each model was called: extraction's tiers, then synthesis's."""
        return [len(model.calls) for model in (*self.extract.values(), *self.write.values())]

    def builder(
        self, state: Any = Typed, *, extracts: str = "facts", writes: str = "answer", between: Any = None
    ) -> Any:
        """Draw START, extract, (between,) synthesize, END."""
        builder = StateGraph(state)
        reads: Callable[[Any], Any] = lambda state: f"Facts of: {value(state, 'question')}"  # noqa: E731
        add_routed_step(
            builder,
            "extract",
            self.policy,
            step="extraction",
            prompt=None if extracts == "messages" else reads,
            output=extracts,
        )
        add_routed_step(
            builder,
            "synthesize",
            self.policy,
            step="synthesis",
            prompt=lambda state: f"{value(state, 'question')}\n{_text(state, extracts)}",
            output=writes,
            documents=facts if extracts == "facts" else _said,
        )
        builder.add_edge(START, "extract")
        if between is not None:
            builder.add_node("between", between)
            builder.add_edge("extract", "between")
        builder.add_edge("between" if between is not None else "extract", "synthesize")
        builder.add_edge("synthesize", END)
        return builder


def _text(state: Any, key: str) -> str:
    return value(state, key) if key == "facts" else value(state, "messages")[-1].text


def _said(state: Any) -> list[dict[str, str]]:
    return facts({"facts": value(state, "messages")[-1].text})


def question() -> dict[str, Any]:
    """Return the input of a pipeline whose extraction reads and writes messages."""
    return {**ASKED, "messages": [HumanMessage(ASKED["question"], id="asked")]}
