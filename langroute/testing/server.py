"""The loopback provider's HTTP: the desk behind starlette routes, on one uvicorn server in a daemon thread.

Imported by `LoopbackProvider.start` alone, so that `langroute.testing` works without the extra.
"""

import asyncio
import json
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from langroute.testing import failing
from langroute.testing.desk import Desk, RecordedRequest
from langroute.testing.faults import Fault
from langroute.testing.wire import WireError

__all__ = ["LoopbackServer"]

STOP_TIMEOUT_S = 1.0
"""How long a stop waits for handlers whose connection it dropped; brains that block longer are left."""

TAKEN_TIMEOUT_MS = 1_000
"""How long a reset waits for the client's machine to take what was written before it."""

SETTLING_TURNS = 10
"""Turns of the loop after which what asyncio accepted last is open, and what was dropped closed."""

_NO_LINGER = struct.pack("ii", 1, 0)


class LoopbackServer:
    """A running server on a free port of 127.0.0.1; `stop` ends it within two seconds, whatever hangs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # The protocol is named, since asyncio sets TCP_NODELAY only where it is: without, 40 ms a reply.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.port: int = self._socket.getsockname()[1]
        routes = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/{path:path}", self._elsewhere, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]
        # Every reply closes its connection, so that a client that outlives its event loop, or this server,
        # holds no open socket; measured at 0.6 ms of a 4 ms call.
        config = uvicorn.Config(
            Starlette(routes=routes),
            http=H11Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            headers=[("connection", "close")],
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, name=f"loopback-{self.port}", daemon=True)
        self._thread.start()
        self._server.ready.wait()

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._server.connections())

    def stop(self) -> None:
        """Drop every open connection and end the thread."""
        self._server.request_stop()
        self._thread.join(2 * STOP_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            self._server.ready.set()

    async def _elsewhere(self, request: Request) -> Response:
        """Answer every other path: the list of models, and 404."""
        path = request.url.path
        self._desk.record(path, request.headers, await request.body())
        try:
            self._desk.require_key(request.headers.get("authorization"))
        except WireError as error:
            return failing.refused(error)
        if (request.method, path) != ("GET", "/v1/models"):
            return failing.refused(WireError(404, f"Invalid URL ({request.method} {path})"))
        served = [
            {"id": name, "object": "model", "created": 0, "owned_by": "langroute"}
            for name in self._desk.models
        ]
        return JSONResponse({"object": "list", "data": served})

    async def _chat(self, request: Request) -> Response:
        asked = self._desk.record(request.url.path, request.headers, await request.body())
        try:
            self._desk.require_key(request.headers.get("authorization"))
            self._desk.require_model(asked.model)
            fault = self._desk.take_fault(asked.model)
            if fault is None:
                return _reply(await self._complete(asked), asked)
            return await self._fail(fault, asked, request)
        except WireError as error:
            return failing.refused(error)
        except asyncio.CancelledError:
            # Only the end of the loop cancels a request: the server stopped while a brain was at it. The
            # client has gone by then, and uvicorn would print the cancellation as the application's error.
            return Response()

    async def _complete(self, asked: RecordedRequest) -> dict[str, Any]:
        # In a thread, since a brain may take its time or wait for its test; left behind if the server stops.
        return await run_sync(partial(self._desk.complete, asked), abandon_on_cancel=True)

    async def _fail(self, fault: Fault, asked: RecordedRequest, request: Request) -> Response:
        connection = _Connection(self._server, request)
        if fault.delay_s and await connection.left_within(fault.delay_s):
            return Response()
        if await failing.raw(fault, connection):
            return Response()
        page = failing.page(fault, str(request.url))
        return page or failing.response(await self._complete(asked), fault, asked, connection)


class _Connection:
    """The connection under one request."""

    def __init__(self, server: "_Server", request: Request) -> None:
        self._server = server
        self._request = request

    async def left(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass

    async def left_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.left(), seconds)
        except TimeoutError:
            return False
        return True

    async def taken(self) -> None:
        for _ in range(TAKEN_TIMEOUT_MS):
            if not any(map(_waiting_bytes, self._transports())):
                break
            await asyncio.sleep(0.001)

    def end(self, *, reset: bool) -> None:
        for transport in self._transports():
            _end(transport, reset=reset)

    def write(self, data: bytes) -> None:
        for transport in self._transports():
            transport.write(data)

    def _transports(self) -> list[asyncio.Transport]:
        client = self._request.scope["client"]
        return [each.transport for each in self._server.connections() if each.client == client]


class _Server(uvicorn.Server):
    """uvicorn's server without its tenth-of-a-second ticks: it starts and stops in milliseconds."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def request_stop(self) -> None:
        """Ask the loop to end; from any thread, any number of times."""
        if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        await self.on_tick(0)  # fills in the default headers
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self.ready.set()
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # asyncio loses, open, what it has accepted and not yet handed over when its server closes (3.11), so
        # accepting ends first.
        for listening in sockets or ():
            asyncio.get_running_loop().remove_reader(listening)
        await _turns()
        for server in self.servers:
            server.close()
        for connection in self.connections():
            _abort(connection.transport, reset=False)
        await _turns()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=STOP_TIMEOUT_S)

    def connections(self) -> list[H11Protocol]:
        """Return the connections that are open."""
        return [each for each in tuple(self.server_state.connections) if isinstance(each, H11Protocol)]


async def _turns() -> None:
    for _ in range(SETTLING_TURNS):
        await asyncio.sleep(0)


def _abort(transport: asyncio.Transport, *, reset: bool) -> None:
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def _waiting_bytes(transport: asyncio.Transport) -> int:
    """Return how much of what was written has not been acknowledged; 0 where the system does not say."""
    waiting = transport.get_write_buffer_size()
    if sys.platform != "linux" or transport.is_closing():
        return waiting
    import fcntl
    import termios

    with suppress(OSError):
        told = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        waiting += int.from_bytes(told, sys.byteorder)
    return waiting


def _end(transport: asyncio.Transport, *, reset: bool) -> None:
    """Close a connection, what was written before it sent first, or reset it."""
    if reset:
        _abort(transport, reset=True)
    else:
        transport.close()


async def _each(pieces: Sequence[str]) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece


def _reply(whole: dict[str, Any], asked: RecordedRequest) -> Response:
    if not asked.stream:
        # Not starlette's JSONResponse, which cannot send the lone surrogates that a careless client sends.
        return Response(json.dumps(whole), media_type="application/json")
    return StreamingResponse(_each(failing.events(whole, asked)), media_type="text/event-stream")
