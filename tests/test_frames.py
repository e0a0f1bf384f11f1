"""Streams that hold pieces of two replies, or a refusal: what LangChain's chunks do not tell."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routed_models import GOOD, STREAMS, shown
from test_wire import EVENTS, routed, serving

from langroute.errors import MixedReply, PartialStream, RefusedReply
from langroute.frames import Frames
from langroute.testing import LoopbackProvider

WORDS = ("The ", "cable ", "was ", "laid.")


def said(
    content: str, *, why: str | None = None, index: int = 0, of: str | None = "a", **delta: Any
) -> bytes:
    """Return one event of a stream."""
    choice = {"index": index, "delta": {"content": content, **delta}, "finish_reason": why}
    told = {"id": of, "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(told)}\n\n".encode()


PIECES = [said(word) for word in WORDS]
END, DONE = said("", why="stop"), b"data: [DONE]\n\n"
WHOLE = [*PIECES, END]

MIXED = {
    "two choices": [PIECES[0], said("Another ", index=1), *PIECES[1:], END, DONE],
    "another reply's piece": [*PIECES[:2], said("FOREIGN ", of="b"), *PIECES[2:], END, DONE],
    "two streams": [*WHOLE, *WHOLE, DONE],
    "an end that cuts and one that does not": [*PIECES, said("", why="length"), END, DONE],
    "an end that does not cut and one that does": [*WHOLE, said("", why="content_filter"), DONE],
    "more after the end": [*WHOLE, said(" More."), DONE],
}


def called(*pieces: dict[str, Any], why: str | None = None) -> bytes:
    """Return one event with pieces of tool calls."""
    return said("", why=why, tool_calls=list(pieces))


def piece(arguments: str, index: Any = 0, **more: Any) -> dict[str, Any]:
    return {"index": index, "function": {"arguments": arguments}, **more}


ERROR = b'data: {"code": 502, "message": "The upstream died."}\n\n'
NAMELESS = {"id": "c", "function": {"name": "add", "arguments": "{}"}}
TOLD = {
    "an event called error": [*PIECES, b"event: error\n", b'data: {"reason": "died"}\n\n', END, DONE],
    "an error of vLLM": [*PIECES, b'data: {"object": "error", "message": "died"}\n\n', END, DONE],
    "an error of a gateway": [*PIECES, ERROR, END, DONE],
    "a call without a place": [called(piece("{}", id="a")), called(NAMELESS), END, DONE],
    "a call without a function": [called({"index": 0, "id": "a", "type": "custom"}), END, DONE],
    "two pieces of a call in an event": [called(piece("", id="a"), piece("{}")), END, DONE],
}
PLAIN = {
    "an event called otherwise": [b"event: message\n", *PIECES, b"event: ping\n", b"data: {}\n\n", END],
    "two calls in one place": [called(piece("{}", id="a"), piece("{}", id="b")), END, DONE],
    "an error that the client finds": [*PIECES, b'data: {"error": {"message": "died"}}\n\n'],
    "an answer behind an event called error": [b"event: error\n\n", *PIECES, END, DONE],
    "pieces of two calls": [
        *(called(piece(part, place)) for part in ('{"a": ', "[1", "]}") for place in (0, 1)),
        END,
    ],
    "as ever": [*WHOLE, DONE],
    "ids that change": [*(said(word, of=word) for word in WORDS), END, DONE],
    "no ids": [*(said(word, of=None) for word in WORDS), END, DONE],
    "an id that is missing at times": [PIECES[0], PIECES[1], said(WORDS[2], of=None), PIECES[3], END, DONE],
    "another choice alone": [*(said(word, index=1) for word in WORDS), said("", why="stop", index=1), DONE],
    "every piece ends": [*(said(word, why="stop") for word in WORDS), DONE],
    "ends that cut alike": [*PIECES, said("", why="length"), said("", why="length"), DONE],
    "ends of two calls": [*PIECES, said("", why="tool_calls"), END, DONE],
    "two ends": [*WHOLE, END, said("", of="filter"), DONE],
}


@pytest.mark.parametrize("parts", [*MIXED.values(), *TOLD.values()], ids=[*MIXED, *TOLD])
def test_words_of_another_reply_are_refused(parts: list[bytes]) -> None:
    with pytest.raises(MixedReply):
        Frames().read(b"".join(parts))


@pytest.mark.parametrize("parts", PLAIN.values(), ids=PLAIN.keys())
@given(cuts=st.lists(st.integers(0, 2_000), max_size=8))
def test_odd_streams_of_one_reply_pass_however_they_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    whole, frames = b"".join(parts), Frames()
    places = [0, *sorted(cuts), len(whole)]
    for start, end in pairwise(places):
        frames.read(whole[start:end])


def test_refusal_and_broken_choice_in_a_stream_are_refused() -> None:
    with pytest.raises(RefusedReply):
        Frames().read(PIECES[0] + said("", refusal="I can't."))
    with pytest.raises(MixedReply):
        Frames().read(END.replace(b'"index"', b'"error": {"message": "died"}, "index"'))


@pytest.mark.parametrize("gap", [b"", b"\n"])
def test_error_in_a_choice_of_a_whole_reply_is_refused(gap: bytes) -> None:
    frames = Frames()
    frames.read(b'{"choices":' + gap + b'[{"index": 0, "message": {"content": "The"}, ')
    frames.read(b'"error": {"message": "died"}}]}')
    with pytest.raises(MixedReply):
        frames.end()


@pytest.mark.parametrize(
    "body", [b'{"choices": 1}', b'{\n"choices":\n[1]}', b"data: {\n", b"data: [[]]\n", b"x"]
)
def test_what_is_no_stream_of_events_is_left_alone(body: bytes) -> None:
    frames = Frames()
    frames.read(body)
    frames.end()


@pytest.mark.parametrize("mode", STREAMS)
@pytest.mark.parametrize("fault", MIXED)
async def test_mixed_stream_ends_and_is_never_joined(
    monkeypatch: pytest.MonkeyPatch, mode: str, fault: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key for loopback")

    def say(connection: Any, _: bytes) -> None:
        connection.sendall(EVENTS + b"".join(MIXED[fault]))

    with serving(say) as server, LoopbackProvider({"m": GOOD}) as good:
        text = GOOD
        try:
            text = await shown(routed(server.url, good.base_url, None), mode)
        except PartialStream as error:
            text = error.text
    assert text == GOOD or "".join(WORDS).startswith(text)
