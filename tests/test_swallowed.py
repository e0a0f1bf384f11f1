"""A cancellation that a model swallows ends it all the same: at its next chunk, whoever asked for the end.

`wait_for` of Python 3.11 swallows one that meets a chunk, and langchain-openai awaits each chunk with it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr
from routed_models import GOOD, routed, shown

from langroute import RoutedChatModel
from langroute.effects import LEFT
from langroute.testing import ScriptedChatModel
from langroute.timing import Limits, aitems

MODES = ("ainvoke", "astream", "av3")
AT = 20
MOST = 3_000
"""Chunks after which the model ends by itself; far more than it may say once it is to end."""


class Talking(ScriptedChatModel):
    """Says chunk after chunk without a pause, each awaited as langchain-openai does."""

    streaming: bool = True
    turns: int = 0
    """Turns of the event loop that a chunk takes."""
    at: Any = None
    """What is done as its twentieth chunk is ready."""
    _said: int = PrivateAttr(default=0)
    _own_task: Any = PrivateAttr(default=None)

    @property
    def said(self) -> int:
        """How many chunks it gave."""
        return self._said

    def end(self) -> None:
        """Cancel the task in which it talks."""
        self._own_task.cancel()

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self._own_task = asyncio.current_task()
        for _ in range(MOST):
            yield await asyncio.wait_for(self._next(run_manager), 60)

    async def _next(self, run_manager: Any) -> ChatGenerationChunk:
        for _ in range(self.turns):
            await asyncio.sleep(0)
        self._said += 1
        if self._said == AT:
            self.at()
        chunk = ChatGenerationChunk(message=AIMessageChunk(f"word {self._said} "))
        if run_manager:
            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
        return chunk


@pytest.mark.parametrize("turns", range(3))
@pytest.mark.parametrize("mode", MODES)
async def test_call_cancelled_as_a_chunk_comes_ends_with_the_next(mode: str, turns: int) -> None:
    talking = Talking(reply=GOOD, streaming=True, turns=turns)
    task = asyncio.create_task(shown(routed({"small-a": talking, "small-b": GOOD}), mode))
    talking.at = task.cancel
    with pytest.raises(asyncio.CancelledError):
        await task
    assert AT <= talking.said < 2 * AT


@pytest.mark.parametrize("turns", range(3))
async def test_events_go_no_further_than_the_one_after_a_cancellation(turns: int) -> None:
    talking = Talking(reply=GOOD, turns=turns)
    talking.at = talking.end  # as the host's stream does when it is closed
    with pytest.raises(asyncio.CancelledError):
        await shown(routed({"small-a": talking}), "av3")
    assert AT <= talking.said < 2 * AT


async def nothing_is_left() -> None:
    """Wait for the checks that were left behind to end."""
    if LEFT:
        await asyncio.wait(LEFT, timeout=60)
    assert not LEFT


JUDGED = {"verify": [{"judge": {"tier": "large", "rubric": "Is it right?"}}]}


@pytest.mark.parametrize("turns", range(3))
async def test_judge_that_talks_on_ends_with_its_next_chunk(turns: int) -> None:
    talking = Talking(reply=GOOD, streaming=True, turns=turns)
    task = asyncio.create_task(
        routed({"small-a": GOOD, "large-a": talking}, cascade=["small"], **JUDGED).ainvoke("?")
    )
    talking.at = task.cancel
    with pytest.raises(asyncio.CancelledError):
        await task
    await nothing_is_left()
    assert AT <= talking.said < 2 * AT


class Deaf:
    """Will not end before it is let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()

    async def __call__(self, case: Any) -> bool:
        self.asked.set()
        while not self.let_go.is_set():
            with suppress(asyncio.CancelledError):
                await self.let_go.wait()
        return True

    async def free(self) -> None:
        """Let it go, and see that nothing is left of it."""
        self.let_go.set()
        await nothing_is_left()


async def test_check_that_will_not_end_is_left_behind_by_a_cancelled_step() -> None:
    deaf, took_s = Deaf(), []
    model = routed({"small-a": GOOD}, verify=[deaf])
    for _ in range(3):
        deaf.asked.clear()
        task = asyncio.create_task(model.ainvoke("?"))
        await deaf.asked.wait()
        began_s = time.perf_counter()
        task.cancel()
        await asyncio.wait({task}, timeout=60)
        took_s.append(time.perf_counter() - began_s)
        assert task.cancelled()
    await deaf.free()
    assert min(took_s) < 0.05


async def test_judge_that_swallows_its_limit_is_late() -> None:
    deaf = Deaf()

    class DeafModel(ScriptedChatModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            await deaf(None)
            return await super()._agenerate(*args, **kwargs)

    small = {"models": [ScriptedChatModel(reply=GOOD)]}
    large = {"models": [{"model": DeafModel(reply=GOOD), "timeout_s": 0.05}]}
    step = {"cascade": ["small"], **JUDGED}
    model = RoutedChatModel({"tiers": {"small": small, "large": large}, "default": step})
    reply = await asyncio.wait_for(model.ainvoke("?"), 60)
    (verdict,) = reply.response_metadata["langroute"]["attempts"][0]["verdicts"]
    assert (verdict["accepted"], verdict["unsure"]) == (False, True)
    await deaf.free()


async def test_stream_that_swallows_its_limit_is_late() -> None:
    async def swallowing() -> AsyncIterator[int]:
        for number in range(MOST):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            yield number

    with pytest.raises(TimeoutError):
        await anext(aitems(swallowing(), lambda _: True, Limits(total_s=0.01)))
