"""What every door makes of a budget: what is reserved, settled, refused, and what the record says of it."""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import ModelTimeoutError
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from routed_models import BAD, GOOD, MODES, STREAMS, calls, down, routed, shown

from langroute import Policy, PolicyError, RoutedChatModel, add_routed_step
from langroute.accounts import pico_of
from langroute.admission import BUDGET, called
from langroute.budget import Budget, Limit
from langroute.effects import run
from langroute.errors import AllAttemptsFailed, BudgetExceeded, NoEndpointAvailable
from langroute.middleware import StepRoutingMiddleware
from langroute.request import Request
from langroute.router import Router
from langroute.spending import INPUT_MARGIN, OUTPUT_FACTOR, PART_TOKENS, worst_usd
from langroute.testing import ScriptedChatModel, capture_decisions

every_mode = pytest.mark.parametrize("mode", MODES)

WORST_USD = 0.016006
"""Worst case of "When?" on an endpoint of `routed_models`: 6 tokens in at 1, 4,000 out at 4 USD a million."""


def limited(endpoints: dict[str, Any], budget: dict[str, Any], **step: Any) -> RoutedChatModel:
    return routed(endpoints, policy={"budget": budget}, **step)


def spent(model: RoutedChatModel, config: RunnableConfig | None = None) -> dict[str, float]:
    """Return what stands in each account, in USD; what is held must be nothing."""
    budget = model.router.budget
    assert budget is not None
    purse = model.router.purse(config or {}, (config or {}).get("metadata", {}))
    assert purse is not None
    left = run(purse.look()).left
    assert [balance.held for _, balance in left] == [0] * len(left)
    return {claim.limit: balance.spent / 1e12 for claim, balance in left}


class Silent(ScriptedChatModel):
    """Says nothing of usage, as many servers stream."""

    def _completed(self, message: AIMessage, messages: Any) -> AIMessage:
        return super()._completed(message, messages).model_copy(update={"usage_metadata": None})


class Dear(ScriptedChatModel):
    """Uses far more than anybody could expect."""

    def _completed(self, message: AIMessage, messages: Any) -> AIMessage:
        usage = {"input_tokens": 100_000, "output_tokens": 0, "total_tokens": 100_000}
        return super()._completed(message, messages).model_copy(update={"usage_metadata": usage})


# Reserved, settled ---------------------------------------------------------------------------------------


@every_mode
async def test_what_a_call_cost_is_what_is_settled(mode: str) -> None:
    model = limited({"small-a": GOOD}, {"per_day_usd": 1.0, "keys": {"tenant": {"per_day_usd": 1.0}}})
    config: RunnableConfig = {"metadata": {"tenant": "acme"}}
    with capture_decisions() as decisions:
        for _ in range(3):
            await shown(model, mode, config=config)
    cost_usd = sum(decision.cost_usd or 0.0 for decision in decisions)
    assert cost_usd > 0
    assert spent(model, config) == pytest.approx(
        {"per_day_usd": cost_usd, "keys.tenant.per_day_usd": cost_usd}
    )
    assert spent(model)["keys.tenant.per_day_usd"] == 0


@every_mode
async def test_a_budget_that_is_spent_refuses_by_type_and_calls_nobody(mode: str) -> None:
    model = limited({"small-a": GOOD, "large-a": GOOD}, {"per_day_usd": WORST_USD + 0.00001})
    await shown(model, mode)
    with pytest.raises(BudgetExceeded, match=r"would pass per_day_usd, 0\.015970 left") as caught:
        await shown(model, mode)
    error = caught.value
    assert (error.budget, error.limit_usd, error.key) == ("per_day_usd", pytest.approx(0.016016), None)
    assert error.spent_usd == pytest.approx(0.000046)
    assert error.decision.outcome == "failed"
    assert isinstance(error, NoEndpointAvailable)
    assert calls(model) == {"small-a": 1, "large-a": 0}


def test_each_value_of_a_key_has_its_own_money_and_leaving_it_out_is_no_way_round() -> None:
    model = limited({"small-a": GOOD}, {"keys": {"tenant": {"per_day_usd": WORST_USD}}})
    for metadata in ({"tenant": "acme"}, {"tenant": "bolt"}, {}):
        model.invoke("When?", {"metadata": metadata})
        with pytest.raises(BudgetExceeded) as caught:
            model.invoke("When?", {"metadata": metadata})
        assert (caught.value.key, caught.value.budget) == (metadata.get("tenant"), "keys.tenant.per_day_usd")


