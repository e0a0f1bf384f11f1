"""A reply that was streamed where nobody asked for a stream: whether it came whole, and once.

A model streams by itself where a listener wants its tokens, or where it is set to. The host joins the
pieces and mends arguments that were cut into valid ones.
"""

import json
from collections.abc import Hashable
from functools import lru_cache
from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langroute.heeding import Heeding, ends, used_in
from langroute.request import EMPTY, message_text
from langroute.streams import CHUNKS, refuse_doubled
from langroute.verifiers.finish import ending, finish_words

__all__ = ["Pieces", "cut", "heard"]


class Pieces(Heeding):
    """Texts and tool arguments as they came: the host mends cut arguments into valid ones."""

    def __init__(self) -> None:
        super().__init__()
        self._arguments: dict[Any, str] = {}
        self._texts: list[str] = []
        self._chunks: list[AIMessageChunk] = []

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Start anew: of a call that was made twice the later one counts."""
        self._arguments.clear()
        self._texts.clear()
        self._chunks.clear()
        self.usage.clear()

    def _take(self, chunk: Any) -> None:
        super()._take(chunk)
        if (message := getattr(chunk, "message", None)) is not None:
            self._texts.append(message_text(message))
            self._chunks.append(message)
        for piece in getattr(getattr(chunk, "message", None), "tool_call_chunks", ()):
            place = len(self._arguments) if piece["index"] is None else ("index", piece["index"])
            self._arguments[place] = self._arguments.get(place, "") + (piece["args"] or "")

    def whole(self, result: Any) -> Any:
        """Return what a call gave: a message, or what a structured chain gives.

        Raises:
            ConnectionResetError: The arguments of a tool call were cut; its tool would run on half a value.
            DoubledReply: Every piece came twice.
        """
        refuse_doubled(self._texts)
        if not all(map(_is_json, self._arguments.values())):
            raise ConnectionResetError("the arguments of a tool call were cut")
        if len(self.usage) > 1:  # the host adds it up
            message = result.get("raw") if isinstance(result, dict) else result
            if isinstance(message, AIMessage):
                message.usage_metadata = used_in(self.usage)
        return result

    def outlived(self, error: Exception) -> AIMessage:
        """Return the reply that had ended before the host refused a chunk, or the connection ended.

        Raises:
            Exception: `error`: there was no end yet.
        """
        if not any(map(ends, self._chunks)):
            raise error
        return CHUNKS.assemble(self._chunks)


def heard(config: RunnableConfig, model: Any) -> tuple[RunnableConfig, Pieces | None]:
    """Return the config of a call, and what listens in it where the model may stream: that costs 40 us."""
    callbacks = config.get("callbacks")
    listeners = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks
    if not listeners:
        if not _streams(model):
            return config, None
        config = ensure_config(config)
        callbacks = config["callbacks"]
    elif any(isinstance(listener, Pieces) for listener in listeners):
        return config, None  # an outer one hears it
    pieces = Pieces()
    if not isinstance(callbacks, BaseCallbackManager):
        return {**config, "callbacks": [*(callbacks or ()), pieces]}, pieces
    manager = callbacks.copy()
    manager.add_handler(pieces, inherit=True)
    return {**config, "callbacks": manager}, pieces


def cut(reply: AIMessage) -> bool:
    """Tell whether a reply ended inside a tool call; v3 streams give such a call as an invalid one."""
    if reply.invalid_tool_calls and not finish_words(reply):
        return True
    return bool(reply.tool_calls) and ending(reply) is not None


def _streams(model: Any) -> bool:
    """Whether a model is set to stream; one without the field takes 3 us to say so."""
    kind: Any = type(model)
    return getattr(model, "__dict__", EMPTY).get("streaming") or _may_stream(kind)


@lru_cache(maxsize=256)
def _may_stream(kind: Hashable) -> bool:
    return bool(getattr(kind, "streaming", None))


def _is_json(text: str) -> bool:
    try:
        json.loads(text or "{}")
    except ValueError:
        return False
    return True
