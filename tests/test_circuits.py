"""What every door makes of an endpoint's health: whom a plan leaves out, who probes, what never counts."""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelInvalidRequestError,
    ModelTimeoutError,
)
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from langgraph.errors import GraphInterrupt
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import PrivateAttr
from routed_models import BAD, GOOD, MODES, calls, down, routed, shown

from langroute import RoutedChatModel, add_routed_step
from langroute.admission import Admission, called
from langroute.arms import Arms
from langroute.cascade import MAX_CALLS, Failure
from langroute.decision import Decision
from langroute.errors import AllAttemptsFailed, LangrouteError, PartialStream
from langroute.middleware import StepRoutingMiddleware
from langroute.router import Router
from langroute.testing import Answer, ScriptedChatModel, capture_decisions

every_mode = pytest.mark.parametrize("mode", MODES)


class Clock:
    """Seconds that pass when they are told to."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def timed(endpoints: dict[str, Any], **step: Any) -> tuple[RoutedChatModel, Clock]:
    """Return a routed model whose breakers live by the clock beside it, without jitter."""
    model, clock = routed(endpoints, **step), Clock()
    model.__dict__["_bound"] = Arms(Router(model.policy, clock=clock, rng=lambda: 0.0))
    return model, clock


def asked(model: RoutedChatModel, times: int = 1) -> list[Decision]:
    """Ask a model so often; the decisions, whatever came of them."""
    with capture_decisions() as decisions:
        for _ in range(times):
            try:
                model.invoke("When?")
            except AllAttemptsFailed:
                continue
    return decisions


def state(model: RoutedChatModel, endpoint: str = "small-a") -> str:
    return str(model.router.health()[endpoint]["state"])


def close_off(router: Router, endpoint: str) -> None:
    """Open an endpoint's circuit, as a refused key would."""
    ticket = router.breakers.admit(endpoint)
    assert isinstance(ticket, int)
    router.breakers.failed(endpoint, ticket, "auth")


# Plans ---------------------------------------------------------------------------------------------------


@every_mode
async def test_a_dead_primary_is_called_five_times_and_then_left_out(mode: str) -> None:
    model = routed({"small-a": down(), "small-b": GOOD})
    assert [await shown(model, mode) for _ in range(12)] == [GOOD] * 12
    assert calls(model) == {"small-a": 5, "small-b": 12}


def test_the_plan_says_why_an_endpoint_is_left_out_and_for_how_long() -> None:
    model, clock = timed({"small-a": ModelTimeoutError("timed out"), "small-b": GOOD})
    asked(model, 5)
    clock.now_s = 17.4
    (decision,) = asked(model)
    why = "circuit open for 13 s more after 5 failures in a row (timeout)"
    assert decision.plan.reasons[1:] == (f"skipped small-a: {why}",)
    told = model.router.health()["small-a"]
    assert (told["state"], told["reason"], told["times_opened"]) == ("open", why, 1)
    assert json.loads(json.dumps(model.router.health())) == model.router.health()


def test_the_only_endpoint_of_a_step_is_called_whatever_its_circuit_says() -> None:
    model = routed({"small-a": down()})
    assert [decision.outcome for decision in asked(model, 12)] == ["failed"] * 12
    assert (calls(model), state(model)) == ({"small-a": 12}, "open")


def test_of_endpoints_that_are_all_out_the_one_that_is_back_first_is_called() -> None:
    model, _ = timed(
        {"small-a": ModelAuthenticationError("bad key"), "small-b": [down()] * 6, "large-a": GOOD}
    )
    asked(model, 5)
    close_off(model.router, "large-a")
    before = calls(model)
    (decision,) = asked(model)
    assert decision.plan.reasons[-1] == "kept small-b all the same: a step keeps its last endpoint"
    assert calls(model) == {**before, "small-b": before["small-b"] + 1}


def test_a_step_falls_to_the_next_tier_where_all_of_the_first_is_out() -> None:
    model = routed({"small-a": down(), "large-a": GOOD})
    decisions = asked(model, 6)
    assert "dropped tier small: it has no endpoint left" in decisions[-1].plan.reasons
    assert calls(model) == {"small-a": 5, "large-a": 6}