def test_a_new_day_begins_at_nothing() -> None:
    days = [1.0]
    budget = Budget([Limit("per_day_usd", "day", pico_of(1.0))], clock=lambda: days[0] * 86_400)
    run(run(budget.purse(run=None, thread=None, metadata={}).reserve(0.9)).settle(0.9))
    with pytest.raises(BudgetExceeded):
        run(budget.purse(run=None, thread=None, metadata={}).reserve(0.2))
    days[0] = 2.0
    run(budget.purse(run=None, thread=None, metadata={}).reserve(0.2))


def test_threads_pass_no_limit_together() -> None:
    model = limited({"small-a": GOOD}, {"per_day_usd": 0.2})

    def ask(_: int) -> float:
        try:
            return float(model.invoke("When?").response_metadata["langroute"]["cost_usd"])
        except BudgetExceeded:
            return 0.0

    with ThreadPoolExecutor(25) as pool:
        served = sum(pool.map(ask, range(400)))
    assert spent(model)["per_day_usd"] == pytest.approx(served)
    assert 0 < served <= 0.2


# What a call may cost ------------------------------------------------------------------------------------


def worst(given: RoutedChatModel, prompt: Any = "When?", **kwargs: Any) -> float | None:
    request = Request((HumanMessage(prompt),), kwargs=kwargs)
    return worst_usd(given.router.endpoints.by_name["small-a"], request, 500)


def test_the_worst_case_is_the_prompt_with_a_margin_and_the_longest_reply() -> None:
    model = routed({"small-a": GOOD})
    tokens = math.ceil(INPUT_MARGIN * Request((HumanMessage("When?"),)).estimated_tokens)
    assert worst(model) == pytest.approx((tokens + 4 * OUTPUT_FACTOR * 500) / 1e6) == pytest.approx(WORST_USD)
    assert worst(model, max_tokens=10) == pytest.approx((tokens + 40) / 1e6)
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "When?"}]
    assert worst(model, picture) == pytest.approx(WORST_USD + PART_TOKENS / 1e6)
    assert worst(model, model="other") is None


def test_a_model_that_knows_its_limit_has_it_as_its_worst_case() -> None:
    profiled = ScriptedChatModel(name="s", reply=GOOD, profile={"max_output_tokens": 100})
    price = {"input": 1.0, "output": 4.0}
    for given, tokens in ((profiled, 100), (profiled.bind(max_tokens=7), 7)):
        spec = {"model": given, "name": "small-a", "price": price}
        model = RoutedChatModel({"tiers": {"small": {"models": [spec]}}})
        assert worst(model) == pytest.approx((6 + 4 * tokens) / 1e6)
    policy = {"tiers": {"small": {"models": [{"model": "openai:m", "settings": {"max_tokens": 9}}]}}}
    assert Router(Policy.load(policy)).endpoints.by_name["openai:m"].output_tokens == 9


def test_a_dearer_cache_write_is_the_price_of_the_worst_case() -> None:
    price = {"input": 1.0, "output": 0.0, "cache_write": 2.0}
    spec = {"model": ScriptedChatModel(reply=GOOD), "name": "small-a", "price": price}
    assert worst(RoutedChatModel({"tiers": {"small": {"models": [spec]}}})) == pytest.approx(12 / 1e6)


def test_a_call_that_costs_more_than_its_worst_case_is_settled_at_what_it_cost_and_counted() -> None:
    model = limited({"small-a": Dear(name="s", reply=GOOD)}, {"per_day_usd": 0.05})
    model.invoke("When?")
    assert spent(model)["per_day_usd"] == pytest.approx(0.1)
    budget = model.router.budget
    assert budget is not None
    assert (budget.overruns, budget.overrun_usd) == (1, pytest.approx(0.1 - WORST_USD))
    with pytest.raises(BudgetExceeded):
        model.invoke("When?")


# Policies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["per_call_usd", "per_run_usd", "per_thread_usd", "per_day_usd", "keys"])
def test_a_budget_below_the_cheapest_call_of_a_step_is_refused_with_the_figures(limit: str) -> None:
    name = "keys.tenant.per_day_usd" if limit == "keys" else limit
    with pytest.raises(PolicyError) as caught:
        limited({"small-a": GOOD}, {limit: {"tenant": {"per_day_usd": 0.01}} if limit == "keys" else 0.01})
    (found,) = caught.value.problems
    assert (found.path, found.value) == (f"budget.{name}", "0.01")
    assert "0.016000 USD on `small-a`, its cheapest endpoint" in found.message


