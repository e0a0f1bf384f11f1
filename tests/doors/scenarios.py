"""The table of scenarios that runs through every door and mode: what makes "one behaviour" a fact."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.exceptions import ContextOverflowError, ModelConnectionError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from langroute.decision import Decision
from langroute.errors import AllAttemptsFailed, ApprovalRequired
from langroute.request import Request
from langroute.testing import ScriptedChatModel
from langroute.testing.wire import Answer

__all__ = ["SCENARIOS", "Invoice", "Scenario", "add", "constant"]

GOOD = "The cable was laid in 1866 [a]."
BAD = "I cannot help with that."


class Invoice(BaseModel):
    """An invoice."""

    number: str
    total: float


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def down() -> ModelConnectionError:
    return ModelConnectionError("connection refused")


@dataclass(frozen=True)
class Scenario:
    """What the endpoints say, what the policy wants, and what must come of it."""

    name: str
    script: dict[str, Sequence[Any]]
    """Endpoint to its replies; an endpoint belongs to the tier its name begins with."""
    step: dict[str, Any]
    answer: Any
    """Text of the reply, the parsed object, or the class of the error raised."""
    attempts: Sequence[tuple[str, str, str]]
    """(endpoint, why, outcome) of every attempt."""
    ending: str = "accepted"
    policy: dict[str, Any] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Endpoint to what the policy says of it."""
    messages: Callable[[], list[BaseMessage]] = lambda: [HumanMessage("When was the cable laid?")]
    tools: Sequence[Any] = ()
    schema: Any = None
    said: str | None = "answer"
    """The step as `for_step` says it; None leaves it to be recognised."""
    metadata: dict[str, Any] = field(default_factory=dict)
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    mismatch: str | None = None

    def build(self) -> tuple[dict[str, Any], dict[str, ScriptedChatModel]]:
        """Return a fresh policy and its scripted models by endpoint."""
        models = {
            name: ScriptedChatModel(name=name, replies=list(replies) or [AssertionError("never asked")])
            for name, replies in self.script.items()
        }
        tiers: dict[str, Any] = {}
        for name, model in models.items():
            price = (
                {"input": 10.0, "output": 40.0} if name.startswith("large") else {"input": 1.0, "output": 4.0}
            )
            spec = {"model": model, "name": name, "price": price, **self.models.get(name, {})}
            tiers.setdefault(name.partition("-")[0], {"models": []})["models"].append(spec)
        return {"tiers": tiers, "steps": {"answer": self.step}, **self.policy}, models


async def no_answer(request: Request) -> None:
    """Find nothing."""


def broken(request: Request) -> str:
    raise ValueError("the table is gone")


TURN = [
    HumanMessage("What is 2 + 3, and then 5 + 1?"),
    AIMessage(
        "",
        tool_calls=[{"name": "add", "args": {"a": 2, "b": 3}, "id": "c1"}],
        response_metadata={"langroute": {"endpoint": "large-a"}},
    ),
    ToolMessage("5", tool_call_id="c1", name="add"),
]

