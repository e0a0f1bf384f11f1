"""What an attempt takes from the network: seconds, bytes, sockets, and one pool an event loop."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import pytest
from routed_models import GOOD, STREAMS, shown

from langroute import RoutedChatModel, wire
from langroute.errors import OversizeReply
from langroute.testing import LoopbackProvider, capture_decisions
from langroute.wire import Line

MODES = ["invoke", "ainvoke", *STREAMS]
LIMITS_S = (0.3, 1.5, 8.0)
"""Limits to try in turn: a busy machine may take the first before the server was even asked."""
IN_TIME_S = 30.0
"""Far below the time that the server's replies take."""

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nconnection: close\r\n\r\n"
EVENTS, JSON = HEAD % b"text/event-stream", HEAD % b"application/json"
TOKEN = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":0,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"w "},"finish_reason":null}]}\n\n'
)


class Server:
    """A server that says to an OpenAI client, byte for byte, what a test's own function says."""

    def __init__(self, say: Callable[[socket.socket, bytes], None]) -> None:
        self._say = say
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self.asked = threading.Event()
        """Set when a client has asked something."""
        self.left = threading.Semaphore(0)
        """Released when a client was seen to hang up."""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            if asked := connection.recv(65_536):
                self.asked.set()
            try:
                self._say(connection, asked)
            except OSError:
                self.left.release()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def serving(say: Callable[[socket.socket, bytes], None]) -> Iterator[Server]:
    with closing(Server(say)) as server:
        yield server


def for_ever(piece: bytes, every_s: float = 0.02) -> Callable[[socket.socket, bytes], None]:
    """Return what sends the head of a reply and then one piece after the other, without end."""

    def say(connection: socket.socket, asked: bytes) -> None:
        connection.sendall(EVENTS if b'"stream":true' in asked or b'"stream": true' in asked else JSON)
        for _ in range(int(120 / every_s)):
            connection.sendall(piece)
            time.sleep(every_s)  # the server's pace, not a wait of the test's

    return say


def endless_head(connection: socket.socket, asked: bytes) -> None:
    """Send one header after the other, without end."""
    del asked
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x-wait: a little\r\n")
        time.sleep(0.02)  # the server's pace, not a wait of the test's


def silence(connection: socket.socket, asked: bytes) -> None:
    """Never answer; wait until the client hangs up."""
    del asked
    connection.settimeout(120)
    while connection.recv(65_536):
        pass
    raise ConnectionResetError


def routed(bad: str, good: str, limit_s: float | None) -> RoutedChatModel:
    chain = [
        {"model": "openai:m", "name": name, "timeout_s": limit, "settings": {"base_url": url}}
        for name, url, limit in (("bad", bad, limit_s), ("good", good, 60))
    ]
    return RoutedChatModel({"tiers": {"small": {"models": chain}}})


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, all_calls_end: None) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key for loopback")