def test_an_endpoint_without_a_price_is_refused_under_a_budget() -> None:
    tiers = {"small": {"models": [{"model": ScriptedChatModel(reply=GOOD), "name": "own"}]}}
    with pytest.raises(PolicyError) as caught:
        RoutedChatModel({"tiers": tiers, "budget": {"per_day_usd": 1.0}})
    assert [found.path for found in caught.value.problems] == ["tiers.small.models[0].price"]
    RoutedChatModel({"tiers": tiers})


def test_a_model_that_the_caller_swapped_has_no_price_and_is_refused() -> None:
    model = limited({"small-a": GOOD}, {"per_day_usd": 1.0})
    with pytest.raises(BudgetExceeded, match="its price is unknown"):
        model.invoke("When?", model="other")
    assert calls(model) == {"small-a": 0}


def test_a_free_model_needs_no_money() -> None:
    spec = {"model": ScriptedChatModel(reply=GOOD), "price": {"input": 0, "output": 0}}
    model = RoutedChatModel({"tiers": {"small": {"models": [spec]}}, "budget": {"per_day_usd": 0.0}})
    assert [model.invoke("When?").text for _ in range(3)] == [GOOD] * 3


# Plans and gates -----------------------------------------------------------------------------------------


def tiers_of(small_usd: float, large_usd: float, small: Any = GOOD, large: Any = GOOD) -> dict[str, Any]:
    """Return two tiers whose calls cost so much at worst, but for their prompt."""
    made = {}
    for name, said, usd in (("small", small, small_usd), ("large", large, large_usd)):
        given = said if isinstance(said, ScriptedChatModel) else ScriptedChatModel(name=name, reply=said)
        made[name] = {"models": [{"model": given, "name": name, "price": {"input": 0, "output": usd * 250}}]}
    return made


def two_tiers(budget: dict[str, Any], tiers: dict[str, Any], **step: Any) -> RoutedChatModel:
    bound = {"cascade": ["small", "large"], **step}
    return RoutedChatModel({"tiers": tiers, "default": bound, "budget": budget})


def test_a_plan_passes_over_what_no_longer_fits_and_says_why() -> None:
    model = two_tiers({"per_run_usd": 0.03}, tiers_of(0.01, 0.04))
    with capture_decisions() as decisions:
        model.invoke("When?")
    (decision,) = decisions
    assert [rung.tier for rung in decision.plan.rungs] == ["small"]
    assert "skipped large: 0.040000 USD would pass per_run_usd, 0.030000 left" in decision.plan.reasons


def test_the_only_endpoint_of_a_step_is_refused_too() -> None:
    model = limited({"small-a": GOOD}, {"per_day_usd": WORST_USD})
    model.invoke("When?")
    with pytest.raises(BudgetExceeded, match="step answer"):
        model.invoke("When?")


@pytest.mark.parametrize(("on_exhausted", "raised"), [("best", None), ("raise", AllAttemptsFailed)])
async def test_an_escalation_that_no_longer_fits_is_not_made(on_exhausted: str, raised: Any) -> None:
    dear = Dear(name="small", reply=BAD)
    tiers = tiers_of(0.01, 0.04, small=dear)
    tiers["small"]["models"][0]["price"] = {"input": 1.0, "output": 2.5}  # 0.1 USD for its 100,000 tokens
    model = two_tiers({"per_run_usd": 0.06}, tiers, verify=["no_refusal"], on_exhausted=on_exhausted)
    with capture_decisions() as decisions:
        if raised is None:
            assert (await model.ainvoke("When?")).text == BAD
        else:
            with pytest.raises(raised) as caught:
                await model.ainvoke("When?")
            assert isinstance(caught.value.exceptions[1], BudgetExceeded)
    rejected, refused = decisions[0].attempts
    assert (rejected.outcome, refused.outcome, refused.failure.kind) == ("rejected", "failed", BUDGET)
    assert "0.040000 USD would pass per_run_usd" in refused.failure.message
    assert (called(refused), refused.cost_usd, refused.latency_s) == (False, 0.0, 0.0)
    assert model.router.health()["large"]["failed"] == 0
    assert calls(model) == {"small": 1, "large": 0}


def spend_elsewhere(model: RoutedChatModel, usd: float) -> Any:
    """Reserve money as another thread would, between a plan and its call."""
    purse = model.router.purse({}, {})
    assert purse is not None
    return run(purse.reserve(usd))