# A plan that is older than the opening -------------------------------------------------------------------


def opening(find_router: Callable[[], Router], *endpoints: str) -> Callable[[Any], bool]:
    """Return a verifier that rejects the small tier, and by whose time those endpoints' circuits are open."""

    def verifier(case: Any) -> bool:
        if case.tier != "small":
            return True
        for name in endpoints:
            if find_router().breakers.obstacle(name) is None:
                close_off(find_router(), name)
        return False

    return verifier


def record(decision: Decision) -> list[tuple[str, str, str | None]]:
    return [(a.endpoint, a.outcome, a.failure and a.failure.kind) for a in decision.attempts]


REFUSED = [
    ("small-a", "rejected", None),
    ("large-a", "failed", "circuit_open"),
    ("large-b", "accepted", None),
]


@every_mode
async def test_a_call_whose_circuit_opened_meanwhile_is_not_made(mode: str) -> None:
    model = routed(
        {"small-a": BAD, "large-a": GOOD, "large-b": GOOD},
        verify=[opening(lambda: model.router, "large-a")],
    )
    with capture_decisions() as decisions:
        assert await shown(model, mode) == GOOD
    assert record(decisions[0]) == REFUSED
    assert calls(model) == {"small-a": 1, "large-a": 0, "large-b": 1}
    refused = decisions[0].attempts[1]
    assert (called(refused), refused.cost_usd, refused.latency_s, refused.usage) == (False, 0.0, 0.0, None)
    assert refused.account.startswith("large-a: circuit_open: circuit open for ")
    assert [called(attempt) for attempt in decisions[0].attempts] == [True, False, True]


def test_a_graph_step_goes_round_a_circuit_that_opened_meanwhile() -> None:
    model = routed(
        {"small-a": BAD, "large-a": GOOD, "large-b": GOOD},
        verify=[opening(lambda: model.router, "large-a")],
    )
    builder = StateGraph(MessagesState)
    add_routed_step(builder, "answer", model)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    with capture_decisions() as decisions:
        ended = builder.compile().invoke({"messages": "When?"})
    assert (ended["messages"][-1].text, record(decisions[0])) == (GOOD, REFUSED)


def test_an_agent_goes_round_a_circuit_that_opened_meanwhile() -> None:
    model = routed({"small-a": BAD, "large-a": "not called", "large-b": GOOD})
    step = {"cascade": ["small", "large"], "verify": [opening(lambda: middleware.router, "large-a")]}
    tiers = {
        tier: {"models": [e.spec for e in model.router.endpoints.tier(tier)]} for tier in ("small", "large")
    }
    middleware = StepRoutingMiddleware({"tiers": tiers, "default": step})
    with capture_decisions() as decisions:
        ended = create_agent(ScriptedChatModel(reply="unused"), [], middleware=[middleware]).invoke(
            {"messages": "When?"}
        )
    assert (ended["messages"][-1].text, record(decisions[0])) == (GOOD, REFUSED)
    assert calls(model) == {"small-a": 1, "large-a": 0, "large-b": 1}


def test_the_last_call_that_could_follow_is_made_whatever_its_circuit_says() -> None:
    model = routed(
        {"small-a": BAD, "large-a": GOOD, "large-b": GOOD},
        verify=[opening(lambda: model.router, "large-a", "large-b")],
    )
    (decision,) = asked(model)
    assert record(decision) == REFUSED
    assert state(model, "large-b") == "open", "its one good reply was no probe"


def test_a_step_that_fails_tells_of_the_calls_that_were_refused() -> None:
    model = routed(
        {"small-a": BAD, "large-a": GOOD, "large-b": down()},
        verify=[opening(lambda: model.router, "large-a")],
        on_exhausted="raise",
    )
    with pytest.raises(AllAttemptsFailed) as raised:
        model.invoke("When?")
    assert [type(error).__name__ for error in raised.value.exceptions] == [
        "RejectedReply",
        "FailedCall",
        "ModelConnectionError",
    ]
    assert "large-a: circuit_open: circuit open for" in str(raised.value)


