"""What an agent's loop shows: which step a call is."""

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langroute.request import Request
from langroute.verifiers.base import shown

__all__ = ["FINAL_STEP", "RECOVERY_STEP", "seen_in_loop"]

FINAL_STEP = "synthesis"
"""The step that gives the final answer, where the policy names it."""

RECOVERY_STEP = "recovery"
"""The step after a tool call that failed or was repeated, where the policy names it."""


def seen_in_loop(asked: Request) -> Iterator[tuple[str, str]]:
    """Yield the steps, best first, that the end of the conversation shows a call to be, and why."""
    if not asked.last_tool_messages:
        return
    if not asked.tools:
        yield FINAL_STEP, "tools have answered and none may be called any more"
    for message, name in zip(asked.last_tool_messages, asked.last_tool_names, strict=True):
        if message.status == "error":
            yield RECOVERY_STEP, f"the call of {name or 'a tool'} failed"
    if (again := _repeated(asked.messages)) is not None:
        yield RECOVERY_STEP, f"{shown(again)} was called once more with the same arguments"


def _repeated(messages: Sequence[BaseMessage]) -> str | None:
    """Return the tool that the latest reply called as an earlier one of this turn did; None without one."""
    turns: list[list[tuple[str, Any]]] = []
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            break
        if isinstance(message, AIMessage):
            turns.append([(call["name"], call["args"]) for call in message.tool_calls])
    latest = turns[0] if turns else []
    return next((call[0] for call in latest if any(call in earlier for earlier in turns[1:])), None)