def meanwhile(model: RoutedChatModel, usd: float) -> None:
    """Let another thread reserve money between the plan of a call and the call."""
    real = model.router.planner.plan

    def planned(request: Any, answer: Any) -> Any:
        plan = yield from real(request, answer)
        spend_elsewhere(model, usd)
        return plan

    model.router.planner.plan = planned  # type: ignore[method-assign]


def test_a_refused_call_goes_on_to_a_cheaper_endpoint() -> None:
    dear, cheap = (ScriptedChatModel(name=name, reply=GOOD) for name in ("dear", "cheap"))
    models = [
        {"model": dear, "name": "dear", "price": {"input": 0, "output": 10}},
        {"model": cheap, "name": "cheap", "price": {"input": 0, "output": 1}},
    ]
    model = RoutedChatModel({"tiers": {"small": {"models": models}}, "budget": {"per_day_usd": 0.05}})
    meanwhile(model, 0.02)
    attempts = model.invoke("When?").response_metadata["langroute"]["attempts"]
    assert [(a["endpoint"], a["failure"] and a["failure"]["kind"]) for a in attempts] == [
        ("dear", BUDGET),
        ("cheap", None),
    ]
    assert (len(dear.calls), model.router.health()["dear"]["state"]) == (0, "closed")


@pytest.mark.parametrize("door", ["model", "nodes", "agent"])
def test_where_everything_was_refused_at_the_gate_the_budget_is_what_is_raised(door: str) -> None:
    model = limited({"small-a": GOOD, "large-a": GOOD}, {"per_day_usd": 0.02})
    meanwhile(model, 0.01)
    with capture_decisions() as decisions, pytest.raises(BudgetExceeded, match="per_day_usd") as caught:
        asked_by(door, model)
    assert [attempt.failure.kind for attempt in decisions[0].attempts] == [BUDGET, BUDGET]
    assert (decisions[0].outcome, decisions[0].cost_usd) == ("failed", 0.0)
    assert caught.value.spent_usd == pytest.approx(0.01)
    assert calls(model) == {"small-a": 0, "large-a": 0}


def asked_by(door: str, model: RoutedChatModel, config: RunnableConfig | None = None) -> Any:
    if door == "model":
        return model.invoke("When?", config)
    if door == "nodes":
        return nodes(model).invoke({"messages": [("user", "When?")]}, config)
    middleware = StepRoutingMiddleware(model.policy)
    middleware.router = model.router
    agent = create_agent(ScriptedChatModel(reply="unused"), [], middleware=[middleware])
    return agent.invoke(
        {"messages": [("user", "When?")]}, {**(config or {}), "metadata": {"langroute_step": "answer"}}
    )


def nodes(model: RoutedChatModel, saver: Any = None, steps: int = 1) -> Any:
    """Return a graph of routed steps, one after the other."""
    builder = StateGraph(MessagesState)
    names = [f"step{number}" for number in range(steps)]
    for name in names:
        add_routed_step(builder, name, model, step="answer", prompt=lambda _: "When?")
    for before, after in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(before, after)
    return builder.compile(checkpointer=saver)


# Runs and threads ----------------------------------------------------------------------------------------

ROOM = WORST_USD + 0.00005
"""Enough for a call after one that was settled, and not for a third."""


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_all_nodes_of_an_invocation_spend_from_one_run(mode: str) -> None:
    model = limited({"small-a": GOOD}, {"per_run_usd": ROOM})
    graph, given = nodes(model, steps=3), {"messages": [("user", "x")]}
    for number in (1, 2):
        with pytest.raises(BudgetExceeded, match="per_run_usd"):
            await graph.ainvoke(given) if mode == "ainvoke" else graph.invoke(given)
        assert calls(model) == {"small-a": 2 * number}
    assert model.invoke("When?").text == GOOD


def test_subgraphs_and_graphs_in_nodes_spend_from_the_run_around_them() -> None:
    model = limited({"small-a": GOOD}, {"per_run_usd": ROOM})
    inner = nodes(model)
    builder = StateGraph(MessagesState)
    builder.add_node("sub", inner)
    builder.add_node("called", lambda state: inner.invoke({"messages": state["messages"]}))
    builder.add_node("plain", lambda state: {"messages": [model.invoke("When?")]})
    builder.add_edge(START, "sub")
    builder.add_edge("sub", "called")
    builder.add_edge("called", "plain")
    with pytest.raises(BudgetExceeded, match="per_run_usd"):
        builder.compile().invoke({"messages": [("user", "x")]})
    assert calls(model) == {"small-a": 2}


