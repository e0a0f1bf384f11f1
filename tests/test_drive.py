"""The cascade over real HTTP and many threads: what is called, what is raised, what the record says."""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.messages import AIMessage, ToolMessage
from routed_models import BAD, GOOD, MODES, calls, down, routed, shown

from langroute import RoutedChatModel
from langroute.cascade import Verdict
from langroute.errors import AllAttemptsFailed, ApprovalRequired, NoEndpointAvailable, RejectedReply
from langroute.observe import BROKEN, OBSERVERS
from langroute.testing import (
    Answer,
    Fault,
    LoopbackProvider,
    ScriptedChatModel,
    capture_decisions,
    closed_port,
)

# Failures over HTTP --------------------------------------------------------------------------------------

FAILURES = [
    (Fault("status", status=401, code="invalid_api_key"), "auth"),
    (Fault("status", status=403), "permission"),
    (Fault("status", status=404, code="model_not_found"), "not_found"),
    (Fault("status", status=429), "rate_limit"),
    (Fault("status", status=429, code="insufficient_quota"), "quota"),
    (Fault("status", status=500), "server"),
    (Fault("status", status=503), "overloaded"),
    (Fault("status", status=400, code="content_filter"), "content_filter"),
    (Fault("drop"), "cut_stream"),
    (Fault("hang"), "timeout"),
    (Fault("html"), "bad_response"),
    (Fault("malformed"), "bad_response"),
]


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize(("fault", "kind"), FAILURES, ids=lambda value: getattr(value, "kind", value))
async def test_failed_call_falls_back_once_and_says_why(fault: Fault, kind: str, way: str) -> None:
    with LoopbackProvider({"small-a": GOOD, "small-b": GOOD}) as provider:
        provider.fail("small-a", fault)
        limits = {"small-a": 0.1 if fault.kind == "hang" else 30, "small-b": 30}
        model = routed({name: provider.chat_model(name, timeout=limit) for name, limit in limits.items()})
        reply = await model.ainvoke("When?") if way == "async" else model.invoke("When?")
        assert (provider.calls("small-a"), provider.calls("small-b")) == (1, 1)
    first, second = reply.response_metadata["langroute"]["attempts"]
    assert (first["outcome"], first["failure"]["kind"], second["why"]) == ("failed", kind, "fallback")


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_closed_port_is_a_connection_that_cost_nothing(way: str) -> None:
    with LoopbackProvider({"small-b": GOOD}) as provider:
        dead = provider.chat_model("small-b", base_url=closed_port())
        model = routed({"small-a": dead, "small-b": provider.chat_model("small-b")})
        reply = await model.ainvoke("When?") if way == "async" else model.invoke("When?")
    first = reply.response_metadata["langroute"]["attempts"][0]
    assert (first["failure"]["kind"], first["cost_usd"]) == ("connection", 0.0)


@pytest.mark.parametrize("mode", MODES)
async def test_plain_400_is_one_call_and_the_original_error(mode: str) -> None:
    with LoopbackProvider({"small-a": GOOD, "small-b": GOOD}) as provider:
        provider.fail("small-a", Fault("status", status=400, message="temperature is out of range"))
        model = routed({name: provider.chat_model(name) for name in ("small-a", "small-b")})
        with capture_decisions() as decisions, pytest.raises(ModelInvalidRequestError, match="temperature"):
            await shown(model, mode)
        assert len(provider.requests) == 1
    assert decisions[0].outcome == "stopped"


def test_400_after_a_rejected_reply_is_that_endpoints_own_trouble() -> None:
    with LoopbackProvider({"small-a": BAD, "large-a": GOOD, "large-b": GOOD}) as provider:
        provider.fail("large-a", Fault("status", status=400))
        names = ("small-a", "large-a", "large-b")
        model = routed({name: provider.chat_model(name) for name in names}, verify=["no_refusal"])
        assert model.invoke("When?").text == GOOD