SCENARIOS = [
    Scenario(
        "plain routing makes one call",
        {"small-a": [GOOD]},
        {"cascade": ["small"]},
        GOOD,
        [("small-a", "start", "accepted")],
    ),
    Scenario(
        "an accepted draft is all that is paid for",
        {"small-a": [GOOD], "large-a": [GOOD]},
        {"cascade": ["small", "large"], "verify": ["no_refusal"]},
        GOOD,
        [("small-a", "start", "accepted")],
    ),
    Scenario(
        "a rejected draft escalates",
        {"small-a": [BAD], "large-a": [GOOD]},
        {"cascade": ["small", "large"], "verify": ["no_refusal"]},
        GOOD,
        [("small-a", "start", "rejected"), ("large-a", "escalation", "accepted")],
    ),
    Scenario(
        "a repair comes before an escalation",
        {"small-a": [BAD, GOOD], "large-a": [GOOD]},
        {"cascade": ["small", "large"], "verify": ["no_refusal"], "repair": 1},
        GOOD,
        [("small-a", "start", "rejected"), ("small-a", "repair", "accepted")],
    ),
    Scenario(
        "a failed call falls back to the next endpoint of its tier",
        {"small-a": [down()], "small-b": [GOOD]},
        {"cascade": ["small"]},
        GOOD,
        [("small-a", "start", "failed"), ("small-b", "fallback", "accepted")],
    ),
    Scenario(
        "a fallback's draft may still escalate",
        {"small-a": [down()], "small-b": [BAD], "large-a": [GOOD]},
        {"cascade": ["small", "large"], "verify": ["no_refusal"]},
        GOOD,
        [
            ("small-a", "start", "failed"),
            ("small-b", "fallback", "rejected"),
            ("large-a", "escalation", "accepted"),
        ],
    ),
    Scenario(
        "an escalation may still fall back",
        {"small-a": [BAD], "large-a": [down()], "large-b": [GOOD]},
        {"cascade": ["small", "large"], "verify": ["no_refusal"]},
        GOOD,
        [
            ("small-a", "start", "rejected"),
            ("large-a", "escalation", "failed"),
            ("large-b", "fallback", "accepted"),
        ],
    ),
    Scenario(
        "when all fail, all errors are raised in one",
        {"small-a": [down()], "large-a": [down()]},
        {"cascade": ["small", "large"]},
        AllAttemptsFailed,
        [("small-a", "start", "failed"), ("large-a", "fallback", "failed")],
        ending="failed",
    ),
    Scenario(
        "exhausted, the best reply is returned",
        {"small-a": [BAD], "large-a": [GOOD + " "]},
        {
            "cascade": ["small", "large"],
            "verify": ["no_refusal", {"patterns": {"required": ["never to be found"]}}],
        },
        GOOD + " ",
        [("small-a", "start", "rejected"), ("large-a", "escalation", "rejected")],
        ending="best",
    ),
    Scenario(
        "exhausted, the policy may want an error instead",
        {"small-a": [BAD], "large-a": [BAD]},
        {"cascade": ["small", "large"], "verify": ["no_refusal"], "on_exhausted": "raise"},
        AllAttemptsFailed,
        [("small-a", "start", "rejected"), ("large-a", "escalation", "rejected")],
        ending="exhausted",
    ),
    Scenario(
        "an escalation above the limit wants approval, which a bare model cannot ask for",
        {"small-a": [BAD], "large-a": [GOOD]},
        {"cascade": ["small", "large"], "verify": ["no_refusal"]},
        ApprovalRequired,
        [("small-a", "start", "rejected")],
        ending="ask",
        policy={"budget": {"approve_above_usd": 0.000001}},
    ),
    Scenario(
        "a broken tool call escalates",
        {
            "small-a": [Answer(tool_calls=(("add", {"a": "many"}),))],
            "large-a": [Answer(tool_calls=(("add", {"a": 2, "b": 3}),))],
        },
        {"cascade": ["small", "large"], "verify": ["tool_calls"]},
        {"a": 2, "b": 3},
        [("small-a", "start", "rejected"), ("large-a", "escalation", "accepted")],
        tools=[add],
    ),
    Scenario(
        "a reply that does not parse escalates",
        {"small-a": [{"number": "17"}], "large-a": [{"number": "17", "total": 3.5}]},
        {"cascade": ["small", "large"]},
        Invoice(number="17", total=3.5),
        [("small-a", "start", "rejected"), ("large-a", "escalation", "accepted")],
        schema=Invoice,
    ),
    Scenario(
        "a long context skips the small window",
        {"small-a": [GOOD], "large-a": [GOOD]},
        {"cascade": ["small", "large"]},
        GOOD,
        [("large-a", "start", "accepted")],
        models={"small-a": {"context_tokens": 1_000}},
        messages=lambda: [HumanMessage("When was the cable laid? " * 400)],
    ),
    Scenario(
        "an overflow goes to a larger window only",
        {"small-a": [ContextOverflowError("too long")], "small-b": [GOOD], "large-a": [GOOD]},
        {"cascade": ["small", "large"]},
        GOOD,
        [("small-a", "start", "failed"), ("large-a", "fallback", "accepted")],
        models={
            "small-a": {"context_tokens": 9_000},
            "small-b": {"context_tokens": 8_000},
            "large-a": {"context_tokens": 90_000},
        },
    ),
    Scenario(
        "a conversation stays on the endpoint that holds its cached prefix",
        {"small-a": [GOOD], "large-a": [GOOD]},
        {"cascade": ["small", "large"]},
        GOOD,
        [("large-a", "start", "accepted")],
        models={
            "small-a": {"price": {"input": 1.0, "output": 1.0}},
            "large-a": {"price": {"input": 2.0, "output": 1.0, "cache_read": 0.02}},
        },
        messages=lambda: [HumanMessage("Context. " * 4_000), *TURN],
    ),
    Scenario(
        "a declared step that does not look like one raises the mismatch alarm",
        {"small-a": [GOOD], "large-a": [GOOD]},
        {"cascade": ["small"], "nodes": ["answering"]},
        GOOD,
        [("small-a", "start", "accepted")],
        policy={
            "steps": {
                "answer": {"cascade": ["small"], "nodes": ["answering"]},
                "synthesis": {"cascade": ["large"]},
            }
        },
        messages=lambda: [HumanMessage('<document id="a">The cable was laid in 1866.</document> When?')],
        said=None,
        metadata={"langgraph_node": "answering"},
        mismatch="synthesis",
    ),
    Scenario(
        "a risky tool is only ever called by the tier its stakes demand",
        {
            "small-a": [Answer(tool_calls=(("add", {"a": 1, "b": 1}),))],
            "large-a": [Answer(tool_calls=(("add", {"a": 2, "b": 3}),))],
        },
        {"cascade": ["small", "large"]},
        {"a": 2, "b": 3},
        [("small-a", "start", "rejected"), ("large-a", "escalation", "accepted")],
        policy={"stakes": {"high": {"tier": "large"}, "tools": {"add": "high"}}},
        tools=[add],
    ),
    Scenario(
        "a function that has the answer spares the models",
        {"small-a": []},
        {"cascade": [{"function": "rule"}, "small"], "verify": ["no_refusal"]},
        GOOD,
        [("function:rule", "start", "accepted")],
        functions={"rule": lambda request: GOOD if "cable" in request.question else None},
    ),
    Scenario(
        "a function without an answer leaves it to the models",
        {"small-a": [GOOD]},
        {"cascade": [{"function": "rule"}, "small"]},
        GOOD,
        [("function:rule", "start", "rejected"), ("small-a", "escalation", "accepted")],
        functions={"rule": no_answer},
    ),
    Scenario(
        "what a function says is checked by its own checks, and never repaired",
        {"small-a": [BAD, GOOD]},
        {
            "cascade": [{"function": "rule", "verify": [{"function": "never"}]}, "small"],
            "verify": ["no_refusal"],
            "repair": 1,
        },
        GOOD,
        [
            ("function:rule", "start", "rejected"),
            ("small-a", "escalation", "rejected"),
            ("small-a", "repair", "accepted"),
        ],
        functions={"rule": lambda _: GOOD, "never": lambda _: False},
    ),
    Scenario(
        "a function that raises is passed over",
        {"small-a": [GOOD]},
        {"cascade": [{"function": "rule"}, "small"]},
        GOOD,
        [("function:rule", "start", "failed"), ("small-a", "fallback", "accepted")],
        functions={"rule": broken},
    ),
    Scenario(
        "a function's JSON is read as a model's",
        {"small-a": []},
        {"cascade": [{"function": "rule"}, "small"]},
        Invoice(number="17", total=3.5),
        [("function:rule", "start", "accepted")],
        schema=Invoice,
        functions={"rule": lambda _: '{"number": "17", "total": 3.5}'},
    ),
    Scenario(
        "a function may call a tool",
        {"small-a": []},
        {"cascade": [{"function": "rule"}, "small"], "verify": ["tool_calls"]},
        {"a": 2, "b": 3},
        [("function:rule", "start", "accepted")],
        tools=[add],
        functions={
            "rule": lambda _: AIMessage("", tool_calls=[{"name": "add", "args": {"a": 2, "b": 3}, "id": "c"}])
        },
    ),
]


def constant(decision: Decision, *varying: str) -> dict[str, Any]:
    """Return a decision's record without ids and times, and without what else varies in its attempts."""
    record = decision.as_dict()
    for key in ("call_id", "latency_s"):
        record.pop(key)
    for attempt in record["attempts"]:
        for key in ("latency_s", "judged_s", *varying):
            attempt.pop(key)
    return record