def test_a_call_outside_a_graph_is_a_run_of_its_own() -> None:
    model = limited({"small-a": GOOD}, {"per_run_usd": ROOM})
    assert [model.invoke("When?").text for _ in range(5)] == [GOOD] * 5


@pytest.mark.parametrize("door", ["model", "nodes", "agent"])
def test_a_thread_spends_in_all_its_runs(door: str) -> None:
    model = limited({"small-a": GOOD}, {"per_thread_usd": ROOM})
    one: RunnableConfig = {"configurable": {"thread_id": "one"}}
    for _ in range(2):
        asked_by(door, model, one)
    with pytest.raises(BudgetExceeded, match="per_thread_usd of one") as caught:
        asked_by(door, model, one)
    assert caught.value.key == "one"
    asked_by(door, model, {"configurable": {"thread_id": "two"}})
    for _ in range(4):
        asked_by(door, model)


def test_a_run_that_waited_for_a_person_is_resumed_as_a_new_one_of_the_same_thread() -> None:
    model = limited({"small-a": GOOD}, {"per_run_usd": ROOM, "per_thread_usd": 1.0})
    graph = nodes(model, InMemorySaver(), steps=2)
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    for _ in range(3):
        graph.invoke({"messages": [("user", "x")]}, thread)
    assert calls(model) == {"small-a": 6}
    assert spent(model, thread)["per_thread_usd"] == pytest.approx(6 * 0.000046)


def test_runs_under_way_are_remembered_and_old_ones_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langroute.budget._MOST_RUNS", 2)
    budget = Budget([Limit("per_run_usd", "run", pico_of(1.0))])
    runs = [object() for _ in range(3)]

    def left(at: int) -> int:
        ((_, balance),) = run(budget.purse(run=runs[at], thread=None, metadata={}).look()).left
        return balance.spent

    for at in (0, 1):
        run(run(budget.purse(run=runs[at], thread=None, metadata={}).reserve(0.5)).settle(0.5))
    assert left(0) == pico_of(0.5)
    left(2)
    assert (left(0), left(1)) == (pico_of(0.5), 0)


# Judges, classifiers -------------------------------------------------------------------------------------


JUDGE = {"judge": {"tier": "large", "rubric": "Does it name a year?"}}


def test_judges_are_on_the_same_bill() -> None:
    model = limited(
        {"small-a": GOOD, "large-a": {"reason": "it does", "score": 0.9}},
        {"per_run_usd": 1.0, "per_day_usd": 1.0},
        cascade=["small"],
        verify=[JUDGE],
    )
    record = model.invoke("When?").response_metadata["langroute"]
    (judged,) = record["attempts"][0]["verdicts"][0]["spend"]
    assert judged["cost_usd"] > 0
    assert spent(model)["per_day_usd"] == pytest.approx(record["cost_usd"])


def test_a_judge_that_no_longer_fits_is_not_asked_and_the_reply_stands_as_the_best() -> None:
    model = limited(
        {"small-a": GOOD, "large-a": {"reason": "it does", "score": 0.9}},
        {"per_run_usd": WORST_USD},
        cascade=["small"],
        verify=[JUDGE],
    )
    record = model.invoke("When?").response_metadata["langroute"]
    (verdict,) = record["attempts"][0]["verdicts"]
    assert (verdict["unsure"], record["outcome"]) == (True, "best")
    assert "would pass per_run_usd" in verdict["reason"]
    assert calls(model) == {"small-a": 1, "large-a": 0}


def classified(budget: dict[str, Any], small: Any) -> RoutedChatModel:
    endpoints = {"small-a": small, "large-a": GOOD}
    policy = {"budget": budget, "classify": {"model": "small"}}
    model = routed(endpoints, policy=policy, cascade=["large"])
    return model.model_copy(update={"step": None})


def test_a_classifier_is_on_the_same_bill_and_passes_the_same_gate() -> None:
    model = classified({"per_run_usd": 1.0, "per_day_usd": 1.0}, {"step": "answer"})
    record = model.invoke("When?").response_metadata["langroute"]
    assert (record["step"], spent(model)["per_day_usd"]) == ("answer", pytest.approx(record["cost_usd"]))
    model = classified({"per_call_usd": 0.01603}, {"step": "answer"})
    record = model.invoke("When?").response_metadata["langroute"]
    assert calls(model) == {"small-a": 0, "large-a": 1}
    assert "would pass per_call_usd" in record["step_reason"]


