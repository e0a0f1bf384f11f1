"""Blocking code in async calls: models without async methods, functions and checks; late ones are counted."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, ClassVar, Literal

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import BaseModel, PrivateAttr
from routed_models import GOOD, STREAMS, routed, shown

from langroute import RoutedChatModel
from langroute.beside import Glance, abeside, abeside_items
from langroute.cascade import Verdict
from langroute.effects import ASIDE
from langroute.errors import AbandonedCalls
from langroute.testing import ScriptedChatModel, capture_decisions
from langroute.timing import ABANDONED, MOST_ABANDONED
from langroute.twins import beside_the_loop
from langroute.verifiers.base import PREFIX_CHARS, Case, Verifier

LATE_S = 120.0
IN_TIME_S = 30.0
LONG = "The log says that the cable was laid in 1866. " * 10
AWAITED = ("ainvoke", "astream", "av3")


async def until(came: Callable[[], Any]) -> None:
    """Wait for what another thread does."""
    async with asyncio.timeout(LATE_S / 2):
        while not came():  # noqa: ASYNC110 - no event of this loop
            await asyncio.sleep(0.001)


class Blocking(BaseChatModel):
    """Has no async methods, and answers when it is let go."""

    let_go: Any = None
    _calls: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "blocking"

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        self._calls += 1
        if self.let_go is not None:
            self.let_go.wait(LATE_S)
        told: dict[str, Any] = {"finish_reason": "stop"}
        return ChatResult(generations=[ChatGeneration(message=AIMessage(GOOD, response_metadata=told))])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[])


class Streaming(Blocking):
    """Streams as well, and blocks before its first chunk or its last."""

    first: bool = True

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        if self.first and self.let_go is not None:
            self.let_go.wait(LATE_S)
        words = GOOD.split(" ")
        for word in words[:-1]:
            yield ChatGenerationChunk(message=AIMessageChunk(f"{word} "))
        if self.let_go is not None:
            self.let_go.wait(LATE_S)
        told: dict[str, Any] = {"finish_reason": "stop"}
        yield ChatGenerationChunk(message=AIMessageChunk(words[-1], response_metadata=told))


def limited(model: BaseChatModel, **step: Any) -> RoutedChatModel:
    """Return a routed model whose first endpoint has a short limit, before one that answers."""
    chain = [
        {"model": model, "name": "late", "timeout_s": 0.1},
        {"model": ScriptedChatModel(reply=GOOD), "name": "good"},
    ]
    return RoutedChatModel({"tiers": {"small": {"models": chain}}, "default": {"cascade": ["small"], **step}})


# The host has no events of a model that does not stream.
@pytest.mark.parametrize(
    ("mode", "kind"), [("ainvoke", Blocking), ("astream", Blocking), *((mode, Streaming) for mode in AWAITED)]
)
async def test_model_without_async_methods_answers_in_every_mode(mode: str, kind: type[Blocking]) -> None:
    assert await shown(routed({"small-a": kind()}), mode) == GOOD


@pytest.mark.parametrize("mode", AWAITED)
async def test_late_call_of_a_model_without_async_methods_is_counted(
    mode: str, let_go: threading.Event
) -> None:
    model, began_s = limited(Streaming(let_go=let_go)), time.monotonic()
    assert await shown(model, mode) == GOOD
    assert time.monotonic() - began_s < IN_TIME_S
    assert model.router.health()["late"]["late_calls"] == 1


async def test_late_calls_are_bounded_and_hold_none_of_the_loops_workers(let_go: threading.Event) -> None:
    late = Blocking(let_go=let_go)
    model = limited(late)
    assert {(await model.ainvoke("?")).text for _ in range(MOST_ABANDONED + 2)} == {GOOD}
    assert model.router.health()["late"]["late_calls"] == late._calls <= MOST_ABANDONED
    await asyncio.wait_for(asyncio.gather(*(asyncio.to_thread(time.sleep, 0) for _ in range(64))), IN_TIME_S)


async def test_cancelled_call_of_a_model_without_async_methods_is_counted(let_go: threading.Event) -> None:
    late = Blocking(let_go=let_go)
    model = routed({"small-a": late})
    task = asyncio.create_task(model.ainvoke("?"))
    await until(lambda: late._calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, IN_TIME_S)
    assert model.router.health()["small-a"]["late_calls"] == 1


class Found(BaseModel):
    """What a structured call asks for."""

    year: int


async def test_late_structured_call_of_a_model_without_async_methods_is_counted(
    let_go: threading.Event,
) -> None:
    chain = [
        {"model": Blocking(let_go=let_go), "name": "late", "timeout_s": 0.1},
        {"model": ScriptedChatModel(reply={"year": 1866}), "name": "good"},
    ]
    model = RoutedChatModel({"tiers": {"small": {"models": chain}}})
    assert await model.with_structured_output(Found).ainvoke("?") == Found(year=1866)
    assert model.router.health()["late"]["late_calls"] == 1


async def test_late_function_and_late_check_of_async_calls_are_counted(let_go: threading.Event) -> None:
    def late(_: Any) -> bool:
        return let_go.wait(LATE_S)

    policy = {
        "tiers": {"small": {"models": [ScriptedChatModel(reply=GOOD)]}},
        "default": {"cascade": [{"function": "late"}, "small"], "deadline_s": 0.3},
    }
    assert (await RoutedChatModel(policy, functions={"late": late}).ainvoke("?")).text == GOOD
    assert ABANDONED.running["function:late"] == 1
    await routed({"small-a": GOOD}, verify=[late], deadline_s=0.3).ainvoke("?")
    assert ABANDONED.running[ASIDE] == 1


class BlockingEmbeddings(Embeddings):
    """Have no async methods, and give no vectors before they are let go."""

    def __init__(self, let_go: threading.Event) -> None:
        self.let_go = let_go

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.let_go.wait(LATE_S)
        return [[1.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0]


async def test_late_embeddings_without_async_methods_are_counted(let_go: threading.Event) -> None:
    policy = {
        "tiers": {"small": {"models": [ScriptedChatModel(reply=GOOD)]}},
        "steps": {"answer": {"cascade": ["small"]}},
        "classify": {"examples": {"answer": ["When?"]}, "timeout_s": 0.1},
    }
    model = RoutedChatModel(policy, embeddings=BlockingEmbeddings(let_go))
    assert (await model.ainvoke("When?")).text == GOOD
    assert ABANDONED.running[ASIDE] == 1
    let_go.set()
    await until(lambda: not ABANDONED.running)
    reply = await model.ainvoke("When?")
    assert reply.response_metadata["langroute"]["step"] == "answer"


# Checks in the middle of a stream ------------------------------------------------------------------------


def waiting(let_go: threading.Event, asked: list[str]) -> Verifier:
    """Return a check that reads the first words, notes them, and is done when it is let go."""

    class Waiting(Verifier):
        name: ClassVar[str] = "waiting"
        reads: ClassVar[Literal["prefix", "reply"]] = "prefix"

        def check(self, case: Case) -> Verdict:
            asked.append(case.text)
            let_go.wait(LATE_S)
            return self.accepts("it is a reply")

    return Waiting()


@pytest.mark.parametrize("mode", STREAMS)
async def test_stream_does_not_wait_for_a_check_of_its_first_words(
    mode: str, let_go: threading.Event
) -> None:
    asked: list[str] = []
    model = routed({"small-a": LONG, "large-a": GOOD}, verify=[waiting(let_go, asked)], deadline_s=1)
    began_s = time.monotonic()
    with capture_decisions() as decisions:
        assert await shown(model, mode)
    assert time.monotonic() - began_s < IN_TIME_S
    assert len(asked[0]) >= PREFIX_CHARS
    told = [verdict.reason for attempt in decisions[0].attempts for verdict in attempt.verdicts]
    assert told[0] == "could not be checked: not done in time: the step's deadline is over"


async def test_event_loop_goes_on_while_first_words_are_checked(let_go: threading.Event) -> None:
    asked: list[str] = []
    model = routed({"small-a": LONG, "large-a": GOOD}, verify=[waiting(let_go, asked)])
    task = asyncio.create_task(shown(model, "astream"))
    await until(lambda: len(asked) == 2)  # of the first words, and of the whole
    let_go.set()
    assert await asyncio.wait_for(task, IN_TIME_S) == LONG


class Slow(ScriptedChatModel):
    """Lets the check of its first words end while it talks, and notes when it has said all."""

    let_go: Any = None
    ended: Any = None

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for number, made in enumerate(super()._stream(messages, *args, **kwargs)):
            if number == 90:
                self.let_go.set()
                time.sleep(0.2)  # no clock to inject: the check's own thread ends
            yield made
        self.ended.append(True)


def test_first_words_are_shown_once_their_check_is_done() -> None:
    let_go, asked, ended = threading.Event(), list[str](), list[bool]()
    slow = Slow(reply=LONG * 2, let_go=let_go, ended=ended)
    model = routed({"small-a": slow, "large-a": GOOD}, verify=[waiting(let_go, asked)])
    stream = model.stream("?")
    first = next(stream)
    assert (len(asked), ended) == (1, [])
    assert first.text + "".join(chunk.text for chunk in stream) == LONG * 2
    assert len(asked) == 2


def test_no_more_checks_of_first_words_run_than_are_bounded(let_go: threading.Event) -> None:
    for _ in range(MOST_ABANDONED):
        assert Glance(partial(let_go.wait, LATE_S), "x").answer(0) is None
    with pytest.raises(AbandonedCalls):
        Glance(partial(let_go.wait, LATE_S), "x")


# The parts -------------------------------------------------------------------------------------------------


async def test_blocking_call_gives_and_raises_what_it_does() -> None:
    def failing() -> None:
        raise ValueError("its own")

    assert await abeside(lambda: 3, "x") == 3
    with pytest.raises(ValueError, match="its own"):
        await abeside(failing, "x")
    with pytest.raises(ValueError, match="its own"):
        Glance(failing, "x").answer(IN_TIME_S)
    assert Glance(lambda: 3, "x").answer(IN_TIME_S) == 3


async def test_blocking_source_is_read_as_it_is_asked_for_and_closed() -> None:
    given: list[Any] = []

    def source() -> Iterator[int]:
        try:
            for number in range(9):
                given.append(number)
                yield number
        finally:
            given.append("closed")

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("its own")

    assert [number async for number in abeside_items(source, "x")] == list(range(9))
    del given[:]
    stream: Any = abeside_items(source, "x")
    assert [await anext(stream), await anext(stream)] == [0, 1]
    await stream.aclose()
    await until(lambda: not ABANDONED.running)
    assert given == [0, 1, "closed"]
    with pytest.raises(ValueError, match="its own"):
        assert [number async for number in abeside_items(failing, "x")]


def test_call_that_outlives_its_loop_ends_quietly(let_go: threading.Event) -> None:
    async def late() -> None:
        await asyncio.wait_for(abeside(partial(let_go.wait, LATE_S), "x"), 0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(late())
    assert ABANDONED.running["x"] == 1


def test_twin_shares_all_that_its_model_holds() -> None:
    model = Streaming()
    twin: Any = beside_the_loop(model, lambda: "x")
    assert twin is not model
    assert isinstance(twin, Streaming)
    assert type(twin).__qualname__ == type(model).__qualname__
    twin.invoke("?")
    model.first = False
    assert (model._calls, twin.first) == (1, False)
    copied = twin.model_copy(update={"first": True})
    assert (copied.first, model.first) == (True, False)
    assert asyncio.run(copied.ainvoke("?")).text == GOOD


class Closed(Blocking):
    """Closes what it holds when it is let go of."""

    closed: ClassVar[list[int]] = []

    def __del__(self) -> None:
        self.closed.append(1)


class Final(Blocking):
    """Wants no class to be derived from it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        raise TypeError("final")


class Slotted(Blocking):
    """Holds something where pydantic does not."""

    __slots__ = ("aside",)


class Half(Streaming):
    """Has an async stream of its own."""

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for made in self._stream(messages):
            yield made


def test_models_that_need_no_twin_or_can_have_none_stand_for_themselves() -> None:
    for model in (ScriptedChatModel(reply=GOOD), Final(), Slotted()):
        assert beside_the_loop(model, lambda: "x") is model
    model = Closed()
    assert beside_the_loop(model, lambda: "x") is not model
    assert not Closed.closed
    assert type(beside_the_loop(Half(), lambda: "x"))._astream is Half._astream
