"""What the healthy primary and backup answer, and how an answer is known to be whole and one."""

import json
from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel

from langroute import RoutedChatModel
from langroute.testing import Answer, LoopbackProvider

__all__ = ["Invoice", "add", "brain", "final", "primary_and_backup", "ran", "spoken", "whole"]

ran: ContextVar[list[Any]] = ContextVar("ran")
"""The calls that the tools of one cell ran."""


class Invoice(BaseModel):
    """An invoice."""

    number: str
    total: float


def add(a: int, b: int) -> int:
    """Add two numbers."""
    ran.get().append((a, b))
    return a + b


def _number(who: str) -> int:
    return 1_000_111 if who == "primary" else 2_000_222


def spoken(who: str, question: str) -> str:
    return f"{who} replies to {question}: the cable was laid in {_number(who)}."


def calls(who: str) -> list[dict[str, Any]]:
    return [{"a": _number(who), "b": 34}, {"a": 5, "b": _number(who)}]


def invoice(who: str) -> Invoice:
    return Invoice(number=f"{who}-invoice-17", total=_number(who))


def final(who: str) -> str:
    return f"{who} has added it all up now."


def whole(kind: str, who: str, question: str) -> Any:
    """Return the one right answer of `who`, in the form that `seen` gives it."""
    if kind == "text":
        return spoken(who, question)
    return calls(who) if kind == "tools" else invoice(who)


def brain(who: str) -> Any:
    """Return the brain of a healthy model: it says who it is and echoes the question."""

    def answer(body: dict[str, Any]) -> Answer:
        messages = body["messages"]
        names = [tool["function"]["name"] for tool in body.get("tools", ())]
        if body.get("response_format"):
            return Answer(invoice(who).model_dump_json())
        if "add" in names and messages[-1]["role"] != "tool":
            return Answer(tool_calls=tuple(("add", json.dumps(call)) for call in calls(who)))
        if "Invoice" in names:
            return Answer(tool_calls=(("Invoice", invoice(who).model_dump_json()),))
        if messages[-1]["role"] == "tool":
            return Answer(final(who))
        return Answer(spoken(who, str(messages[-1]["content"])))

    return answer


def primary_and_backup(provider: LoopbackProvider, timeout_s: float) -> RoutedChatModel:
    """Return a model of one tier: the provider's primary, and its backup."""
    models = [
        {
            "model": f"openai:{name}",
            "name": name,
            "timeout_s": timeout_s,
            "settings": {"base_url": provider.base_url},
        }
        for name in ("primary", "backup")
    ]
    return RoutedChatModel({"tiers": {"small": {"models": models}}})
