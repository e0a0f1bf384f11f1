"""What the events of a chat completion say that no message chunk tells: whose words they are.

LangChain keeps neither a chunk's id, nor which choice it is of, nor a refusal, so that two replies in one
stream would be joined, and half a reply that ends in a refusal would pass for a whole one.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from langroute.arguments import Arguments
from langroute.errors import MixedReply, RefusedReply

__all__ = ["FOR_WANT", "Frames"]

_LONGEST = 1_000_000
"""Bytes of one event, or of a body that is no stream, that are looked at."""

_NO_EVENT = (b"{", b"[", b"\x1f")
"""How a body of JSON begins, or one that is compressed."""

_STABLE = 2
"""Pieces of one id after which another id is another reply: some servers give each chunk its own."""


FOR_WANT = frozenset({"content_filter", "length"})
"""Finish reasons of a reply that lacks something."""

_NOWHERE = object()
"""The place of a piece that tells none."""

_Piece = tuple[Any, Any, str]


class Frames:
    """Reads a response's bytes as they come; a body that is no stream of events is left alone."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._off = False
        self._id: str | None = None
        self._pieces = 0
        self._choice: Any = None
        self._ended = False
        self._why: Any = None
        self._arguments = Arguments()
        self._calls: dict[Any, Any] = {}
        self._is_error = False

    def read(self, data: bytes) -> None:
        """Look at the events that end in `data`.

        Raises:
            MixedReply: Words of another reply stand among those of this one, or after its end; or an error.
            BrokenArguments: The arguments of a tool call are no JSON, or could not be read in time.
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
            elif not line.rstrip():
                self._is_error = False
            elif line.startswith(b"event:"):
                self._is_error = line[6:].strip() == b"error"

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
            if self._is_error or _is_error(event):
                _refuse(event)
            choice = event["choices"][0]
            delta = choice["delta"]
            calls = delta.get("tool_calls")
            says = delta.get("content") or calls or delta.get("function_call")
            refused, why, index = delta.get("refusal"), choice.get("finish_reason"), choice.get("index")
            pieces = [_piece(call) for call in calls or ()]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return  # `[DONE]`, another API's event, or one that the integration refuses itself
        if refused:
            raise RefusedReply("the model refused in the middle of its stream")
        if says:
            self._said(event.get("id"), index, ends=bool(why))
        self._called(pieces)
        _refuse_error(choice)
        if why:
            self._ends(why)

    def _called(self, pieces: Sequence[_Piece]) -> None:
        """Take the pieces of tool calls of one event: the host leaves out, or joins to nothing, odd ones."""
        begun = set()
        for place, call_id, said in pieces:
            if place is _NOWHERE or (place in begun and not call_id):
                raise MixedReply("a piece of a tool call does not say which call it is of")
            begun.add(place)
            self._calls[place] = call_id or self._calls.get(
                place
            )  # some servers count all calls as the first
            if said:
                self._arguments.add((place, self._calls[place]), said)

    def _ends(self, why: Any) -> None:
        """Take a finish reason; of two that differ one may say that the reply is not whole."""
        if self._ended and why != self._why and not FOR_WANT.isdisjoint((str(why), str(self._why))):
            raise MixedReply(f"the stream ends with `{self._why}` and with `{why}`")
        self._ended, self._why = True, why
        self._arguments.end()

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


def _piece(call: Any) -> _Piece:
    """Return place, id and arguments of a piece of a tool call."""
    if "index" not in call or "function" not in call:
        return _NOWHERE, None, ""
    place, call_id, said = call["index"], call.get("id"), call["function"].get("arguments")
    hash((place, call_id))  # else the integration refuses it
    return place, call_id, said if isinstance(said, str) else ""


def _is_error(event: Any) -> bool:
    """Whether an event tells of an error where no client looks for it: vLLM's, and gateways'."""
    return event.get("object") == "error" or (
        "choices" not in event and "code" in event and "message" in event
    )


def _refuse(event: Any) -> None:
    if "error" not in event:  # that one the client raises itself, with all that it tells
        raise MixedReply(
            f"the provider tells of an error in its stream: {str(event.get('message', ''))[:200]}"
        )


def _refuse_error(choice: Any) -> None:
    if choice.get("error"):
        raise MixedReply("the provider tells of an error beside its reply")
