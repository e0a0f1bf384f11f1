"""What the events of a chat completion say that no message chunk tells: whose words they are.

LangChain keeps neither a chunk's id, nor which choice it is of, nor a refusal, so that two replies in one
stream would be joined, and half a reply that ends in a refusal would pass for a whole one.
"""

import json
from contextlib import suppress
from typing import Any

from langroute.errors import MixedReply, RefusedReply

__all__ = ["Frames"]

_LONGEST = 1_000_000
"""Bytes of one event, or of a body that is no stream, that are looked at."""

_NO_EVENT = (b"{", b"[", b"\x1f")
"""How a body of JSON begins, or one that is compressed."""

_STABLE = 2
"""Pieces of one id after which another id is another reply: some servers give each chunk its own."""


class Frames:
    """Reads a response's bytes as they come; a body that is no stream of events is left alone."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._off = False
        self._id: str | None = None
        self._pieces = 0
        self._choice: Any = None
        self._ended = False

    def read(self, data: bytes) -> None:
        """Look at the events that end in `data`.

        Raises:
            MixedReply: Words of another reply stand among those of this one, or after its end.
            RefusedReply: The model refused.
        """
        if len(self._rest) < _LONGEST:
            self._rest += data
        self._off = self._off or len(self._rest) >= _LONGEST or self._rest[:1] in _NO_EVENT
        if self._off or b"\n" not in data:
            return
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:])

    def end(self) -> None:
        """Look at a body that is no stream, now that it is whole; it is only read where it tells of an error.

        Raises:
            MixedReply: Its first choice holds one, which LangChain does not tell.
        """
        if self._off and b'"error"' in self._rest:
            with suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
                _refuse_error(json.loads(self._rest)["choices"][0])

    def _event(self, told: bytearray) -> None:
        try:
            event = json.loads(told)
            choice = event["choices"][0]
            delta = choice["delta"]
            says = delta.get("content") or delta.get("tool_calls") or delta.get("function_call")
            refused, why, index = delta.get("refusal"), choice.get("finish_reason"), choice.get("index")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return  # `[DONE]`, another API's event, or one that the integration refuses itself
        if refused:
            raise RefusedReply("the model refused in the middle of its stream")
        if says:
            self._said(event.get("id"), index, ends=bool(why))
        _refuse_error(choice)
        self._ended = self._ended or bool(why)

    def _said(self, told_id: Any, choice: Any, *, ends: bool) -> None:
        """Take a piece of content; some servers end every piece alike, one that ends again may be."""
        if self._ended and not ends:
            raise MixedReply("the stream went on after the end of its reply")
        if self._pieces and choice != self._choice:
            raise MixedReply("the stream holds two choices")
        if told_id and self._id and told_id != self._id:
            if self._pieces >= _STABLE:
                raise MixedReply("the stream holds pieces of another reply")
            self._pieces = 0
        self._id, self._choice = told_id or self._id, choice
        self._pieces += 1


def _refuse_error(choice: Any) -> None:
    if choice.get("error"):
        raise MixedReply("the provider tells of an error beside its reply")
