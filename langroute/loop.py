"""What an agent's loop shows: which step a call is, and whether its tool calls came whole."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from langroute.request import Request
from langroute.verifiers.finish import ending, finish_words

__all__ = ["FINAL_STEP", "RECOVERY_STEP", "Pieces", "seen_in_loop"]

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
        yield RECOVERY_STEP, f"{again} was called once more with the same arguments"


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


class Pieces(BaseCallbackHandler):
    """Arguments of streamed tool calls as they came: the host mends cut ones into valid ones."""

    run_inline = True

    def __init__(self) -> None:
        self._arguments: dict[Any, str] = {}

    def heard_in(self, config: RunnableConfig, model: Any) -> RunnableConfig:
        """Return the config with this listener in it, where the model may stream: a listener costs 40 us."""
        callbacks = config.get("callbacks")
        listeners = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks
        if not listeners and not getattr(model, "streaming", None):
            return config
        if not isinstance(callbacks, BaseCallbackManager):
            return {**config, "callbacks": [*(callbacks or ()), self]}
        manager = callbacks.copy()
        manager.add_handler(self, inherit=True)
        return {**config, "callbacks": manager}

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Start anew: of a call that was made twice the later one counts."""
        self._arguments.clear()

    def on_llm_new_token(self, *_: Any, chunk: Any = None, **__: Any) -> None:
        """Take one piece of a streamed reply."""
        for piece in getattr(getattr(chunk, "message", None), "tool_call_chunks", ()):
            place = len(self._arguments) if piece["index"] is None else ("index", piece["index"])
            self._arguments[place] = self._arguments.get(place, "") + (piece["args"] or "")

    def cut(self, reply: AIMessage) -> bool:
        """Tell whether the reply ended inside a tool call; v3 streams give such a call as an invalid one."""
        if reply.invalid_tool_calls and not finish_words(reply):
            return True
        broken = ending(reply) is not None or not all(map(_is_json, self._arguments.values()))
        return bool(reply.tool_calls) and broken


def _is_json(text: str) -> bool:
    try:
        json.loads(text or "{}")
    except ValueError:
        return False
    return True
