"""Arguments of tool calls in pieces: those that LangChain would mend for minutes are refused."""

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routed_models import GOOD
from test_bodies import once
from test_frames import called, piece
from test_wire import EVENTS, _key, routed, serving

from langroute.arguments import Arguments, is_whole
from langroute.errors import BrokenArguments, PartialStream
from langroute.testing import LoopbackProvider

__all__ = ["_key"]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
RUBBISH = '{"a" ' + '"b", ' * 12_000


@given(value=st.dictionaries(st.text(), VALUES), ascii_=st.booleans(), size=st.integers(1, 3_000))
def test_arguments_that_become_json_are_never_refused(value: Any, ascii_: bool, size: int) -> None:  # noqa: FBT001
    said = json.dumps({"long": "x\\\n" * 2_500, **value, "more": [value] * 3}, ensure_ascii=ascii_)
    arguments = Arguments()
    for at in range(0, len(said), size):
        arguments.add(0, said[at : at + size])
    if is_whole(said):
        arguments.end()


@pytest.mark.parametrize(
    "said",
    [
        RUBBISH,
        "{'a': 1}" * 2_000,
        "[" * 5_000,
        '{"a": ' + "9" * 9_000,
        "{{x," * 2_000,
        '{"a": 1}' + " {" * 2_000,
    ],
)
@pytest.mark.parametrize("size", [1, 100, 100_000])
def test_long_arguments_that_are_no_json_are_refused_early(said: str, size: int) -> None:
    assert taken_of(said, size) <= max(6_200, size)


def taken_of(said: str, size: int) -> int:
    """Return how many characters were taken before they were refused."""
    arguments = Arguments()
    for at in range(0, len(said), size):
        try:
            arguments.add(0, said[at : at + size])
        except BrokenArguments:
            return at
    raise AssertionError("they were not refused")


def test_short_ones_are_left_to_langchain_and_long_ones_that_were_cut_are_not() -> None:
    arguments = Arguments()
    arguments.add(0, '{"a": ')
    arguments.end()
    arguments.add(1, '{"a": "' + "x" * 3_000)
    with pytest.raises(BrokenArguments, match="cut"):
        arguments.end()


def test_piece_that_langchain_could_not_read_alone_is_refused() -> None:
    arguments = Arguments()
    arguments.add(0, '{"a": "')
    with pytest.raises(BrokenArguments, match="too long"):
        arguments.add(0, "x" * 20_000)


async def test_event_loop_is_not_held_up_by_arguments_that_are_no_json() -> None:
    stream = called(piece("", id="c")) + called(piece(RUBBISH), why="tool_calls") + b"data: [DONE]\n\n"
    with serving(once(stream, EVENTS)) as server, LoopbackProvider({"m": GOOD}) as good:
        model = routed(server.url, good.base_url, None)
        late_s, asleep_s = 0.0, 0.01
        reading = asyncio.create_task(anext_all(model))
        while not reading.done():
            began_s = time.monotonic()
            await asyncio.sleep(asleep_s)
            late_s = max(late_s, time.monotonic() - began_s - asleep_s)
        assert late_s < 5.0
        with pytest.raises(PartialStream):
            await reading


async def anext_all(model: Any) -> None:
    async for _ in model.astream("q"):
        pass