def test_a_judge_that_fails_is_settled_too() -> None:
    model = limited(
        {"small-a": GOOD, "large-a": ModelTimeoutError("late")},
        {"per_day_usd": 1.0},
        cascade=["small"],
        verify=[JUDGE],
    )
    record = model.invoke("When?").response_metadata["langroute"]
    assert spent(model)["per_day_usd"] > record["cost_usd"]
    model = limited(
        {"small-a": GOOD, "large-a": down()}, {"per_day_usd": 1.0}, cascade=["small"], verify=[JUDGE]
    )
    record = model.invoke("When?").response_metadata["langroute"]
    assert spent(model)["per_day_usd"] == pytest.approx(record["cost_usd"])


# Without a bill ------------------------------------------------------------------------------------------


@every_mode
async def test_a_cost_that_the_provider_reports_is_what_is_settled(mode: str) -> None:
    said = AIMessage(GOOD, response_metadata={"token_usage": {"cost": 0.0125}})
    model = limited({"small-a": [said]}, {"per_day_usd": 1.0})
    with capture_decisions() as decisions:
        await shown(model, mode)
    (attempt,) = decisions[0].attempts
    assert (attempt.cost_usd, attempt.cost_basis) == (0.0125, "reported")
    assert spent(model)["per_day_usd"] == pytest.approx(0.0125)


@pytest.mark.parametrize("mode", STREAMS)
async def test_a_stream_without_usage_is_estimated_marked_and_settled(mode: str) -> None:
    model = limited({"small-a": Silent(name="s", reply=GOOD)}, {"per_day_usd": 1.0})
    with capture_decisions() as decisions:
        await shown(model, mode)
    (attempt,) = decisions[0].attempts
    assert (attempt.cost_basis, attempt.usage.output_tokens) == ("estimated", math.ceil(len(GOOD) / 4))
    assert spent(model)["per_day_usd"] == pytest.approx(attempt.cost_usd)
    assert attempt.cost_usd > 0


@pytest.mark.parametrize("mode", ["stream", "astream"])
async def test_a_stream_that_is_left_early_is_settled_at_an_estimate(mode: str) -> None:
    model = limited({"small-a": GOOD * 20}, {"per_day_usd": 1.0})
    with capture_decisions() as decisions:
        if mode == "stream":
            stream = model.stream("When?")
            next(stream)
            stream.close()  # type: ignore[attr-defined]
        else:
            astream = model.astream("When?")
            await anext(astream)
            await astream.aclose()  # type: ignore[attr-defined]
    (attempt,) = decisions[0].attempts
    assert (attempt.outcome, attempt.cost_basis) == ("cancelled", "estimated")
    assert spent(model)["per_day_usd"] == pytest.approx(attempt.cost_usd)


def test_a_call_that_timed_out_is_estimated_by_its_prompt_and_one_that_reached_nobody_is_free() -> None:
    model = limited(
        {"small-a": ModelTimeoutError("late"), "small-b": down(), "small-c": GOOD}, {"per_day_usd": 1.0}
    )
    attempts = model.invoke("When?").response_metadata["langroute"]["attempts"]
    assert [(a["cost_usd"] > 0, a["cost_basis"]) for a in attempts] == [
        (True, "estimated"),
        (False, "unknown"),
        (True, "priced"),
    ]
    assert spent(model)["per_day_usd"] == pytest.approx(sum(a["cost_usd"] for a in attempts))


async def test_a_cancelled_call_is_settled_at_an_estimate() -> None:
    started = asyncio.Event()

    class Slow(ScriptedChatModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            started.set()
            await asyncio.Event().wait()

    model = limited({"small-a": Slow(name="s", reply=GOOD)}, {"per_day_usd": 1.0})
    task = asyncio.create_task(model.ainvoke("When?"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert spent(model)["per_day_usd"] == pytest.approx(0.000004)


def test_a_step_that_never_validates_ends_within_25_calls() -> None:
    endpoints = {f"t{number}-a": BAD for number in range(30)}
    model = limited(endpoints, {"per_day_usd": 10.0}, verify=["no_refusal"], repair=3)
    assert model.invoke("When?").text == BAD
    assert sum(calls(model).values()) == 25
