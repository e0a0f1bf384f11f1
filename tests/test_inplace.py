"""A call in its caller's own task: awaited plainly, but for a cancellation that it does not heed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from routed_models import GOOD, routed

from langroute.errors import AbandonedCalls
from langroute.inplace import inplace
from langroute.testing import ScriptedChatModel
from langroute.timing import ABANDONED, MOST_ABANDONED

LATE_S = 60.0
IN_TIME_S = 30.0


@pytest.fixture
async def let_go() -> AsyncIterator[asyncio.Event]:
    """Hold deaf calls until the test is over, and see that nothing is left of them."""
    event = asyncio.Event()
    yield event
    event.set()
    if ABANDONED.tasks:
        await asyncio.wait(ABANDONED.tasks, timeout=LATE_S)
    assert not ABANDONED.running


async def waiting(work: Awaitable[Any]) -> "asyncio.Task[Any]":
    """Return a task that has come as far as it does by itself."""

    async def awaited() -> Any:
        return await work

    task = asyncio.create_task(awaited())
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def added(one: int, other: int) -> int:
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return one + other


async def test_what_a_call_gives_and_raises_is_what_its_caller_gets() -> None:
    async def failing() -> None:
        await asyncio.gather(added(1, 2), asyncio.sleep(0.001))
        raise ValueError("its own")

    assert await inplace(added(1, 2), "x") == 3
    assert await inplace(added(1, await inplace(added(1, 1), "y")), "x") == 3
    with pytest.raises(ValueError, match="its own"):
        await inplace(failing(), "x")


async def test_cancelled_call_ends_as_it_does_by_itself() -> None:
    ended: list[str] = []

    async def tidy() -> None:
        try:
            await asyncio.sleep(LATE_S)
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)
            ended.append("tidied up")
            raise

    before = ABANDONED.total
    task = await waiting(inplace(tidy(), "x"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (ended, ABANDONED.total) == (["tidied up"], before)


async def test_limit_of_a_calls_own_is_no_cancellation_of_its_caller() -> None:
    async def limited() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(LATE_S)
        except TimeoutError:
            await asyncio.sleep(0.1)  # longer than the moment that a cancelled call has
        return "went on"

    assert await inplace(limited(), "x") == "went on"


async def test_limit_of_its_callers_ends_a_deaf_call(let_go: asyncio.Event) -> None:
    began_s = time.perf_counter()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await inplace(deaf(let_go), "x")
    assert time.perf_counter() - began_s < IN_TIME_S
    assert ABANDONED.running["x"] == 1


async def deaf(let_go: asyncio.Event) -> None:
    while not let_go.is_set():
        with suppress(asyncio.CancelledError):
            await let_go.wait()


async def spinning(let_go: asyncio.Event) -> None:
    while not let_go.is_set():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


async def shielded(let_go: asyncio.Event) -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.gather(deaf(let_go), deaf(let_go))


async def nested(let_go: asyncio.Event) -> None:
    await inplace(deaf(let_go), "inner")


@pytest.mark.parametrize("call", [deaf, spinning, shielded, nested])
async def test_call_that_does_not_end_is_left_behind_until_it_does(
    call: Callable[[asyncio.Event], Any], let_go: asyncio.Event
) -> None:
    task = await waiting(inplace(call(let_go), "x"))
    task.cancel()
    began_s = time.perf_counter()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), LATE_S)
    assert time.perf_counter() - began_s < IN_TIME_S
    assert ABANDONED.running.total() >= 1


async def test_no_more_calls_are_left_behind_than_threads(let_go: asyncio.Event) -> None:
    tasks = [await waiting(inplace(deaf(let_go), "slow")) for _ in range(MOST_ABANDONED)]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=LATE_S)
    refused = deaf(let_go)
    with pytest.raises(AbandonedCalls):
        await inplace(refused, "slow")
    refused.close()


class Asking(ScriptedChatModel):
    """Tells in which task it is asked: of its own `ainvoke`, or of its reply."""

    tasks: Any = None

    async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        self.tasks.append(asyncio.current_task())
        return ChatResult(generations=[ChatGeneration(message=AIMessage(GOOD))])


class Own(Asking):
    """Answers where it is invoked, as the host does not."""

    async def ainvoke(self, *args: Any, **kwargs: Any) -> Any:
        self.tasks.append(asyncio.current_task())
        return AIMessage(GOOD)


@pytest.mark.parametrize("kind", [Asking, Own])
async def test_models_own_code_is_never_awaited_in_the_callers_task(kind: type[Asking]) -> None:
    tasks: list[Any] = []
    await routed({"small-a": kind(reply=GOOD, tasks=tasks)}).ainvoke("?")
    assert tasks
    assert asyncio.current_task() not in tasks


def test_host_awaits_each_reply_in_a_task_of_its_own() -> None:
    tasks: list[Any] = []

    async def bare() -> Any:
        await BaseChatModel.ainvoke(Asking(reply=GOOD, tasks=tasks), "?")
        return asyncio.current_task()

    assert asyncio.run(bare()) not in tasks
