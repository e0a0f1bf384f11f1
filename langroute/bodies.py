"""The bytes of a response on their way to its client: counted, unpacked, and looked at."""

import importlib
import socket
import zlib
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from typing import Any, Protocol

from langroute.frames import Frames

__all__ = ["read_through", "shut"]

_PIECE = 2**20
"""Bytes of one unpacked piece: a small body can unpack to a thousand times its size."""

_PACKED = frozenset({"deflate", "gzip", "identity", "x-gzip"})
"""Codings that are undone here; any other is the client's business."""

_GZIP = b"\x1f\x8b"

_BOM = b"\xef\xbb\xbf"
"""A mark that some servers begin with: it is no part of the text, and hides a stream's first event."""

_DOWN_TO_PARSER = ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state")


class Metered(Protocol):
    """What must be known of the attempt that reads: how much it may, and until when."""

    @property
    def over(self) -> bool:
        """Whether its time is over."""

    def count(self, chunk: bytes) -> None:
        """Count a chunk that was read; raises where it is too much."""


def read_through(response: Any, meter: Metered) -> None:
    """Let a response be read as long as `meter` allows, which counts it as it is when it is unpacked."""
    told = response.headers.get("content-encoding", "").lower().split(",")
    codings = [coding.strip() for coding in told if coding]
    packed = [coding for coding in codings if coding != "identity"] if _PACKED.issuperset(codings) else []
    if packed:
        del response.headers["content-encoding"]
    library = type(response).__module__.partition(".")[0]
    response.stream = _body(library)(response, meter, [_Packed(coding) for coding in reversed(packed)])


def shut(stream: Any) -> None:
    """Shut the socket of a network stream: a thread that reads stops, and no other call is made on it."""
    found = stream and stream.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):
            found.shutdown(socket.SHUT_RDWR)


class _Packed:
    """What one coding wrapped, undone piece by piece."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._head = b""
        self._inflate: Any = None
        self._again = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` adds; what follows the end is left out.

        Raises:
            zlib.error: It is not packed so.
        """
        while data:
            if self._inflate is None:
                data, self._head = self._head + data, b""
                if len(data) < 2:  # noqa: PLR2004 - a header's bytes
                    self._head = data
                    return
                if self._again and not data.startswith(_GZIP):
                    return
                self._inflate = zlib.decompressobj(self._window(data))
            data = yield from self._inflated(data)

    def _inflated(self, data: bytes) -> Generator[bytes, None, bytes]:
        """Yield what can be inflated; return what is left: the beginning of another member, in `gzip`."""
        inflate = self._inflate
        while not inflate.eof:
            piece = inflate.decompress(data, _PIECE)
            yield piece
            data = inflate.unconsumed_tail
            if not data and len(piece) < _PIECE:
                break
        if not inflate.eof:
            return b""
        self._inflate, self._again = None, True
        return inflate.unused_data  # type: ignore[no-any-return]  # bytes

    def _window(self, head: bytes) -> int:
        if self._coding != "deflate":
            return zlib.MAX_WBITS | 16
        # Half of the servers leave the header of `deflate` out.
        whole = head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0  # noqa: PLR2004 - RFC 1950's own
        return zlib.MAX_WBITS if whole else -zlib.MAX_WBITS


class _Reading:
    """What is done with each chunk of a body; `http` is the client's own library."""

    def __init__(self, http: Any, meter: Metered, packed: Sequence[_Packed]) -> None:
        self._http = http
        self._meter = meter
        self._packed = packed
        self._frames = Frames()
        self._head: bytes | None = b""

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what the client is given of a chunk."""
        self._meter.count(chunk)
        if not self._packed:
            yield self._looked_at(chunk)
            return
        pieces: Iterator[bytes] = iter([chunk])
        for coding in self._packed:
            pieces = chain.from_iterable(map(coding.pieces, pieces))
        try:
            for piece in pieces:
                self._meter.count(piece)
                yield self._looked_at(piece)
        except zlib.error as error:
            raise self._http.DecodingError(str(error)) from error

    def end(self) -> None:
        """Look at what can only be judged now that all of it came."""
        self._frames.end()

    def _looked_at(self, piece: bytes) -> bytes:
        if self._meter.over:
            raise self._http.ReadTimeout("the response did not end in time")
        if self._head is not None:
            self._head += piece
            if self._head != _BOM and _BOM.startswith(self._head):
                return b""
            piece, self._head = self._head.removeprefix(_BOM), None
        self._frames.read(piece)
        return piece


@cache
def _body(library: str) -> Any:
    """Return the class of a response's bytes, made for the client's own `httpx` or `httpx2`."""
    http = importlib.import_module(library)

    class Body(http.SyncByteStream, http.AsyncByteStream):  # type: ignore[misc,name-defined]  # of that library
        """A response's bytes, read as long as the attempt's line allows."""

        def __init__(self, response: Any, meter: Metered, packed: Sequence[_Packed]) -> None:
            self._response = response
            self._stream = response.stream
            self._reading = _Reading(http, meter, packed)

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._stream:
                yield from self._reading.pieces(chunk)
            self._reading.end()

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                for piece in self._reading.pieces(chunk):
                    yield piece
            self._reading.end()

        def close(self) -> None:
            _part(self._response, self._stream)
            self._stream.close()

        async def aclose(self) -> None:
            _part(self._response, self._stream)
            await self._stream.aclose()

    return Body


def _part(response: Any, stream: Any) -> None:
    """Shut a connection on which more came than its response: what is asked next would be answered with it.

    Only the HTTP library knows, in a place of its own; where that looks otherwise nobody does.
    """
    for name in _DOWN_TO_PARSER:
        stream = getattr(stream, name, None)
    if getattr(stream, "trailing_data", (b"",))[0]:
        shut(response.extensions.get("network_stream"))