def test_a_step_that_fails_names_the_endpoint_that_its_plan_left_out() -> None:
    model, _ = timed({"small-a": down(), "large-a": down()})
    close_off(model.router, "small-a")
    with pytest.raises(AllAttemptsFailed, match=r"in 1 attempt; skipped small-a: circuit open for "):
        model.invoke("When?")


def test_a_plan_of_more_endpoints_than_calls_are_allowed_still_makes_its_last() -> None:
    many = {f"large-{n:02}": GOOD for n in range(MAX_CALLS + 5)}
    model = routed({"small-a": BAD, **many}, verify=[opening(lambda: model.router, *many)])
    (decision,) = asked(model)
    assert len(decision.attempts) == MAX_CALLS
    assert [called(attempt) for attempt in decision.attempts] == [True, *[False] * (MAX_CALLS - 2), True]


# Probes --------------------------------------------------------------------------------------------------


def test_an_endpoint_that_is_well_again_is_back_when_its_open_time_is_over() -> None:
    model, clock = timed({"small-a": [down()] * 5 + [GOOD] * 10, "small-b": GOOD})
    asked(model, 5)
    for second in range(1, 36):
        clock.now_s = float(second)
        asked(model)
        if calls(model)["small-a"] > 5:
            break
    assert clock.now_s == 30
    asked(model)
    assert state(model) == "closed"
    asked(model, 3)
    assert calls(model) == {"small-a": 10, "small-b": 34}


class Slow(ScriptedChatModel):
    """Answers when it is told to."""

    _asked: threading.Event = PrivateAttr(default_factory=threading.Event)
    _may_answer: threading.Event = PrivateAttr(default_factory=threading.Event)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        self._asked.set()
        assert self._may_answer.wait(20)
        return super()._generate(*args, **kwargs)


def test_while_a_probe_is_out_the_others_go_elsewhere() -> None:
    slow = Slow(name="small-a", reply=GOOD)
    model, clock = timed({"small-a": slow, "small-b": "from b"})
    close_off(model.router, "small-a")
    clock.now_s = 600.0
    with ThreadPoolExecutor(1) as pool:
        probe = pool.submit(model.invoke, "When?")
        assert slow._asked.wait(20)
        assert [model.invoke("When?").text for _ in range(8)] == ["from b"] * 8
        slow._may_answer.set()
        assert probe.result(20).text == GOOD
    assert calls(model) == {"small-a": 1, "small-b": 8}


def test_a_probe_is_waited_for_as_long_as_its_endpoint_may_take() -> None:
    slow = Slow(name="small-a", reply=GOOD)
    other = {"model": ScriptedChatModel(name="small-b", reply="from b"), "name": "small-b"}
    small = {"models": [{"model": slow, "name": "small-a", "timeout_s": 900.0}, other]}
    model, clock = timed({"small-a": slow}, policy={"tiers": {"small": small}})
    close_off(model.router, "small-a")
    clock.now_s = 600.0
    with ThreadPoolExecutor(1) as pool:
        probe = pool.submit(model.invoke, "When?")
        assert slow._asked.wait(20)
        clock.now_s += 899.0
        assert model.invoke("When?").text == "from b"
        slow._may_answer.set()
        assert probe.result(20).text == GOOD


async def test_a_probe_whose_caller_goes_away_frees_its_place_at_once() -> None:
    began = asyncio.Event()

    class Waits(ScriptedChatModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            if not began.is_set():
                began.set()
                await asyncio.Event().wait()
            return await super()._agenerate(*args, **kwargs)

    model, clock = timed({"small-a": Waits(name="small-a", reply=GOOD), "small-b": "from b"})
    close_off(model.router, "small-a")
    clock.now_s = 600.0
    probe = asyncio.create_task(model.ainvoke("When?"))
    await began.wait()
    assert (await model.ainvoke("When?")).text == "from b"
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert [(await model.ainvoke("When?")).text for _ in range(3)] == [GOOD] * 3
    assert state(model) == "closed"


# What counts, and when -----------------------------------------------------------------------------------


def test_a_stream_counts_when_it_ends_not_when_it_begins() -> None:
    model = routed({"small-a": GOOD})
    chunks = model.stream("When?")
    next(chunks)
    assert model.router.health()["small-a"]["good"] == 0
    list(chunks)
    assert model.router.health()["small-a"]["good"] == 1


class DiesInTheMiddle(ScriptedChatModel):
    """A stream that shows one word and breaks."""

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk("The "))
        raise ConnectionResetError("gone")


