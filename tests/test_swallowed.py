"""A cancellation that a model swallows ends it all the same: at its next chunk, whoever asked for the end.

`wait_for` of Python 3.11 swallows one that meets a chunk, and langchain-openai awaits each chunk with it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr
from routed_models import GOOD, routed, shown

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


async def test_stream_that_swallows_its_limit_is_late() -> None:
    async def swallowing() -> AsyncIterator[int]:
        for number in range(MOST):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            yield number

    with pytest.raises(TimeoutError):
        await anext(aitems(swallowing(), lambda _: True, Limits(total_s=0.01)))
