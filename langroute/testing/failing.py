"""How the loopback provider fails on the wire: of a good completion and a fault it makes a bad response."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from langroute.testing.desk import RecordedRequest
from langroute.testing.faults import Fault
from langroute.testing.odd import OVERSIZE_PIECE_CHARS, rearranged, spoilt
from langroute.testing.wire import WireError, chunks

__all__ = ["Connection", "events", "page", "raw", "refused", "response"]

_PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
_BROKEN_JSON = '{"id": "chatcmpl-0", "object": "chat.completion", "choices": [{"index": 0, "mess'
_KEEP_ALIVE = ": keep-alive\n\n"
_PROMISED_BYTES = 1_000_000


class Connection(Protocol):
    """What a fault needs of the connection it spoils."""

    async def left(self) -> None:
        """Wait until the client has gone, or the server has dropped it."""

    async def left_within(self, seconds: float) -> bool:
        """Whether the client goes within so many seconds."""

    async def taken(self) -> None:
        """Wait until the client's machine has taken what was sent: a reset may overtake it."""

    def end(self, *, reset: bool) -> None:
        """Close the connection under the request; `reset` makes the client see a reset, not an end."""

    def write(self, data: bytes) -> None:
        """Send bytes past HTTP."""


async def raw(fault: Fault, connection: Connection) -> bool:
    """Fail without a response, where the fault's kind is one of those; say whether it was."""
    match fault.kind:
        case "drop":
            connection.end(reset=False)
        case "garbage":
            connection.write(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
            connection.end(reset=False)
        case "hang":
            pass
        case "slow_headers":
            connection.write(b"HTTP/1.1 200 OK\r\n")
            while not await connection.left_within(fault.pause_s):
                connection.write(b"x-wait: 1\r\n")
        case _:
            return False
    await connection.left()
    return True


def page(fault: Fault, url: str) -> Response | None:
    """Return what a fault sends in place of any reply; None where it begins with a reply."""
    match fault.kind:
        case "status" if fault.body is not None:
            return Response(fault.body, fault.status, dict(fault.headers))
        case "status":
            return refused(WireError(fault.status, fault.message, code=fault.code), dict(fault.headers))
        case "html":
            return HTMLResponse(_PAGE)
        case "redirect":
            return RedirectResponse(url)
    return None


def refused(error: WireError, headers: dict[str, str] | None = None) -> Response:
    """Return the response of a request that is refused."""
    return Response(json.dumps(error.body), error.status, headers, media_type="application/json")


def response(
    whole: dict[str, Any], fault: Fault, asked: RecordedRequest, connection: Connection
) -> StreamingResponse:
    """Return the reply as the fault spoils it."""
    whole = spoilt(whole, fault)
    pieces = _Pieces.of(whole, fault, asked)
    headers = {"content-encoding": "gzip"} if fault.kind == "bad_gzip" else {}
    if fault.kind == "short":
        headers["content-length"] = str(_PROMISED_BYTES)
    kind = "text/plain" if fault.kind == "wrong_type" else pieces.media_type
    return StreamingResponse(_played(pieces, fault, connection), media_type=kind, headers=headers)


def events(whole: dict[str, Any], asked: RecordedRequest, fault: Fault | None = None) -> list[str]:
    """Return the server-sent events of a completion, `[DONE]` last."""
    options = asked.body.get("stream_options") or {}
    if not whole["choices"]:  # a chunk without choices is the whole stream
        return [_event({**whole, "object": "chat.completion.chunk"}), "data: [DONE]\n\n"]
    usage = bool(options.get("include_usage")) and whole["usage"] is not None
    size = OVERSIZE_PIECE_CHARS if fault is not None and fault.kind == "oversize" else None
    parts: Sequence[dict[str, Any]] = list(chunks(whole, include_usage=usage, piece_chars=size))
    if fault is not None:
        parts = rearranged(parts, fault)
    done = () if fault is not None and fault.kind == "no_done" else ("data: [DONE]\n\n",)
    return [*map(_event, parts), *done]


def _event(part: Any) -> str:
    return f"data: {json.dumps(part)}\n\n"


@dataclass(frozen=True)
class _Pieces:
    """A body in the pieces that a fault comes between."""

    head: Sequence[str]
    """What arrives before a fault in the middle."""
    rest: Sequence[str]
    streamed: bool

    @classmethod
    def of(cls, whole: dict[str, Any], fault: Fault, asked: RecordedRequest) -> "_Pieces":
        if asked.stream:
            said = events(whole, asked, fault)
            return cls(said[: fault.after_chunks], said[fault.after_chunks :], streamed=True)
        text = json.dumps(whole)
        return cls([text[: len(text) // 2]], [text[len(text) // 2 :]], streamed=False)

    @property
    def media_type(self) -> str:
        return "text/event-stream" if self.streamed else "application/json"


async def _played(pieces: _Pieces, fault: Fault, connection: Connection) -> AsyncIterator[str]:
    """Yield a body as far as its fault lets it come."""
    if fault.kind in ("drip", "trickle"):
        async for piece in _slow(pieces, fault, connection):
            yield piece
        return
    instead = _MIDDLE.get(fault.kind)
    if pieces.streamed or fault.kind in ("cut", "reset", "short", "stall") or instead is None:
        for piece in pieces.head:
            yield piece
    if instead is None:
        for piece in pieces.rest:
            yield piece
        return
    async for piece in instead(pieces, fault, connection):
        yield piece


async def _slow(pieces: _Pieces, fault: Fault, connection: Connection) -> AsyncIterator[str]:
    said = [*pieces.head, *pieces.rest]
    if fault.kind == "drip" or not pieces.streamed:
        text = "".join(said)
        size = 1 if fault.kind == "drip" else len(text) // 10 + 1
        said = [text[at : at + size] for at in range(0, len(text), size)]
    for piece in said:
        yield piece
        if await connection.left_within(fault.pause_s):
            return


async def _ended(_: _Pieces, fault: Fault, connection: Connection) -> AsyncIterator[str]:
    if fault.kind in ("reset", "short"):
        await connection.taken()
        connection.end(reset=fault.kind == "reset")
        await connection.left()
    return
    yield  # makes this an iterator


async def _stalled(_: _Pieces, __: Fault, connection: Connection) -> AsyncIterator[str]:
    await connection.left()
    return
    yield  # as above


async def _commented(pieces: _Pieces, fault: Fault, connection: Connection) -> AsyncIterator[str]:
    while not await connection.left_within(fault.pause_s):
        yield _KEEP_ALIVE if pieces.streamed else " "


async def _malformed(pieces: _Pieces, _: Fault, __: Connection) -> AsyncIterator[str]:
    if not pieces.streamed:
        yield _BROKEN_JSON
        return
    for piece in (f"data: {_BROKEN_JSON}\n\n", *pieces.rest):
        yield piece


async def _errored(pieces: _Pieces, fault: Fault, _: Connection) -> AsyncIterator[str]:
    told = {"error": {"message": fault.message, "code": fault.code or fault.status}}
    yield _event(told) if pieces.streamed else json.dumps(told)


_MIDDLE: dict[str, Callable[[_Pieces, Fault, Connection], AsyncIterator[str]]] = {
    "comments": _commented,
    "cut": _ended,
    "error_object": _errored,
    "malformed": _malformed,
    "reset": _ended,
    "short": _ended,
    "stall": _stalled,
}
