"""What one attempt may take from the network: seconds, bytes, and a way to hang up.

It holds for the HTTP clients that langroute builds itself, which also carry what is `Private`. Every
attempt puts its `Line` into the context; hooks of the client read it there when a request goes out and
when a response comes in. One client serves all endpoints that have the same private parts, and every
event loop has a pool of its own: a pool that outlives its loop fails the next loop's calls.
"""

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from pydantic import SecretStr

from langroute.bodies import read_through, shut
from langroute.errors import OversizeReply, RedirectedCall

__all__ = ["CALL_S", "LINE", "Line", "Private", "async_client", "client"]

CALL_S = 600.0
"""Seconds that a call may take where nobody said: the limit of the OpenAI client, but for the whole call."""

MAX_BYTES = 32 * 1024 * 1024
"""Bytes of one response. The longest replies of today's models, 128,000 tokens streamed, stay below it."""


_CONNECTED = ("connect_tcp.complete", "start_tls.complete")
"""How the client's events end that tell of a connection; the second's stream is around the first's."""


class Line:
    """One attempt's use of the network: until when, how much, and over which socket.

    Args:
        limit_s: Seconds from now after which nothing more is read.
        clock: Monotonic seconds; injected by tests.
    """

    def __init__(self, limit_s: float = CALL_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_s = clock() + limit_s
        self._bytes_left = MAX_BYTES
        self._stream: Any = None
        self._hung_up = False

    @property
    def left_s(self) -> float:
        """Seconds left; never below a millisecond, because 0 would mean no limit to some clients."""
        return max(self._ends_s - self._clock(), 0.001)

    def asked(self, request: Any) -> None:
        """Let no single wait of a request last longer than the attempt may."""
        given = request.extensions.get("timeout") or {}
        left_s = self.left_s
        limits = {
            kind: min(given.get(kind) or left_s, left_s) for kind in ("connect", "read", "write", "pool")
        }
        request.extensions = {**request.extensions, "timeout": limits}

    def connected(self, event: str, told: Mapping[str, Any]) -> None:
        """Remember the socket of a new connection: a response's head may never come to its end."""
        if event.endswith(_CONNECTED):
            self._take(told["return_value"])

    def answered(self, response: Any) -> None:
        """Count what is read of a response, and remember its socket."""
        read_through(response, self)
        self._take(response.extensions.get("network_stream"))

    def _take(self, stream: Any) -> None:
        self._stream = stream
        if self._hung_up:
            self.hang_up()

    @property
    def over(self) -> bool:
        """Whether the attempt's time is over."""
        return self._clock() >= self._ends_s

    def count(self, chunk: bytes) -> None:
        """Count a chunk that was read.

        Raises:
            OversizeReply: The response is longer than any reply.
        """
        self._bytes_left -= len(chunk)
        if self._bytes_left < 0:
            raise OversizeReply(f"the response is longer than {MAX_BYTES:,} bytes")

    def hang_up(self) -> None:
        """Shut the socket, so that a thread that reads from it stops; closing alone would not wake it."""
        self._hung_up = True
        shut(self._stream)  # where there is none yet, the request's own limits end the wait


LINE: ContextVar[Line | None] = ContextVar("langroute_line", default=None)
"""The line of the attempt that is being made in this context."""


_CLIENTS_KEPT = 64
"""Clients with private parts of their own that are shared; one that is let go lives on in its models."""


@dataclass(frozen=True, slots=True)
class Private:
    """What requests carry and no chat model may hold, because models are shown, dumped and traced."""

    headers: tuple[tuple[str, SecretStr], ...] = ()
    user: SecretStr | None = None
    """`name:password` of the server's URL."""
    proxy: SecretStr | None = None
    """URL of the proxy."""

    def asked(self, request: Any) -> None:
        """Put the headers into a request that goes out."""
        for name, value in self.headers:
            request.headers[name] = value.get_secret_value()
        if (line := LINE.get()) is not None:
            line.asked(request)

    def watched(self, request: Any) -> None:
        """Do the same for a sync client, whose waiting nobody can cancel: it ends when its socket is shut."""
        self.asked(request)
        if (line := LINE.get()) is not None:
            request.extensions["trace"] = line.connected

    async def aasked(self, request: Any) -> None:
        """Do the same for an async client."""
        self.asked(request)

    def client(self, kind: Any, asked: Any, answered: Any) -> Any:
        """Return an HTTP client of openai's class `kind`."""
        more: dict[str, Any] = {}
        if self.user is not None:
            name, _, password = self.user.get_secret_value().partition(":")
            more["auth"] = (unquote(name), unquote(password))
        if self.proxy is not None:
            more["proxy"] = self.proxy.get_secret_value()
        hooks = {"request": [asked], "response": [answered]}
        return kind(event_hooks=hooks, follow_redirects=False, **more)


NOTHING_PRIVATE = Private()


@lru_cache(maxsize=_CLIENTS_KEPT)
def client(private: Private = NOTHING_PRIVATE) -> Any:
    """Return the sync HTTP client of the endpoints that langroute builds; it honours proxy variables."""
    import openai

    return private.client(openai.DefaultHttpxClient, private.watched, _answered)


@lru_cache(maxsize=_CLIENTS_KEPT)
def async_client(private: Private = NOTHING_PRIVATE) -> Any:
    """Return the async one: to its user one client, inside it one for each event loop."""
    import openai

    class PerLoop(openai.DefaultAsyncHttpxClient):
        """Sends every request through the client of the running loop."""

        def __init__(self) -> None:
            super().__init__()
            self._of_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any]
            self._of_loop = weakref.WeakKeyDictionary()
            self._lock = threading.Lock()

        async def send(self, request: Any, **how: Any) -> Any:
            return await self._here().send(request, **how)

        async def aclose(self) -> None:
            await self._here().aclose()
            await super().aclose()

        def _here(self) -> Any:
            loop = asyncio.get_running_loop()
            with self._lock:
                if loop not in self._of_loop:
                    kind = openai.DefaultAsyncHttpxClient
                    self._of_loop[loop] = private.client(kind, private.aasked, _aanswered)
                return self._of_loop[loop]

    return PerLoop()


def _answered(response: Any) -> None:
    if response.has_redirect_location:  # here, because a request may ask for redirects to be followed
        raise RedirectedCall(_redirected(response))
    (LINE.get() or Line()).answered(response)


def _redirected(response: Any) -> str:
    """Return what is told of a redirect: following it would give prompt and headers to another server."""
    try:
        host = response.request.url.join(response.headers["location"]).host
    except Exception:  # the server wrote it: whatever it is, it is no address
        host = ""
    return (
        f"the server answered with a redirect to {host or 'no readable address'},"
        " and redirects are not followed: if that is the model's server, put its final address into base_url"
    )


async def _aanswered(response: Any) -> None:
    _answered(response)
