"""A response's bytes as they come: glued to another response, packed, or behind a mark."""

import gzip
import json
import socket
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from routed_models import STREAMS, shown
from test_wire import EVENTS, JSON, _key, routed, serving

from langroute import RoutedChatModel, bodies
from langroute.testing import LoopbackProvider

__all__ = ["_key"]

ALIVE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
PACKED = {
    "gzip": gzip.compress,
    "x-gzip": lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:]),
    "deflate": zlib.compress,
    "Deflate": lambda data: zlib.compress(data, wbits=-zlib.MAX_WBITS),
    "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    "identity": bytes,
}


def told(text: str, reason: str | None = "stop") -> bytes:
    """Return the body of a whole reply."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return json.dumps({"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()


def streamed(*texts: str, refusal: str | None = None) -> bytes:
    """Return the body of a stream; a refusal stands in its first event."""
    events = b""
    for number, text in enumerate((*texts, "")):
        end = "stop" if number == len(texts) else None
        refused = None if number else refusal
        choice = {"index": 0, "delta": {"content": text, "refusal": refused}, "finish_reason": end}
        events += b"data: %s\n\n" % json.dumps({"id": "1", "choices": [choice]}).encode()
    return events + b"data: [DONE]\n\n"


def whole_request(connection: socket.socket, asked: bytes) -> dict[str, Any]:
    """Read a request to its end: a connection that is closed before is reset."""
    head, _, body = asked.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65_536)
    return json.loads(body)


def asked_in_turn(answer: Callable[[dict[str, Any]], bytes]) -> Callable[[socket.socket, bytes], None]:
    """Return what answers one request after the other on a connection that stays open."""

    def say(connection: socket.socket, asked: bytes) -> None:
        while asked:
            connection.sendall(answer(whole_request(connection, asked)))
            asked = connection.recv(65_536)

    return say


def once(body: bytes, head: bytes) -> Callable[[socket.socket, bytes], None]:
    """Return what answers a request so, and closes."""

    def say(connection: socket.socket, asked: bytes) -> None:
        whole_request(connection, asked)
        connection.sendall(head + body)

    return say


def alone(url: str) -> RoutedChatModel:
    return RoutedChatModel(
        {"tiers": {"t": {"models": [{"model": "openai:m", "settings": {"base_url": url}}]}}}
    )


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("more", [ALIVE % (9, b"not asked"), b"the rest of the reply"])
async def test_what_comes_behind_a_response_answers_no_other_call(more: bytes, way: str) -> None:
    def answer(request: dict[str, Any]) -> bytes:
        body = told(f"to {request['messages'][0]['content']}")
        return ALIVE % (len(body), body) + more

    with serving(asked_in_turn(answer)) as server:
        model = alone(server.url)
        for question in ("one", "two", "three"):
            reply = model.invoke(question) if way == "sync" else await model.ainvoke(question)
            assert reply.text == f"to {question}"


def test_connection_on_which_nothing_more_came_is_used_again() -> None:
    connections = []

    def answer(request: dict[str, Any]) -> bytes:
        del request
        body = told("a reply")
        return ALIVE % (len(body), body)

    def say(connection: socket.socket, asked: bytes) -> None:
        connections.append(connection)
        asked_in_turn(answer)(connection, asked)

    with serving(say) as server:
        model = alone(server.url)
        assert [model.invoke("q").text for _ in range(3)] == ["a reply"] * 3
        assert len(connections) == 1


@pytest.mark.parametrize("coding", PACKED)
@pytest.mark.parametrize("mode", ["invoke", "ainvoke", *STREAMS])
async def test_packed_reply_is_read(coding: str, mode: str) -> None:
    whole = mode in ("invoke", "ainvoke")
    body = told("The cable was laid.") if whole else streamed("The ", "cable was laid.")
    head = (JSON if whole else EVENTS).replace(
        b"\r\n\r\n", b"\r\ncontent-encoding: %s\r\n\r\n" % coding.encode()
    )
    with serving(once(PACKED[coding](body), head)) as server:
        model = alone(server.url)
        if mode == "invoke":
            assert model.invoke("q").text == "The cable was laid."
        elif mode == "ainvoke":
            assert (await model.ainvoke("q")).text == "The cable was laid."
        else:
            assert await shown(model, mode) == "The cable was laid."


@pytest.mark.parametrize("packed", [gzip.compress, bytes], ids=["gzip", "plain, it says gzip"])
@pytest.mark.parametrize("mode", STREAMS)
async def test_packed_stream_is_looked_into_and_falls_back(packed: Any, mode: str) -> None:
    head = EVENTS.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    refused = once(packed(streamed("", "As you like.", refusal="No.")), head)
    with serving(refused) as server, LoopbackProvider({"m": "A good reply."}) as good:
        assert await shown(routed(server.url, good.base_url, None), mode) == "A good reply."


def test_small_body_that_unpacks_to_a_large_one_is_cut_off() -> None:
    packer = zlib.compressobj(9, wbits=31)
    body = b"".join(packer.compress(bytes(2**20)) for _ in range(100)) + packer.flush()
    head = JSON.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    with serving(once(body, head)) as server, LoopbackProvider({"m": "A good reply."}) as good:
        model = routed(server.url, good.base_url, None)
        tracemalloc.start()
        reply = model.invoke("q")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert reply.text == "A good reply."
    assert "longer than" in reply.response_metadata["langroute"]["attempts"][0]["failure"]["message"]
    assert peak < 80 * 2**20


@pytest.mark.parametrize("mode", STREAMS)
async def test_mark_before_a_stream_hides_none_of_its_words(mode: str) -> None:
    with serving(once(b"\xef\xbb\xbf" + streamed("The ", "cable."), EVENTS)) as server:
        assert await shown(alone(server.url), mode) == "The cable."


class Meter:
    over = False

    def count(self, chunk: bytes) -> None:
        self.counted = chunk


@pytest.mark.parametrize("coding", PACKED)
def test_packed_bytes_are_unpacked_however_they_are_cut(coding: str) -> None:
    import httpx

    body = streamed("The ", "cable ", "was ", "laid.")
    for size in (1, 2, 3, 7, 10_000):
        packed = PACKED[coding](body)
        codings = [part for part in coding.lower().split(", ") if part != "identity"]
        reading = bodies._Reading(httpx, Meter(), [bodies._Packed(part) for part in codings])
        pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
        assert b"".join(piece for chunk in pieces for piece in reading.pieces(chunk)) == body
