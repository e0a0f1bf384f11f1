"""Every decision becomes a span with its attempts below it, and is counted; nothing of it breaks a call."""

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode
from routed_models import BAD, GOOD, MODES, calls, down, routed, shown
from telemetering import Kept, kept_telemetry

from langroute import RoutedChatModel, add_routed_step
from langroute.errors import AllAttemptsFailed
from langroute.observe import BROKEN, LISTENERS
from langroute.telemetry import instrument
from langroute.testing import Answer, ScriptedChatModel, capture_decisions

CHECKED = {"verify": ["no_refusal"]}
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


@pytest.fixture
def kept() -> Iterator[Kept]:
    with kept_telemetry() as made:
        yield made


def escalating(**step: Any) -> RoutedChatModel:
    """Return a model whose small tier fails, then is rejected, and whose large one answers."""
    small = ScriptedChatModel(name="small-b", reply=BAD, usage=USAGE)
    large = ScriptedChatModel(name="large-a", reply=GOOD, usage=USAGE)
    return routed({"small-a": down(), "small-b": small, "large-a": large}, **CHECKED, **step)


def seen(span: ReadableSpan, *names: str) -> list[Any]:
    return [(span.attributes or {}).get(name) for name in names]


# Spans ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_a_step_is_a_span_with_its_attempts_below_it(kept: Kept, mode: str) -> None:
    with kept.tracers.get_tracer("caller").start_as_current_span("request") as request:
        assert await shown(escalating(), mode) == GOOD
    (step,) = kept.steps
    assert (step.name, step.kind, step.status.status_code) == (
        "langroute answer",
        SpanKind.INTERNAL,
        StatusCode.UNSET,
    )
    assert step.parent == request.get_span_context()
    assert [span.parent for span in kept.attempts] == [step.context] * 3
    assert [seen(span, "langroute.why", "langroute.outcome") for span in kept.attempts] == [
        ["start", "failed"],
        ["fallback", "rejected"],
        ["escalation", "accepted"],
    ]


def test_a_step_says_what_was_decided_and_what_it_cost(kept: Kept) -> None:
    model = escalating()
    reply = model.invoke("When?", {"configurable": {"thread_id": "t1"}})
    record = reply.response_metadata["langroute"]
    (step,) = kept.steps
    assert step.attributes is not None
    assert dict(step.attributes) == {
        "gen_ai.conversation.id": "t1",
        "langroute.step": "answer",
        "langroute.step.source": "said",
        "langroute.tier": "large",
        "langroute.endpoint": "large-a",
        "langroute.outcome": "accepted",
        "langroute.reason": record["reason"],
        "langroute.policy": model.policy.digest,
        "langroute.call_id": record["call_id"],
        "langroute.propensity": 1.0,
        "langroute.attempts": 3,
        "langroute.escalations": 1,
        "langroute.fallbacks": 1,
        "langroute.cost_usd": pytest.approx(record["cost_usd"]),
    }


def test_an_attempt_is_an_operation_of_the_conventions(kept: Kept) -> None:
    escalating().invoke("When?")
    attempt = kept.attempts[2]
    assert (attempt.name, attempt.kind) == ("chat large-a", SpanKind.CLIENT)
    assert seen(attempt, "gen_ai.operation.name", "gen_ai.request.model", "gen_ai.response.model") == [
        "chat",
        "large-a",
        "large-a",
    ]
    assert seen(attempt, "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens") == [10, 5]
    assert seen(attempt, "gen_ai.response.finish_reasons", "error.type") == [("stop",), None]
    assert seen(attempt, "langroute.tier", "langroute.cost_usd") == ["large", pytest.approx(30e-6)]
    assert seen(kept.attempts[1], "langroute.rejected_by", "error.type") == [("no_refusal",), None]
    assert kept.attempts[1].status.status_code == StatusCode.UNSET


def test_a_failed_call_is_an_error_with_its_kind_and_no_text(kept: Kept) -> None:
    escalating().invoke("When?")
    failed = kept.attempts[0]
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, None)
    assert seen(failed, "error.type", "gen_ai.usage.input_tokens") == ["connection", None]