def test_streams_that_break_off_open_the_circuit_though_each_began_well() -> None:
    model = routed({"small-a": DiesInTheMiddle(name="small-a", reply=GOOD), "small-b": GOOD})
    for _ in range(5):
        with pytest.raises(PartialStream):
            list(model.stream("When?"))
    assert state(model) == "open"
    assert "".join(chunk.text for chunk in model.stream("When?")) == GOOD


def test_a_stream_that_its_reader_leaves_counts_for_nothing() -> None:
    model = routed({"small-a": GOOD, "small-b": GOOD})
    for _ in range(20):
        chunks = model.stream("When?")
        next(chunks)
        chunks.close()
    told = model.router.health()["small-a"]
    assert (told["state"], told["good"], told["failed"]) == ("closed", 0, 0)


@pytest.mark.parametrize(
    "error",
    [
        ModelInvalidRequestError("temperature must be below 2"),
        ContextOverflowError("too long"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        GraphInterrupt(()),
        RuntimeError("Event loop is closed"),
        LangrouteError("the budget of this run is spent"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("mode", ["invoke", "stream"])
async def test_what_is_not_the_endpoints_doing_never_counts(error: BaseException, mode: str) -> None:
    model = routed({"small-a": error})
    for _ in range(12):
        with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever becomes of it
            await shown(model, mode)
    told = model.router.health()["small-a"]
    assert (told["state"], told["good"], told["failed"]) == ("closed", 0, 0)
    assert calls(model) == {"small-a": 12}


def test_a_rejected_reply_is_a_good_call_of_a_healthy_endpoint() -> None:
    model = routed({"small-a": BAD, "large-a": GOOD}, verify=["no_refusal"])
    asked(model, 12)
    told = model.router.health()["small-a"]
    assert (told["state"], told["good"]) == ("closed", 12)


def test_a_refused_reply_and_one_that_met_its_token_limit_come_from_a_healthy_endpoint() -> None:
    cut = AIMessage("The cable was", response_metadata={"finish_reason": "length"})
    model = routed({"small-a": [Answer(refusal="No."), cut] * 6, "small-b": GOOD})
    asked(model, 12)
    assert calls(model)["small-a"] == 12
    assert model.router.health()["small-a"]["good"] == 12


def test_empty_replies_open_the_circuit() -> None:
    model = routed({"small-a": AIMessage(""), "small-b": GOOD})
    asked(model, 6)
    assert "5 failures in a row (bad_response)" in model.router.health()["small-a"]["reason"]


def test_a_failure_that_names_a_wait_holds_the_endpoint_until_then() -> None:
    model, clock = timed({"small-a": GOOD, "small-b": "from b"})
    admission = Admission(model.router.breakers, "small-a", 0)
    admission.failed(Failure("rate_limit", "next_endpoint", "slow down", retry_after_s=20.0))
    (decision,) = asked(model)
    assert "skipped small-a: held for 20 s more, as its provider asked" in decision.plan.reasons
    clock.now_s = 20.0
    assert model.invoke("When?").text == GOOD


def test_a_judge_whose_circuit_is_open_is_not_asked_where_there_is_another() -> None:
    opinion = {"reason": "well said", "score": 0.9}
    model = routed(
        {"small-a": GOOD, "large-a": down(), "large-b": opinion},
        verify=[{"judge": {"tier": "large", "rubric": "Is it good?"}}],
    )
    close_off(model.router, "large-a")
    (decision,) = asked(model)
    assert [attempt.outcome for attempt in decision.attempts] == ["accepted"]
    assert calls(model) == {"small-a": 1, "large-a": 0, "large-b": 1}


def test_a_model_that_the_caller_swapped_says_nothing_of_the_endpoints_own() -> None:
    model = routed({"small-a": ModelAuthenticationError("no such model for you"), "small-b": GOOD})
    assert [model.invoke("When?", model="other").text for _ in range(6)] == [GOOD] * 6
    assert (calls(model)["small-a"], state(model)) == (6, "closed")


def test_an_answer_from_the_cache_says_nothing_of_the_endpoint() -> None:
    model = routed({"small-a": ScriptedChatModel(name="small-a", reply=GOOD, cache=InMemoryCache())})
    asked(model, 4)
    assert calls(model) == {"small-a": 1}
    assert model.router.health()["small-a"]["good"] == 1


def test_a_probe_that_the_cache_answered_frees_its_place_at_once() -> None:
    cached = ScriptedChatModel(name="small-a", reply=GOOD, cache=InMemoryCache())
    model, clock = timed({"small-a": cached, "small-b": "from b"})
    asked(model)
    close_off(model.router, "small-a")
    clock.now_s = 600.0
    asked(model)
    assert (calls(model), state(model)) == ({"small-a": 1, "small-b": 0}, "half_open")
    assert model.router.breakers.obstacle("small-a") is None


# One router, many loops ----------------------------------------------------------------------------------


def test_twenty_event_loops_in_a_row_share_one_circuit() -> None:
    model = routed({"small-a": down(), "small-b": GOOD})
    for _ in range(20):
        assert asyncio.run(shown(model, "ainvoke")) == GOOD
    assert calls(model) == {"small-a": 5, "small-b": 20}


def test_threads_with_loops_of_their_own_share_one_circuit() -> None:
    model = routed({"small-a": down(), "small-b": GOOD})

    async def some() -> list[str]:
        return [message.text for message in await asyncio.gather(*(model.ainvoke("When?") for _ in range(5)))]

    def loops(_: int) -> list[str]:
        return [text for _ in range(5) for text in asyncio.run(some())]

    with ThreadPoolExecutor(8) as pool:
        texts = [text for told in pool.map(loops, range(8)) for text in told]
    assert texts == [GOOD] * 200
    assert calls(model)["small-a"] <= 5 + 8 * 5


def test_copies_of_a_model_for_other_steps_share_what_is_known() -> None:
    model = routed({"small-a": down(), "small-b": GOOD})
    asked(model.for_step("extraction"), 5)
    asked(model.for_step("answer"), 5)
    assert calls(model) == {"small-a": 5, "small-b": 10}


# Whose health it is --------------------------------------------------------------------------------------


Identities = Callable[..., str]


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Identities:
    """The identity of endpoint `a`, built from a string with this key and this address."""

    def of(key: str = "sk-one", address: str = "http://127.0.0.1:9/v1") -> str:
        monkeypatch.setenv("OPENAI_API_KEY", key)
        return identity_of({"model": "openai:gpt-5", "name": "a", "settings": {"base_url": address}})

    return of


def identity_of(spec: dict[str, Any]) -> str:
    model = RoutedChatModel({"tiers": {"small": {"models": [spec]}}, "default": {"cascade": ["small"]}})
    return str(model.router.health()["a"]["identity"])


def test_identity_tells_keys_and_addresses_apart_and_shows_neither(identity: Identities) -> None:
    told = [identity(), identity("sk-two"), identity("sk-one", "http://127.0.0.1:10/v1"), identity()]
    assert told[0] == told[3]
    assert len(set(told)) == 3
    for shown_to_all in told:
        assert re.fullmatch(r"a@[0-9a-f]{8}", shown_to_all)


def test_identity_of_a_given_model_is_that_of_the_same_model_built_from_a_string(
    identity: Identities,
) -> None:
    given = ChatOpenAI(model="gpt-5", api_key="sk-one", base_url="http://127.0.0.1:9/v1", max_retries=0)
    assert identity_of({"model": given, "name": "a"}) == identity()
