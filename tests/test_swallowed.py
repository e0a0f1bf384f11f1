"""A cancellation that a model swallows ends it all the same: at its next chunk, whoever asked for the end.

`wait_for` of Python 3.11 swallows one that meets a chunk, and langchain-openai awaits each chunk with it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.embeddings import FakeEmbeddings
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr
from routed_models import GOOD, routed, shown

from langroute import RoutedChatModel
from langroute.errors import AbandonedCalls
from langroute.testing import ScriptedChatModel, capture_decisions
from langroute.timing import ABANDONED, MOST_ABANDONED, Limits, aitems, awhole

MODES = ("ainvoke", "astream", "av3")
AT = 20
MOST = 3_000
"""Chunks after which the model ends by itself; far more than it may say once it is to end."""
IN_TIME_S = 30.0
"""Far below the time that what is deaf takes: it never ends."""


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
    """Wait for what was left behind to end."""
    if ABANDONED.tasks:
        await asyncio.wait(ABANDONED.tasks, timeout=60)
    assert not ABANDONED.running


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


class DeafModel(ScriptedChatModel):
    """Does not answer before it is let go, whoever cancels it."""

    deaf: Any = None

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        await self.deaf(None)
        return await super()._agenerate(*args, **kwargs)

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        await self.deaf(None)
        async for chunk in super()._astream(*args, **kwargs):
            yield chunk


class DeafEmbeddings(FakeEmbeddings):
    """As deaf."""

    size: int = 2
    deaf: Any = None

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        await self.deaf(None)
        return self.embed_documents(texts)


@pytest.fixture
async def deaf() -> AsyncIterator[Deaf]:
    each = Deaf()
    yield each
    await each.free()


async def heard(model: RoutedChatModel, mode: str) -> None:
    """Hear a whole reply, and leave the host's stream where this is cancelled."""
    if mode != "av3":
        await shown(model, mode)
        return
    async with await model.astream_events("When?", version="v3") as events:
        async for _ in events:
            pass


async def cancelled_s(work: Any, deaf: Deaf) -> float:
    """Return the seconds in which a call ends that is cancelled while it waits for what is deaf."""
    task = asyncio.create_task(work)
    await deaf.asked.wait()
    deaf.asked.clear()
    began_s = time.perf_counter()
    task.cancel()
    await asyncio.wait({task}, timeout=60)
    assert task.cancelled()
    return time.perf_counter() - began_s


async def test_check_that_will_not_end_is_left_behind_by_a_cancelled_step(deaf: Deaf) -> None:
    model = routed({"small-a": GOOD}, verify=[deaf])
    took_s = [await cancelled_s(model.ainvoke("?"), deaf) for _ in range(3)]
    assert max(took_s) < IN_TIME_S


@pytest.mark.parametrize("mode", MODES)
async def test_given_model_that_will_not_end_is_left_behind_and_counted(mode: str, deaf: Deaf) -> None:
    # Under a limit, of whatever length: one without is awaited where it was called.
    model = routed({"small-a": DeafModel(reply=GOOD, deaf=deaf), "small-b": GOOD}, deadline_s=600)
    took_s = [await cancelled_s(heard(model, mode), deaf) for _ in range(3)]
    assert model.router.health()["small-a"]["late_calls"] == 3
    assert max(took_s) < IN_TIME_S


@pytest.mark.parametrize("mode", MODES)
async def test_given_model_that_swallows_its_limit_falls_back_in_time(mode: str, deaf: Deaf) -> None:
    deaf_model = {"model": DeafModel(reply=GOOD, deaf=deaf), "name": "deaf", "timeout_s": 0.05}
    chain = [deaf_model, ScriptedChatModel(reply=GOOD, name="good")]
    model = RoutedChatModel({"tiers": {"small": {"models": chain}}})
    with capture_decisions() as decisions:
        assert await asyncio.wait_for(shown(model, mode), 60) == GOOD
    assert decisions[0].attempts[0].failure.kind == "timeout"
    assert model.router.health()["deaf"]["late_calls"] == 1


async def test_no_more_tasks_are_left_behind_than_threads(deaf: Deaf) -> None:
    async def call() -> bool:
        return await deaf(None)

    for _ in range(MOST_ABANDONED):
        with pytest.raises(TimeoutError):
            await awhole(call, 0.001, "slow")
    with pytest.raises(AbandonedCalls):
        await awhole(call, 0.001, "slow")
    with pytest.raises(AbandonedCalls):
        await anext(aitems(swallowing, bool, Limits(), "slow"))


@pytest.mark.parametrize("asked", ["embeddings", "model"])
async def test_classifier_that_will_not_end_is_left_behind_by_a_cancelled_call(
    asked: str, deaf: Deaf
) -> None:
    classify = {"examples": {"answer": ["When?"]}} if asked == "embeddings" else {"model": "large"}
    tiers = {
        "small": {"models": [ScriptedChatModel(reply=GOOD)]},
        "large": {"models": [DeafModel(reply=GOOD, deaf=deaf)]},
    }
    policy = {"tiers": tiers, "steps": {"answer": {"cascade": ["small"]}}, "classify": classify}
    model = RoutedChatModel(policy, embeddings=DeafEmbeddings(deaf=deaf))
    took_s = [await cancelled_s(model.ainvoke("When?"), deaf) for _ in range(3)]
    assert max(took_s) < IN_TIME_S


async def test_judge_that_swallows_its_limit_is_late(deaf: Deaf) -> None:
    small = {"models": [ScriptedChatModel(reply=GOOD)]}
    large = {"models": [{"model": DeafModel(reply=GOOD, deaf=deaf), "timeout_s": 0.05}]}
    step = {"cascade": ["small"], **JUDGED}
    model = RoutedChatModel({"tiers": {"small": small, "large": large}, "default": step})
    reply = await asyncio.wait_for(model.ainvoke("?"), 60)
    (verdict,) = reply.response_metadata["langroute"]["attempts"][0]["verdicts"]
    assert (verdict["accepted"], verdict["unsure"]) == (False, True)


async def swallowing() -> AsyncGenerator[int, None]:
    for number in range(MOST):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        yield number


async def test_stream_that_swallows_its_limit_is_late_and_ends_with_its_next_item() -> None:
    with pytest.raises(TimeoutError):
        await anext(aitems(swallowing, lambda _: True, Limits(total_s=0.01), "x"))
    await nothing_is_left()