def test_overflow_goes_to_a_larger_window() -> None:
    with LoopbackProvider({"small-a": GOOD, "large-a": GOOD}, windows={"small-a": 10}) as provider:
        model = routed({name: provider.chat_model(name) for name in ("small-a", "large-a")})
        record = model.invoke("When was the cable laid? " * 10).response_metadata["langroute"]
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["failed", "accepted"]
    assert record["attempts"][0]["failure"]["kind"] == "context_overflow"


# Errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_all_attempts_failed_is_a_group_with_an_exception_an_attempt(mode: str) -> None:
    model = routed(
        {"small-a": down(), "small-b": BAD, "large-a": down()}, verify=["no_refusal"], on_exhausted="raise"
    )
    with pytest.raises(AllAttemptsFailed) as raised:
        await shown(model, mode)
    group = raised.value
    assert isinstance(group, ExceptionGroup)
    assert [type(error).__name__ for error in group.exceptions] == [
        "ModelConnectionError",
        "RejectedReply",
        "ModelConnectionError",
    ]
    assert [attempt.endpoint for attempt in group.decision.attempts] == ["small-a", "small-b", "large-a"]
    assert group.decision.outcome == "exhausted"


def test_except_star_takes_the_group_apart() -> None:
    model = routed({"small-a": BAD, "large-a": down()}, verify=["no_refusal"], on_exhausted="raise")
    rejected: list[Any] = []
    connections: list[Any] = []
    try:
        model.invoke("When?")
    except* RejectedReply as group:
        rejected.append(group)
    except* ConnectionError:
        pytest.fail("a model's connection error is LangChain's own class")
    except* Exception as group:
        connections.append(group)
    assert [type(group) for group in (*rejected, *connections)] == [AllAttemptsFailed] * 2
    assert all(group.decision.attempts for group in (*rejected, *connections))


def test_approval_that_cannot_be_asked_carries_the_question() -> None:
    policy = {"budget": {"approve_above_usd": 0.0000001}}
    model = routed({"small-a": BAD, "large-a": GOOD}, verify=["no_refusal"], policy=policy)
    with pytest.raises(ApprovalRequired, match="large-a") as raised:
        model.invoke("When?")
    assert raised.value.ask.call.endpoint == "large-a"
    assert raised.value.decision.outcome == "ask"
    assert calls(model) == {"small-a": 1, "large-a": 0}


def test_nothing_to_call_is_said_with_every_reason() -> None:
    tiers = {
        "small": [{"model": ScriptedChatModel(name="s", reply=GOOD), "name": "s", "context_tokens": 100}]
    }
    model = RoutedChatModel({"tiers": tiers})
    with (
        capture_decisions() as decisions,
        pytest.raises(NoEndpointAvailable, match="holds 100 tokens") as raised,
    ):
        model.invoke("When? " * 1_000)
    assert raised.value.decision is decisions[0]
    assert decisions[0].outcome == "failed"


def test_bug_in_a_verifier_of_ones_own_rejects_and_never_kills_the_run() -> None:
    def broken(case: Any) -> bool:
        raise KeyError("oops")

    model = routed({"small-a": BAD, "large-a": GOOD}, verify=[broken])
    reply = model.invoke("When?")
    record = reply.response_metadata["langroute"]
    assert (reply.text, record["outcome"]) == (GOOD, "best")
    assert record["attempts"][0]["verdicts"][0]["unsure"] is True


# Records -------------------------------------------------------------------------------------------------


def test_broken_observer_never_breaks_the_call() -> None:
    def broken(decision: Any) -> None:
        raise RuntimeError("oops")

    before = BROKEN.count
    token = OBSERVERS.set((broken,))
    try:
        assert routed({"small-a": GOOD}).invoke("When?").text == GOOD
    finally:
        OBSERVERS.reset(token)
    assert BROKEN.count == before + 1


@pytest.mark.parametrize("mode", MODES)
async def test_every_call_ends_in_one_decision(mode: str) -> None:
    model = routed({"small-a": BAD, "large-a": GOOD}, verify=["no_refusal"])
    with capture_decisions() as decisions:
        await shown(model, mode)
    (decision,) = decisions
    assert decision.outcome == "accepted"
    assert decision.cost_usd == pytest.approx(sum(attempt.cost_usd for attempt in decision.attempts))
    streamed = mode in ("stream", "astream", "v3", "av3")
    assert [attempt.first_token_s is not None for attempt in decision.attempts] == [streamed] * 2


