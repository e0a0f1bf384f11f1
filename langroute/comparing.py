"""Two replies to one prompt: are they the same, or else which of them is right?"""

import json
import unicodedata
from collections.abc import Callable
from typing import Any, Literal

from langchain_core.messages import AIMessage
from pydantic import BaseModel, Field

from langroute.cost import Spend
from langroute.effects import Flow
from langroute.request import Request, message_text
from langroute.verifiers.base import Case, Opinion
from langroute.verifiers.exchange import fenced
from langroute.verifiers.structured import NotJsonError, json_in, reply_json

__all__ = ["Finding", "judged", "same"]

Finding = Literal["good", "misrouted", "neither", "unsure"]
"""Of the cheap reply: it is right; it is wrong and the strong one right; both are wrong; nobody can say."""

_TASK = (
    "Two replies to the same question follow. Say which of them is right, each by itself; length, style and"
    " order say nothing. What makes a reply right:\n{rubric}"
)


class _Opinion(BaseModel):
    """Which replies are right; the reason comes first, so that it is not made up for the answer."""

    reason: str = Field(description="One sentence: what decides it.")
    right: Literal["first", "second", "both", "neither"] = Field(description="Which replies are right.")


def same(one: AIMessage, other: AIMessage) -> bool:
    """Whether two replies call the same tools alike, and are the same JSON or the same words."""
    return _calls(one) == _calls(other) and _said(one) == _said(other)


def _calls(reply: AIMessage) -> list[str]:
    each = ({"name": call["name"], "args": call["args"]} for call in reply.tool_calls)
    return sorted(json.dumps(call, sort_keys=True, default=str) for call in each)


def _said(reply: AIMessage) -> Any:
    """Return what a reply says beside its calls; what introduces a call says nothing."""
    if reply.tool_calls:
        return None
    text = message_text(reply)
    try:
        data = json_in(text)
    except NotJsonError:
        return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(" .!\"'`*")
    return json.dumps(data, sort_keys=True)


def judged(
    ask: Callable[[str, Any], Flow[Opinion]],
    rubric: str,
    request: Request,
    cheap: AIMessage,
    strong: AIMessage,
    spent: list[Spend],
) -> Flow[Finding]:
    """Return what a judge finds, who is asked twice: models favour a place.

    Where the two answers differ nobody can say: each model has a place that it favours, and how much that
    moves an answer is not known (Zheng et al. 2023, section 3.3).

    Args:
        ask: Puts a prompt to the judge, its answer read by a schema.
        rubric: What makes a reply right.
        request: What both were asked.
        cheap: The one reply.
        strong: The other.
        spent: Is told what each answer cost.
    """
    found = []
    for first, second in ((cheap, strong), (strong, cheap)):
        texts = {"first-reply": _shown(request, first), "second-reply": _shown(request, second)}
        opinion = yield from ask(fenced(_TASK.format(rubric=rubric), request, texts), _Opinion)
        spent.append(opinion.spend)
        right = opinion.parsed.right if isinstance(opinion.parsed, _Opinion) else None
        found.append(_finding(right, "first" if first is cheap else "second"))
    return found[0] if found[0] == found[1] else "unsure"


def _finding(right: str | None, cheap: str) -> Finding:
    if right is None:
        return "unsure"
    if right in (cheap, "both"):
        return "good"
    return "neither" if right == "neither" else "misrouted"


def _shown(request: Request, reply: AIMessage) -> str:
    return reply_json(Case(request, reply, "", "", _nobody))


def _nobody(*_: Any, **__: Any) -> Flow[Opinion]:
    raise AssertionError  # no check is made here  # pragma: no cover