def test_a_step_without_a_reply_is_an_error(kept: Kept) -> None:
    with pytest.raises(AllAttemptsFailed):
        routed({"small-a": down(), "large-a": down()}).invoke("When?")
    (step,) = kept.steps
    assert step.status.status_code == StatusCode.ERROR
    assert seen(step, "error.type", "langroute.outcome", "langroute.tier") == ["failed", "failed", None]


def test_spans_have_the_times_of_what_they_stand_for(kept: Kept) -> None:
    before_ns = time.time_ns()
    with capture_decisions() as decisions:
        escalating().invoke("When?")
    after_ns = time.time_ns()
    (step,), attempts = kept.steps, kept.attempts
    slack_ns = 1_000_000  # two clocks
    starts = [span.start_time or 0 for span in attempts]
    assert before_ns - slack_ns <= (step.start_time or 0) <= starts[0] <= starts[1] <= starts[2]
    assert (attempts[2].end_time or 0) - slack_ns <= (step.end_time or 0) <= after_ns + slack_ns
    took = [((span.end_time or 0) - (span.start_time or 0)) / 1e9 for span in attempts]
    assert took == pytest.approx([attempt.latency_s for attempt in decisions[0].attempts], abs=1e-5)


def test_a_call_that_was_not_made_is_no_operation(kept: Kept) -> None:
    def opening(case: Any) -> bool:
        """Reject the small tier, by when the circuit of the plan's next endpoint is open."""
        breakers = model.router.breakers
        while breakers.obstacle("large-a") is None:
            ticket = breakers.admit("large-a")
            assert isinstance(ticket, int)
            breakers.failed("large-a", ticket, "connection")
        return case.tier != "small"

    model = routed({"small-a": BAD, "large-a": GOOD, "large-b": GOOD}, verify=[opening])
    model.invoke("When?")
    refused = kept.attempts[1]
    assert (refused.name, refused.kind) == ("langroute not called large-a", SpanKind.INTERNAL)
    assert seen(refused, "error.type", "gen_ai.operation.name") == ["circuit_open", None]
    assert sum(point.count for point in kept.points("gen_ai.client.operation.duration")) == 2
    assert kept.total("langroute.fallbacks") == 1


class Silent(ScriptedChatModel):
    """Says nothing of usage, as many servers stream."""

    def _completed(self, message: AIMessage, messages: Any) -> AIMessage:
        return super()._completed(message, messages).model_copy(update={"usage_metadata": None})


def test_estimated_tokens_are_not_reported_as_used(kept: Kept) -> None:
    with capture_decisions() as decisions:
        routed({"small-a": Silent(name="small-a", reply=GOOD)}).invoke("When?")
    assert decisions[0].attempts[0].cost_basis == "estimated"
    assert seen(kept.attempts[0], "gen_ai.usage.input_tokens", "langroute.cost_basis") == [None, "estimated"]
    assert kept.points("gen_ai.client.token.usage") == []
    assert kept.total("langroute.cost_usd") > 0


def test_what_a_provider_calls_itself_is_kept_only_as_a_name(kept: Kept) -> None:
    told = {"model_name": "Dear patient of room nine", "finish_reason": "born on the third of May"}
    routed({"small-a": [AIMessage("Yes.", response_metadata=told)]}).invoke("When?")
    assert seen(kept.attempts[0], "gen_ai.response.model", "gen_ai.response.finish_reasons") == [None, None]


def test_the_providers_name_is_the_conventions(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "none")
    from langchain_openai import AzureChatOpenAI

    model = AzureChatOpenAI(
        azure_endpoint="http://127.0.0.1:9", api_version="1", model="m", max_retries=0, timeout=5
    )
    with pytest.raises(AllAttemptsFailed):
        routed({"small-a": model}).invoke("When?")
    assert seen(kept.attempts[0], "gen_ai.provider.name") == ["azure.ai.openai"]


# Whose spans they are ------------------------------------------------------------------------------------


def test_a_stream_that_is_left_belongs_to_the_span_in_which_it_began(kept: Kept) -> None:
    tracer = kept.tracers.get_tracer("caller")
    with tracer.start_as_current_span("request") as request:
        stream = routed({"small-a": GOOD}).stream("When?")
        next(stream)
    with tracer.start_as_current_span("somebody else's"):
        del stream
        gc.collect()
    (step,) = kept.steps
    assert step.parent == request.get_span_context()
    assert seen(kept.attempts[0], "langroute.outcome", "error.type") == ["cancelled", "cancelled"]