def test_unknown_usage_is_estimated_and_marked() -> None:
    class Silent(ScriptedChatModel):
        def _completed(self, message: AIMessage, messages: Any) -> AIMessage:
            return super()._completed(message, messages).model_copy(update={"usage_metadata": None})

    record = routed({"small-a": Silent(name="s", reply=GOOD)}).invoke("When?").response_metadata["langroute"]
    (attempt,) = record["attempts"]
    assert attempt["usage"]["output_tokens"] == math.ceil(len(GOOD) / 4)
    assert (record["cost_usd"] > 0, attempt["cost_basis"]) == (True, "estimated")


def test_swapped_model_has_no_known_price() -> None:
    with LoopbackProvider({"small-a": GOOD, "other": GOOD}) as provider:
        reply = routed({"small-a": provider.chat_model("small-a")}).invoke("When?", model="other")
    record = reply.response_metadata["langroute"]
    assert (record["model"], record["cost_usd"]) == ("other", None)


def test_repair_is_told_what_was_found() -> None:
    model = routed({"small-a": [BAD, GOOD]}, verify=["no_refusal"], repair=1)
    assert model.invoke("When?").text == GOOD
    *_, rejected, told = model.router.endpoints.by_name["small-a"].model.calls[1].messages
    assert rejected.text == BAD
    assert "refus" in told.text.lower()


def test_repair_answers_the_rejected_tool_calls() -> None:
    bad, good = Answer(tool_calls=(("add", {"a": "x"}),)), Answer(tool_calls=(("add", {"a": 1}),))

    def add(a: int) -> int:
        """Add one."""
        return a + 1

    model = routed({"small-a": [bad, good]}, verify=["tool_calls"], repair=1)
    model.bind_tools([add]).invoke("When?")
    repaired = model.router.endpoints.by_name["small-a"].model.calls[1].messages
    call = next(message for message in repaired if isinstance(message, AIMessage)).tool_calls[0]
    assert [m.tool_call_id for m in repaired if isinstance(m, ToolMessage)] == [call["id"]]


def test_nothing_of_a_call_is_kept_on_the_model() -> None:
    model = routed({"small-a": BAD, "large-a": GOOD}, verify=["no_refusal"])
    before = {key: id(value) for key, value in vars(model).items()}
    model.invoke("When?")
    assert {key: id(value) for key, value in vars(model).items()} == before


# Many at once --------------------------------------------------------------------------------------------


def echo(body: dict[str, Any]) -> str:
    return f"answer to {body['messages'][0]['content']}"


def test_threads_that_share_a_router_never_cross_answers() -> None:
    with LoopbackProvider(
        {"small-a": lambda body: "I cannot" + " help with that.", "large-a": echo}
    ) as provider:
        model = routed(
            {name: provider.chat_model(name) for name in ("small-a", "large-a")}, verify=["no_refusal"]
        )

        def ask(thread: int) -> bool:
            return all(
                model.invoke(question).text == f"answer to {question}"
                for question in (f"{thread}-{call}" for call in range(20))
            )

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(ask, range(16)))
        assert (provider.calls("small-a"), provider.calls("large-a")) == (320, 320)


async def test_tasks_that_share_a_router_never_cross_answers() -> None:
    with LoopbackProvider({"small-a": echo}) as provider:
        model = routed({"small-a": provider.chat_model("small-a")})
        questions = [str(number) for number in range(50)]
        replies = await asyncio.gather(*(model.ainvoke(question) for question in questions))
    assert [reply.text for reply in replies] == [f"answer to {question}" for question in questions]
    ids = {reply.response_metadata["langroute"]["call_id"] for reply in replies}
    assert len(ids) == 50


def test_verdict_of_ones_own_is_taken_as_it_is() -> None:
    def never(case: Any) -> Verdict:
        return Verdict("never", accepted=False, reason="no", usable=False)

    with pytest.raises(AllAttemptsFailed):
        routed({"small-a": GOOD}, verify=[never]).invoke("When?")