ENDLESS = {
    "keep-alive comments": for_ever(b": keep-alive\n\n"),
    "one byte at a time": for_ever(b" "),
    "half an event": for_ever(b"data: "),
    "a head without end": endless_head,
    "silence": silence,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("say", ENDLESS.values(), ids=ENDLESS.keys())
async def test_endless_reply_falls_back_in_time_and_its_socket_is_closed(say: Any, mode: str) -> None:
    with serving(say) as server, LoopbackProvider({"m": GOOD}) as good:
        for limit_s in LIMITS_S:
            started_s = time.monotonic()
            with capture_decisions() as decisions:
                assert await shown(routed(server.url, good.base_url, limit_s), mode) == GOOD
            assert time.monotonic() - started_s < limit_s + IN_TIME_S
            first = decisions[0].attempts[0]
            assert first.failure is not None
            assert (first.outcome, first.failure.kind) == ("failed", "timeout")
            if server.asked.is_set():
                break
        assert server.left.acquire(timeout=60)


@contextmanager
def unreachable() -> Iterator[str]:
    """Yield the URL of a server whose queue is full: the system answers nobody who connects."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener, ExitStack() as waiting:
        for _ in range(3):
            client = waiting.enter_context(socket.socket())
            client.settimeout(0)
            client.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


@pytest.mark.parametrize("mode", MODES)
async def test_connection_that_the_limit_cuts_is_a_timeout_in_every_mode(mode: str) -> None:
    with unreachable() as url, LoopbackProvider({"m": GOOD}) as good, capture_decisions() as decisions:
        assert await shown(routed(url, good.base_url, 0.3), mode) == GOOD
    failure = decisions[0].attempts[0].failure
    assert failure is not None
    assert failure.kind == "timeout"


@pytest.mark.parametrize("mode", ["stream", "astream"])
async def test_caller_that_leaves_a_stream_closes_its_socket(mode: str) -> None:
    with serving(for_ever(TOKEN)) as server:
        model = routed(server.url, server.url, limit_s=60)
        if mode == "stream":
            stream = model.stream("When?")
            assert next(stream).text
            stream.close()  # type: ignore[attr-defined]  # it is a generator
        else:
            astream = model.astream("When?")
            assert (await anext(astream)).text
            await astream.aclose()  # type: ignore[attr-defined]  # as above
        assert await asyncio.to_thread(server.left.acquire, timeout=60)


async def test_cancelled_call_closes_its_socket_and_calls_nobody_else() -> None:
    with serving(silence) as server, LoopbackProvider({"m": GOOD}) as good:
        task = asyncio.create_task(routed(server.url, good.base_url, limit_s=120).ainvoke("When?"))
        assert await asyncio.to_thread(server.asked.wait, 60)
        started_s = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started_s < IN_TIME_S
        assert await asyncio.to_thread(server.left.acquire, timeout=60)
        assert not good.requests


@pytest.mark.parametrize("mode", MODES)
async def test_response_without_end_is_cut_off_at_the_limit_of_bytes(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_BYTES", 1_000_000)
    with serving(for_ever(b" " * 100_000, 0.001)) as server, LoopbackProvider({"m": GOOD}) as good:
        with capture_decisions() as decisions:
            assert await shown(routed(server.url, good.base_url, 120), mode) == GOOD
        assert await asyncio.to_thread(server.left.acquire, timeout=60)
    first = decisions[0].attempts[0]
    assert first.failure is not None
    assert first.failure.kind == "bad_response"


def test_twenty_loops_in_a_row_use_one_router() -> None:
    with LoopbackProvider({"m": GOOD}) as provider:
        model = routed(provider.base_url, provider.base_url, None)
        for _ in range(20):
            assert asyncio.run(model.ainvoke("When?")).text == GOOD
        assert len(provider.requests) == 20


def test_eight_threads_of_five_loops_use_one_router() -> None:
    with LoopbackProvider({"m": GOOD}) as provider:
        model = routed(provider.base_url, provider.base_url, None)
        said: list[str] = []

        def work() -> None:
            said.extend(asyncio.run(model.ainvoke("When?")).text for _ in range(5))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert said == [GOOD] * 40
        assert len(provider.requests) == 40


def test_given_network_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import openai

    own = openai.DefaultHttpxClient()
    spec = {"model": "openai:m", "settings": {"http_client": own}}
    endpoint = RoutedChatModel({"tiers": {"small": {"models": [spec]}}}).router.endpoints.by_name["openai:m"]
    assert not endpoint.wired
    assert endpoint.model.http_client is own
    own.close()


def test_line_counts_down_on_its_clock() -> None:
    now_s = 100.0
    line = Line(2, lambda: now_s)
    assert (line.left_s, line.over) == (2, False)
    now_s = 103.0
    assert (line.left_s, line.over) == (0.001, True)
    with pytest.raises(OversizeReply):
        line.count(b"x" * (wire.MAX_BYTES + 1))
    line.hang_up()  # before anything came: nothing to shut


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("mode", MODES)
async def test_redirect_is_not_followed_and_says_where_it_led(mode: str, status: int) -> None:
    with LoopbackProvider({"m": GOOD}) as elsewhere, LoopbackProvider({"m": GOOD}) as good:

        def redirects(connection: socket.socket, asked: bytes) -> None:
            del asked
            where = f"{elsewhere.base_url}/chat/completions?to=far"
            head = f"HTTP/1.1 {status} Go\r\nlocation: {where}\r\ncontent-length: 0\r\n\r\n"
            connection.sendall(head.encode())

        with serving(redirects) as server, capture_decisions() as decisions:
            assert await shown(routed(server.url, good.base_url, 60), mode) == GOOD
        assert not elsewhere.requests
    failure = decisions[0].attempts[0].failure
    assert failure is not None
    assert failure.kind == "connection"
    assert "redirect to 127.0.0.1" in failure.message
    assert failure.message.endswith("into base_url")
    assert "far" not in failure.message
