"""How long an attempt is waited for: late calls, streams that stand still, and what is left behind."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, ClassVar

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from routed_models import GOOD, STREAMS, routed, shown

from langroute import RoutedChatModel
from langroute.calls import MOST_CHARS
from langroute.cascade import Verdict
from langroute.errors import AbandonedCalls, AllAttemptsFailed
from langroute.failures import classify
from langroute.testing import LoopbackProvider, ScriptedChatModel, capture_decisions
from langroute.timing import ABANDONED, MOST_ABANDONED, Limits, Watch, aitems, awhole, items, whole
from langroute.verifiers.base import Case, Verifier

MODES = ["invoke", "ainvoke", *STREAMS]
LIMIT_S = 0.2
LATE_S = 120.0
"""How long the calls would take."""
IN_TIME_S = 30.0
"""Far above the limits and far below that."""


def nothing() -> None:
    """Hang up nothing."""


class Hanging(ScriptedChatModel):
    """A model that answers when it is let go, sync and async."""

    let_go: Any = None

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.let_go.wait(LATE_S)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("late"))])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        await asyncio.sleep(LATE_S)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("late"))])

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.let_go.wait(LATE_S)
        yield from super()._stream(messages, *args, **kwargs)

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        await asyncio.sleep(LATE_S)
        async for chunk in super()._astream(messages, *args, **kwargs):
            yield chunk


def limited(**models: Any) -> RoutedChatModel:
    """Return a routed model whose one tier has these endpoints, those that hang with a short limit."""
    chain = [
        {"model": model, "name": name, "timeout_s": LIMIT_S if isinstance(model, Hanging) else 60}
        for name, model in models.items()
    ]
    return RoutedChatModel({"tiers": {"small": {"models": chain}}})


@pytest.mark.parametrize("mode", MODES)
async def test_hanging_given_model_falls_back_in_time(mode: str, let_go: threading.Event) -> None:
    model = limited(hanging=Hanging(reply=GOOD, let_go=let_go), good=ScriptedChatModel(reply=GOOD))
    started_s = time.monotonic()
    with capture_decisions() as decisions:
        assert await shown(model, mode) == GOOD
    assert time.monotonic() - started_s < IN_TIME_S
    first = decisions[0].attempts[0]
    assert first.failure is not None
    assert (first.outcome, first.failure.kind) == ("failed", "timeout")


@pytest.mark.parametrize("mode", MODES)
async def test_hanging_alone_raises_in_time(mode: str, let_go: threading.Event) -> None:
    started_s = time.monotonic()
    with pytest.raises(AllAttemptsFailed) as raised:
        await shown(limited(hanging=Hanging(reply=GOOD, let_go=let_go)), mode)
    assert time.monotonic() - started_s < IN_TIME_S
    assert "timeout" in str(raised.value)


async def with_a_deadline(play: Callable[[float], Awaitable[Any]], wanted: Any) -> Any:
    """Return what comes of the first deadline that gives what is wanted, else of the longest.

    A busy machine may spend a short one on other work than the calls.
    """
    came = None
    for deadline_s in (0.5, 2.0, 8.0):
        started_s = time.monotonic()
        came = await play(deadline_s)
        assert time.monotonic() - started_s < deadline_s + IN_TIME_S
        if came == wanted:
            break
    return came


@pytest.mark.parametrize("mode", MODES)
async def test_one_deadline_holds_for_all_calls_of_a_step(mode: str, let_go: threading.Event) -> None:
    hanging = [{"model": Hanging(reply=GOOD, let_go=let_go), "name": f"h{n}"} for n in range(3)]

    async def attempts(deadline_s: float) -> bool:
        step = {"cascade": ["small"], "deadline_s": deadline_s}
        model = RoutedChatModel({"tiers": {"small": {"models": hanging}}, "default": step})
        with pytest.raises(AllAttemptsFailed) as raised:
            await shown(model, mode)
        assert raised.value.decision is not None
        return len(raised.value.decision.attempts) >= 2

    assert await with_a_deadline(attempts, wanted=True)


@pytest.mark.parametrize("mode", MODES)
async def test_deadline_leaves_time_for_a_fallback(mode: str, let_go: threading.Event) -> None:
    chain = [Hanging(reply=GOOD, let_go=let_go, name="h"), ScriptedChatModel(reply=GOOD, name="good")]

    async def text(deadline_s: float) -> str:
        step = {"cascade": ["small"], "deadline_s": deadline_s}
        model = RoutedChatModel({"tiers": {"small": {"models": chain}}, "default": step})
        try:
            return await shown(model, mode)
        except AllAttemptsFailed as error:
            return str(error)

    assert await with_a_deadline(text, wanted=GOOD) == GOOD


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_judge_has_no_more_time_than_the_deadline_leaves(mode: str, let_go: threading.Event) -> None:
    tiers = {
        "small": {"models": [ScriptedChatModel(reply=GOOD, name="good")]},
        "large": {"models": [Hanging(reply=GOOD, let_go=let_go, name="h")]},
    }
    judged = {"judge": {"tier": "large", "rubric": "It answers."}}

    async def outcome(deadline_s: float) -> str:
        step = {"cascade": ["small"], "verify": [judged], "deadline_s": deadline_s}
        with capture_decisions() as decisions, suppress(AllAttemptsFailed):
            assert await shown(RoutedChatModel({"tiers": tiers, "default": step}), mode) == GOOD
        return decisions[0].outcome

    assert await with_a_deadline(outcome, wanted="best") == "best"


def test_late_calls_left_behind_are_bounded_and_counted(let_go: threading.Event) -> None:
    before = ABANDONED.total
    for _ in range(MOST_ABANDONED):
        with pytest.raises(TimeoutError):
            whole(lambda: let_go.wait(LATE_S), 0.001, "slow", nothing)
    assert ABANDONED.running["slow"] == MOST_ABANDONED
    assert ABANDONED.total - before == MOST_ABANDONED
    with pytest.raises(AbandonedCalls) as refused:
        whole(lambda: None, 1, "slow", nothing)
    assert whole(lambda: "other", 60, "other", nothing) == "other"
    failure = classify(refused.value)
    assert failure is not None
    assert (failure.kind, failure.remedy) == ("overloaded", "next_endpoint")


def test_call_under_a_limit_sees_the_callers_context() -> None:
    seen: ContextVar[str] = ContextVar("seen", default="")
    seen.set("caller's")
    assert whole(seen.get, 60, "x", nothing) == "caller's"
    assert list(items(lambda: iter([seen.get()]), bool, Limits(60), "x", nothing)) == ["caller's"]


def test_errors_of_every_kind_pass_unchanged() -> None:
    for error in (ValueError("mine"), KeyboardInterrupt(), SystemExit(3), TimeoutError("the call's own")):

        def fail(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)) as raised:
            whole(fail, 60, "x", nothing)
        assert raised.value is error


def test_stream_left_early_closes_its_source_and_hangs_up() -> None:
    closed, hung_up = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        try:
            yield 1
            hung_up.wait(LATE_S)
            yield 2
        finally:
            closed.set()

    stream = items(source, bool, Limits(60), "x", hung_up.set)
    assert next(stream) == 1
    stream.close()
    assert closed.wait(60)
    assert hung_up.is_set()


# The watch, on a clock of the test's own -----------------------------------------------------------------


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_waiting_counts_and_the_callers_own_time_does_not() -> None:
    clock = Clock()
    watch = Watch(Limits(10, None), clock)
    assert watch.start() == 10
    clock.now_s += 4
    watch.stop(progress=True)
    clock.now_s += 1_000  # the caller lets the stream lie
    assert watch.start() == 6


def test_idleness_begins_with_content_and_only_content_ends_it() -> None:
    clock = Clock()
    watch = Watch(Limits(100, 5), clock)
    assert watch.start() == 100
    clock.now_s += 50  # thinking
    watch.stop(progress=True)
    assert watch.start() == 5
    clock.now_s += 3
    watch.stop(progress=False)  # an item without content
    assert watch.start() == 2
    clock.now_s += 1
    watch.stop(progress=True)
    assert watch.start() == 5
    clock.now_s += 60
    watch.stop(progress=True)
    assert watch.start() == 0  # nothing is left of the whole


def test_watch_without_limits_waits_for_ever() -> None:
    assert Watch(Limits(), Clock()).start() is None


async def test_idle_stream_ends_async_as_it_does_sync() -> None:
    quiet = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        quiet.wait(LATE_S)

    async def asource() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(LATE_S)

    limits = Limits(60, 0.05)
    stream, astream = items(source, bool, limits, "x", quiet.set), aitems(asource, bool, limits, "x")
    assert (next(stream), await anext(astream)) == (1, 1)
    with pytest.raises(TimeoutError):
        next(stream)
    with pytest.raises(TimeoutError):
        await anext(astream)


async def test_late_await_is_cancelled_and_says_so() -> None:
    cancelled = False

    async def call() -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(LATE_S)
        except asyncio.CancelledError:
            cancelled = True
            raise

    with pytest.raises(TimeoutError, match=r"no reply within 0\.01 s"):
        await awhole(call, 0.01, "x")
    assert cancelled


async def test_timeout_of_the_calls_own_is_not_taken_for_ours() -> None:
    async def call() -> None:
        raise TimeoutError("the call's own")

    with pytest.raises(TimeoutError, match="the call's own"):
        await awhole(call, 60, "x")


@pytest.mark.parametrize("mode", MODES)
async def test_reply_longer_than_any_models_is_a_failed_call(mode: str) -> None:
    longer = {"small-a": "x" * (MOST_CHARS + 1), "small-b": GOOD}
    model = routed(longer, verify=["no_refusal"])
    with capture_decisions() as decisions:
        assert await shown(model, mode) == GOOD
    first = decisions[0].attempts[0]
    assert first.failure is not None
    assert (first.outcome, first.failure.kind) == ("failed", "bad_response")


async def awaits(case: Case) -> bool:
    del case
    held = HELD  # of this test, whatever comes after it
    for _ in range(12_000):
        if held.is_set():
            break
        await asyncio.sleep(0.01)
    return True


async def holds_on(case: Case) -> bool:
    """Swallow the cancellation once, and go on."""
    try:
        await awaits(case)
    except asyncio.CancelledError:
        await asyncio.sleep(1)
    return True


def blocks(case: Case) -> bool:
    del case
    HELD.wait(120)
    return True


HELD = threading.Event()
"""Set where a check need not wait any more: one that begins when its test is over."""
HELD.set()


class Blocking(Verifier):
    """A person's own verifier, which waits in its `check`."""

    name: ClassVar[str] = "blocking"

    def check(self, case: Case) -> Verdict:
        blocks(case)
        return self.accepts("it waited")


@pytest.mark.parametrize("check", [awaits, holds_on, blocks, Blocking()])
@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("on_exhausted", ["best", "raise"])
async def test_check_has_what_the_deadline_leaves_and_passes_nothing(
    mode: str, check: Any, on_exhausted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "HELD", threading.Event())
    step = {"cascade": ["small", "large"], "verify": [check], "deadline_s": 1, "on_exhausted": on_exhausted}
    with LoopbackProvider({"a": "one", "b": "two"}) as provider:
        monkeypatch.setenv("OPENAI_API_KEY", "a key for loopback")
        settings = {"base_url": provider.base_url}
        tiers = {
            tier: [{"model": f"openai:{name}", "settings": settings}]
            for tier, name in (("small", "a"), ("large", "b"))
        }
        model = RoutedChatModel({"tiers": tiers, "default": step})
        started_s = time.monotonic()
        with capture_decisions() as decisions:
            await shown(model, mode)
        assert time.monotonic() - started_s < IN_TIME_S
    HELD.set()
    verdict = decisions[0].attempts[0].verdicts[0]
    assert (verdict.accepted, verdict.unsure) == (False, True)
    assert "not done in time" in verdict.reason
    assert decisions[0].outcome == "best"