async def test_calls_side_by_side_belong_each_to_its_own_span(kept: Kept) -> None:
    tracer, model = kept.tracers.get_tracer("caller"), routed({"small-a": GOOD})

    async def asked(name: str) -> int:
        with tracer.start_as_current_span(name) as span:
            await model.ainvoke("When?")
            return span.get_span_context().span_id

    spans = await asyncio.gather(*(asked(f"request {n}") for n in range(5)))
    assert sorted(step.parent.span_id for step in kept.steps if step.parent) == sorted(spans)


def drawn(model: RoutedChatModel, **compiled: Any) -> Any:
    builder = StateGraph(MessagesState)
    add_routed_step(builder, "answer", model, step="answer")
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(**compiled)


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_a_step_drawn_as_nodes_is_one_span(kept: Kept, mode: str) -> None:
    graph, asked = drawn(escalating()), {"messages": [("user", "When?")]}
    before_ns = time.time_ns()
    with kept.tracers.get_tracer("caller").start_as_current_span("request") as request:
        _ = graph.invoke(asked) if mode == "invoke" else await graph.ainvoke(asked)
    (step,) = kept.steps
    assert step.parent == request.get_span_context()
    whys = [seen(span, "langroute.why")[0] for span in kept.attempts]
    assert whys == ["start", "fallback", "escalation"]
    starts = [step.start_time or 0, *(span.start_time or 0 for span in kept.attempts)]
    assert starts == sorted(starts)
    assert starts[0] >= before_ns - 1_000_000


def test_a_resumed_step_keeps_the_times_of_its_attempts_and_counts_them_once(kept: Kept) -> None:
    graph = drawn(escalating(policy={"budget": {"approve_above_usd": 0.0}}), checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    assert graph.invoke({"messages": [("user", "When?")]}, thread)["__interrupt__"]
    asked_ns = time.time_ns()
    graph.invoke(Command(resume="approve"), thread)
    (step,), attempts = kept.steps, kept.attempts
    assert (step.start_time or 0) <= asked_ns
    assert [(span.start_time or 0) <= asked_ns for span in attempts] == [True, True, False]
    assert kept.total("langroute.decisions") == 1


def test_a_step_broken_off_and_resumed_counts_each_call_once(kept: Kept) -> None:
    small = ScriptedChatModel(name="small-a", replies=[BAD])
    large = ScriptedChatModel(name="large-a", replies=[KeyboardInterrupt(), GOOD])
    graph = drawn(routed({"small-a": small, "large-a": large}, **CHECKED), checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    with pytest.raises(KeyboardInterrupt):
        graph.invoke({"messages": [("user", "When?")]}, thread)
    graph.invoke(None, thread)
    assert [seen(span, "langroute.outcome")[0] for span in kept.steps] == ["cancelled", "accepted"]
    outcomes = [seen(span, "langroute.outcome")[0] for span in kept.attempts]
    assert outcomes == ["rejected", "cancelled", "accepted"]
    assert kept.total("langroute.escalations") == 2


async def test_every_turn_of_an_agent_is_a_step(kept: Kept) -> None:
    from langchain.agents import create_agent

    from langroute.middleware import StepRoutingMiddleware

    def look_up(order: str) -> str:
        """Look an order up."""
        return "open"

    replies = [Answer(tool_calls=(("look_up", {"order": "1"}),)), "It is open."]
    model = ScriptedChatModel(name="only", replies=replies)
    steps = {name: {"cascade": ["only"]} for name in ("planning", "tool_use")}
    policy = {"tiers": {"only": {"models": [model]}}, "steps": steps}
    agent = create_agent(model, [look_up], middleware=[StepRoutingMiddleware(policy)])
    await agent.ainvoke({"messages": [("user", "Is it open?")]})
    assert [step.name for step in kept.steps] == ["langroute planning", "langroute tool_use"]


# Metrics -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
async def test_what_is_counted_is_what_the_record_says(kept: Kept, mode: str) -> None:
    with capture_decisions() as decisions:
        await shown(escalating(), mode)
    assert kept.total("langroute.decisions", outcome="accepted", step="answer") == 1
    assert kept.total("langroute.escalations", tier="large") == 1
    assert kept.total("langroute.fallbacks", tier="small") == 1
    assert kept.total("gen_ai.client.token.usage", type="input") == 20
    assert kept.total("gen_ai.client.token.usage", type="output") == 10
    attempts = decisions[0].attempts
    seconds = kept.total("gen_ai.client.operation.duration")
    assert seconds == pytest.approx(sum(attempt.latency_s for attempt in attempts))
    known = sum(attempt.cost_usd or 0 for attempt in attempts)
    assert kept.total("langroute.cost_usd") == pytest.approx(known)
    assert kept.total("langroute.cost_unknown") == sum(attempt.cost_usd is None for attempt in attempts)


def test_judges_and_unknown_prices_are_counted(kept: Kept) -> None:
    judge = ScriptedChatModel(name="judge", replies=['{"score": 1.0, "reason": "good"}'] * 3)
    tiers = {
        "small": {"models": [{"model": ScriptedChatModel(name="s", reply=GOOD), "name": "s"}]},
        "judge": {"models": [{"model": judge, "name": "judge", "price": {"input": 1, "output": 1}}]},
    }
    checks = [{"judge": {"rubric": "It is right.", "tier": "judge"}}]
    policy = {"tiers": tiers, "steps": {"answer": {"cascade": ["small"], "verify": checks}}}
    with capture_decisions() as decisions:
        RoutedChatModel(policy).for_step("answer").invoke("When?")
    (verdict,) = decisions[0].attempts[0].verdicts
    assert kept.total("langroute.cost_usd", purpose="judge") == pytest.approx(verdict.spend[0].cost_usd)
    assert kept.total("langroute.cost_unknown", purpose="attempt") == 1
    assert "langroute.cost_usd" not in (kept.steps[0].attributes or {})


def test_a_step_that_the_policy_does_not_name_adds_no_series(kept: Kept) -> None:
    model = routed({"small-a": GOOD})
    for number in range(5):
        model.for_step(f"step of user {number}").invoke("When?")
    (point,) = kept.points("langroute.decisions")
    assert (point.value, point.attributes["langroute.step"]) == (5, "other")
    assert {step.name for step in kept.steps} == {"langroute other"}
    assert seen(kept.steps[4], "langroute.step") == ["step of user 4"]


def test_histograms_have_the_conventions_bounds(kept: Kept) -> None:
    escalating().invoke("When?")
    (tokens, *_), (seconds, *_) = (
        kept.points("gen_ai.client.token.usage"),
        kept.points("gen_ai.client.operation.duration"),
    )
    assert tokens.explicit_bounds[:3] == (1, 4, 16)
    assert tokens.explicit_bounds[-1] == 67_108_864
    assert seconds.explicit_bounds[-1] == pytest.approx(81.92)


# Switching on and off ------------------------------------------------------------------------------------


class Broken(SpanProcessor):
    """An exporter that breaks at every span."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("the exporter is broken")


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_broken_exporter_breaks_no_call_and_no_metric(kept: Kept, mode: str) -> None:
    broken, before = TracerProvider(shutdown_on_exit=False), BROKEN.count
    broken.add_span_processor(Broken())
    with instrument(broken, kept.meters):
        assert await shown(escalating(), mode) == GOOD
    assert BROKEN.count == before + 1
    assert len(kept.steps) == 1
    assert kept.total("langroute.decisions") == 2  # the fixture's and this one's


def test_closed_telemetry_hears_nothing_more(kept: Kept) -> None:
    heard = len(LISTENERS)
    on = instrument(kept.tracers, kept.meters)  # the one that is on already
    assert len(LISTENERS) == heard
    on.close()
    on.close()
    assert len(LISTENERS) == heard - 2
    model = escalating()
    model.invoke("When?")
    assert calls(model)["large-a"] == 1
    assert kept.spans == []


def test_without_providers_it_is_opentelemetrys_global_ones_and_costs_no_error() -> None:
    before = BROKEN.count
    with instrument() as on:
        assert instrument() is on
        escalating().invoke("When?")
    assert not trace.get_current_span().is_recording()
    assert BROKEN.count == before


def test_without_the_package_the_install_line_is_said() -> None:
    code = "import sys; sys.modules['opentelemetry.metrics'] = None; import langroute.telemetry"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'langroute[otel]'" in ran.stderr.splitlines()[-1]
