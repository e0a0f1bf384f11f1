"""What a call may cost at worst, what one without a bill is taken to have cost, and whose money it is."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables.config import var_child_runnable_config

from langroute import Policy, PolicyError
from langroute.accounts import Memory, pico_of
from langroute.attempts import Attempt
from langroute.budget import Budget, Limit, Purse
from langroute.cost import Price, Usage, usage_of
from langroute.endpoints import Endpoint, Endpoints
from langroute.functions import FunctionModel
from langroute.policy import BudgetPolicy, ModelSpec
from langroute.request import Request
from langroute.spending import (
    bill,
    budget_of,
    budget_problems,
    guess,
    guessed,
    limits_of,
    purse_of,
    shadow_budget,
    worst_usd,
)
from langroute.testing import ScriptedChatModel


def endpoint(name: str = "small-a", **spec: Any) -> Endpoint:
    """Return an endpoint at 1 USD a million tokens of input and 4 of output."""
    given = {"model": ScriptedChatModel(reply="Yes."), "price": {"input": 1.0, "output": 4.0}, **spec}
    return Endpoint(ModelSpec.model_validate(given), "small", name)


class Banded(Endpoint):
    """Costs twice as much above 100 tokens."""

    def price(self, input_tokens: int = 0) -> Price:
        return Price(2.0, 8.0) if input_tokens > 100 else Price(1.0, 4.0)


def banded() -> Banded:
    return Banded(ModelSpec.model_validate({"model": ScriptedChatModel(reply="Yes.")}), "small", "banded")


def unpriced() -> Endpoint:
    return Endpoint(ModelSpec.model_validate({"model": ScriptedChatModel(reply="Yes.")}), "small", "own")


def asked(content: Any = "When?", **known: Any) -> Request:
    return Request((HumanMessage(content),), **known)


def of_tokens(count: int) -> Request:
    """Return a request whose prompt is estimated at so many tokens."""
    request = asked("x" * 4 * (count - 3))
    assert request.estimated_tokens == count
    return request


# The worst case ------------------------------------------------------------------------------------------


def test_the_worst_case_is_half_as_much_again_in_and_eight_times_the_expected_out() -> None:
    assert worst_usd(endpoint(), of_tokens(11), 100) == pytest.approx((17 + 4 * 800) / 1e6, rel=1e-9)
    assert worst_usd(endpoint(), Request(()), 0) == 0.0


def test_the_price_is_that_of_a_prompt_as_long_as_the_worst_case() -> None:
    assert worst_usd(banded(), of_tokens(66), 0) == pytest.approx(99 / 1e6)
    assert worst_usd(banded(), of_tokens(67), 1) == pytest.approx((2 * 101 + 8 * 8) / 1e6)


@pytest.mark.parametrize(("write", "dearest"), [(2.0, 2.0), (0.5, 1.0), (0.0, 1.0)])
def test_input_counts_at_the_dearer_of_plain_and_cache_write(write: float, dearest: float) -> None:
    priced = endpoint(price={"input": 1.0, "output": 0.0, "cache_write": write})
    assert worst_usd(priced, of_tokens(10), 500) == pytest.approx(15 * dearest / 1e6)


PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("When?", 0),
        (["When?", {"type": "text", "text": "And?"}], 0),
        ([{"type": kind} for kind in ("tool_use", "thinking", "reasoning")], 0),
        ([PICTURE, {"type": "text", "text": "When?"}, {"type": "file"}, {}], 3),
    ],
)
def test_each_picture_sound_and_file_is_two_thousand_tokens(content: Any, parts: int) -> None:
    request = Request((HumanMessage("Look."), HumanMessage(content), HumanMessage([PICTURE])))
    text_usd = (-(-request.estimated_tokens * 3 // 2)) / 1e6
    assert worst_usd(endpoint(), request, 0) == pytest.approx(text_usd + (parts + 1) * 2_000 / 1e6)


def test_the_worst_case_of_another_prompt_is_that_prompts() -> None:
    prompt = [*of_tokens(20).messages, HumanMessage([PICTURE])]
    expected = worst_usd(endpoint(), Request(tuple(prompt), kwargs={"max_tokens": 7}), 500)
    assert expected == worst_usd(endpoint(), asked(kwargs={"max_tokens": 7}), 500, prompt)
    assert expected != worst_usd(endpoint(), asked(kwargs={"max_tokens": 7}), 500)
    assert worst_usd(endpoint(), of_tokens(20), 0, []) == 0.0


@pytest.mark.parametrize(
    ("known", "limit"),
    [
        ({"kwargs": {"max_tokens": 7}}, 7),
        ({"kwargs": {"max_tokens": 7, "max_completion_tokens": 9}}, 9),
        ({"kwargs": {"max_tokens": 0, "num_predict": None}}, 100),
        ({"binding": SimpleNamespace(settings={"max_output_tokens": 8}), "kwargs": {"max_tokens": 7}}, 8),
        ({"binding": SimpleNamespace(settings={"max_tokens": "6"})}, 6),
        ({"binding": SimpleNamespace()}, 100),
    ],
)
def test_a_reply_is_no_longer_than_the_calls_own_limit_else_the_models(known: Any, limit: int) -> None:
    limited = endpoint(model="openai:m", settings={"max_tokens": 100})
    request = Request((), **known)
    assert worst_usd(limited, request, 500) == pytest.approx(4 * limit / 1e6)


def test_without_a_price_of_the_model_that_is_called_nobody_knows_the_worst_case() -> None:
    assert worst_usd(unpriced(), asked(), 500) is None
    assert worst_usd(endpoint(), asked(kwargs={"model": "other"}), 500) is None


# Bills ---------------------------------------------------------------------------------------------------

USED = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


def test_a_reply_with_usage_is_billed_by_it() -> None:
    reply = AIMessage("Yes.", usage_metadata=USED)
    assert bill(endpoint(), asked(), reply) == (Usage(10, 5), pytest.approx(30 / 1e6), "priced")
    assert bill(unpriced(), asked(), reply) == (Usage(10, 5), None, "unknown")


def test_a_reply_of_a_model_that_the_caller_swapped_keeps_its_usage_and_has_no_cost() -> None:
    swapped = asked(kwargs={"model": "other"})
    assert bill(endpoint(), swapped, AIMessage("Yes.", usage_metadata=USED)) == (
        Usage(10, 5),
        None,
        "unknown",
    )
    assert bill(endpoint(), swapped, AIMessage("Yes.")) == (None, None, "unknown")


def test_a_reply_without_usage_is_estimated_by_the_bytes_of_its_text_and_its_tool_calls() -> None:
    call = {"name": "find", "args": {"a": 1}, "id": "1"}  # {'a': 1} is 8 characters
    other = {"name": "find", "args": {}, "id": "2"}  # {}
    request = of_tokens(20)
    for reply, output in (
        (AIMessage("nine byte"), 3),
        (AIMessage("é" * 4 + "\ud800"), 3),
        (AIMessage("four", tool_calls=[call, other]), 4),
    ):
        cost_usd = pytest.approx((20 + 4 * output) / 1e6)
        assert bill(endpoint(), request, reply) == (Usage(20, output), cost_usd, "estimated")
    assert bill(unpriced(), request, AIMessage("four")) == (None, None, "unknown")


def test_a_cost_that_the_provider_reports_counts_before_any_price() -> None:
    reply = AIMessage("Yes.", usage_metadata=USED, response_metadata={"token_usage": {"cost": 0.5}})
    for known in (endpoint(), unpriced()):
        assert bill(known, asked(), reply) == (Usage(10, 5), 0.5, "reported")
    assert bill(endpoint(), asked(kwargs={"model": "other"}), reply) == (Usage(10, 5), 0.5, "reported")
    reply.usage_metadata = None
    assert bill(endpoint(), asked(), reply) == (None, 0.5, "reported")


def test_a_reported_cost_that_can_be_none_leaves_the_price() -> None:
    reply = AIMessage("Yes.", usage_metadata=USED, response_metadata={"token_usage": {"cost": -0.5}})
    assert bill(endpoint(), asked(), reply) == (Usage(10, 5), pytest.approx(30 / 1e6), "priced")


@pytest.mark.parametrize("told", [-1, 10.5, math.nan, math.inf, 10**18, True, "ten", "5", [1]], ids=str)
@pytest.mark.parametrize("count", ["input_tokens", "output_tokens"])
def test_a_reply_with_usage_that_is_no_count_is_estimated(count: str, told: Any) -> None:
    reply = AIMessage("nine byte")
    reply.usage_metadata = {**USED, count: told}  # type: ignore[typeddict-item]  # integrations set it unchecked
    estimated = (Usage(20, 3), pytest.approx((20 + 4 * 3) / 1e6), "estimated")
    assert bill(endpoint(), of_tokens(20), reply) == estimated
    assert bill(unpriced(), of_tokens(20), reply) == (None, None, "unknown")


def test_details_that_exceed_what_they_are_part_of_or_are_no_count_are_left_out() -> None:
    for cache, reasoning in (
        ({"cache_read": 8, "cache_creation": 3}, 6),
        ({"cache_read": -8, "cache_creation": math.nan}, "6"),
        ([8], None),
    ):
        details = {"input_token_details": cache, "output_token_details": {"reasoning": reasoning}}
        assert usage_of({**USED, **details}) == Usage(10, 5)
    whole = {"input_tokens": 10.0, "output_tokens": 5, "output_token_details": {"reasoning": 5.0}}
    assert usage_of(whole) == Usage(10, 5, reasoning_tokens=5)


def test_a_guess_counts_the_whole_prompt_and_what_came_at_the_price_of_that_prompt() -> None:
    assert guess(endpoint(), of_tokens(20), 9) == (Usage(20, 3), pytest.approx(32 / 1e6))
    assert guess(endpoint(), Request(()), 0) == (Usage(1, 0), pytest.approx(1 / 1e6))
    assert guess(banded(), of_tokens(101), 0) == (Usage(101, 0), pytest.approx(202 / 1e6))
    assert guess(endpoint(), asked(kwargs={"model": "other"}), 9) is None
    assert guess(unpriced(), asked(), 9) is None


def test_a_plain_function_costs_nothing_whatever_it_does() -> None:
    function = endpoint(model=FunctionModel(name="multiply", function=str), price=None)
    attempt = Attempt("multiply", "function:multiply", "start", "failed")
    assert worst_usd(function, of_tokens(20), 500) == 0.0
    assert bill(function, of_tokens(20), AIMessage("42")) == (None, 0.0, "priced")
    found = guessed(attempt, function, of_tokens(20), 8)
    assert (found.usage, found.cost_usd, found.cost_basis) == (None, 0.0, "priced")


def test_an_attempt_without_a_bill_is_marked_as_estimated_where_there_is_a_price() -> None:
    attempt = Attempt("small", "small-a", "start", "failed")
    found = guessed(attempt, endpoint(), of_tokens(20), 8)
    assert (found.usage, found.cost_usd, found.cost_basis) == (
        Usage(20, 2),
        pytest.approx(28 / 1e6),
        "estimated",
    )
    assert (found.tier, found.outcome) == ("small", "failed")
    assert guessed(attempt, unpriced(), of_tokens(20), 8) is attempt


# Whose money ---------------------------------------------------------------------------------------------

SPENDS = (Limit("per_run_usd", "run", 10), Limit("per_thread_usd", "thread", 10))


def threads(purse: Purse) -> list[str | None]:
    return [claim.owner for _, claims in purse.places for claim in claims if claim.limit == "per_thread_usd"]


@pytest.mark.parametrize(
    ("config", "around", "metadata", "thread"),
    [
        ({"configurable": {"thread_id": "a"}}, {"thread_id": "b"}, {"thread_id": "c"}, ["a"]),
        ({"configurable": {}}, {"thread_id": "b"}, {"thread_id": "c"}, ["b"]),
        ({}, {}, {"thread_id": "c"}, ["c"]),
        ({}, None, {"thread_id": 7}, ["7"]),
        ({}, None, {}, []),
    ],
)
def test_the_thread_is_the_calls_own_else_that_around_it_else_the_metadatas(
    config: Any, around: Any, metadata: Any, thread: list[str]
) -> None:
    token = var_child_runnable_config.set(None if around is None else {"configurable": around})
    try:
        assert threads(purse_of(Budget(SPENDS), config, metadata)) == thread
    finally:
        var_child_runnable_config.reset(token)


def test_a_run_is_what_the_nodes_of_an_invocation_have_in_common() -> None:
    budget, one, other = Budget(SPENDS), object(), object()

    def account(config: Any) -> Any:
        return purse_of(budget, config, {}).places[0][0]

    def running(control: Any) -> dict[str, Any]:
        return {"configurable": {"__pregel_runtime": SimpleNamespace(control=control)}}

    mine = account(running(one))
    assert account(running(one)) is mine
    assert account(running(other)) is not mine
    assert account({}) is not account({})
    assert account({"configurable": {"__pregel_runtime": object()}}) is not mine
    token = var_child_runnable_config.set(running(one))  # type: ignore[arg-type]
    try:
        assert account({}) is mine
        assert account(running(other)) is account(running(other)) is not mine
    finally:
        var_child_runnable_config.reset(token)


def test_metadata_says_whose_key_it_is() -> None:
    budget = Budget([Limit("keys.tenant.per_day_usd", "key", 10, "tenant")])
    ((_, (claim,)),) = purse_of(budget, {}, {"tenant": "acme"}).places
    assert claim.owner == "acme"


# Policies ------------------------------------------------------------------------------------------------


def test_the_limits_of_a_policy_are_those_it_states_in_pico_dollars() -> None:
    written = BudgetPolicy.model_validate(
        {
            "per_call_usd": 0.1,
            "per_run_usd": 0.2,
            "per_thread_usd": 0.3,
            "per_day_usd": 0.4,
            "keys": {"tenant": {"per_day_usd": 0.5}, "user": {"per_day_usd": 0.0}},
            "approve_above_usd": 0.6,
        }
    )
    assert limits_of(written) == (
        Limit("per_call_usd", "call", 10**11),
        Limit("per_run_usd", "run", 2 * 10**11),
        Limit("per_thread_usd", "thread", 3 * 10**11),
        Limit("per_day_usd", "day", 4 * 10**11),
        Limit("keys.tenant.per_day_usd", "key", 5 * 10**11, "tenant"),
        Limit("keys.user.per_day_usd", "key", 0, "user"),
    )
    assert limits_of(BudgetPolicy(approve_above_usd=0.6)) == ()


def made(budget: dict[str, Any], *models: Any, store: Any = None, **policy: Any) -> Budget | None:
    """Return the budget of a policy with one tier of these models."""
    specs = [{"model": ScriptedChatModel(reply="Yes."), "name": name, **spec} for name, spec in models]
    written = {"tiers": {"small": {"models": specs}}, "budget": budget, **policy}
    loaded = Policy.load(written)
    return budget_of(loaded, Endpoints(loaded), store)


PRICED = {"price": {"input": 1.0, "output": 4.0}}  # 0.016 USD at worst with an empty prompt
CHEAP = {"price": {"input": 1.0, "output": 1.0}}  # 0.004


def test_a_policy_without_a_limit_has_no_budget_and_one_with_has_it_over_the_store() -> None:
    assert made({"approve_above_usd": 0.1}, ("own", {})) is None
    store = Memory()
    budget = made({"per_day_usd": 0.5, "per_run_usd": 0.016}, ("a", PRICED), store=store)
    assert budget is not None
    assert budget.store is store
    assert budget.limits == (
        Limit("per_run_usd", "run", pico_of(0.016)),
        Limit("per_day_usd", "day", pico_of(0.5)),
    )


def problems(*given: Any, **policy: Any) -> list[tuple[str, str, str, str]]:
    with pytest.raises(PolicyError) as caught:
        made(*given, **policy)
    return [(p.path, p.value, p.message, p.remedy) for p in caught.value.problems]


def test_every_endpoint_without_a_price_is_named_with_what_to_write() -> None:
    told = problems({"per_day_usd": 1.0}, ("a", PRICED), ("b", {}), ("c", {}))
    remedy = "State `price: {input: …, output: …}` in USD per million tokens, 0 where it is free."
    assert told == [
        (
            f"tiers.small.models[{index}].price",
            "null",
            f"the price of `{name}` is unknown, so that no budget, nor a shadow's, can hold its calls",
            remedy,
        )
        for index, name in ((1, "b"), (2, "c"))
    ]


def test_a_limit_below_the_cheapest_call_of_a_step_is_told_once_with_its_figures() -> None:
    told = problems(
        {"per_call_usd": 0.003, "per_run_usd": 0.004, "keys": {"tenant": {"per_day_usd": 0.001}}},
        ("a", PRICED),
        ("b", CHEAP),
    )
    message = "below what one call of default may cost: 0.004000 USD on `b`, its cheapest endpoint"
    remedy = "Raise it, or limit the replies: `settings: {max_tokens: …}` of the model."
    assert told == [
        ("budget.per_call_usd", "0.003", message, remedy),
        ("budget.keys.tenant.per_day_usd", "0.001", message, remedy),
    ]


def test_a_limit_that_is_short_by_a_part_of_a_pico_dollar_is_too_low_too() -> None:
    price = {"price": {"input": 0.0, "output": 3.5e-10}}  # 1.4 pico-dollars for 4,000 tokens: 2 are reserved
    ((path, *_),) = problems({"per_call_usd": 1e-12}, ("a", price))
    assert path == "budget.per_call_usd"
    assert made({"per_call_usd": 2e-12}, ("a", price)) is not None


def test_each_limit_names_the_first_step_it_is_too_low_for_at_that_steps_own_length() -> None:
    steps = {
        "short": {"cascade": ["small"], "expected_output_tokens": 50},
        "long": {"cascade": ["small"], "expected_output_tokens": 1000},
    }
    told = problems({"per_day_usd": 0.01, "per_run_usd": 0.001}, ("a", PRICED), steps=steps)
    assert [(path, message.partition(" may")[0]) for path, _, message, _ in told] == [
        ("budget.per_run_usd", "below what one call of steps.short"),
        ("budget.per_day_usd", "below what one call of steps.long"),
    ]


def test_an_endpoint_that_a_step_may_not_use_makes_no_limit_high_enough() -> None:
    local = {"cascade": ["small"], "boundary": ["local"]}
    models = (("near", {**PRICED, "boundary": "local"}), ("far", {**CHEAP, "boundary": "hosted"}))
    told = problems({"per_day_usd": 0.01}, *models, steps={"private": local})
    assert [message.partition(":")[2] for _, _, message, _ in told] == [
        " 0.016000 USD on `near`, its cheapest endpoint"
    ]


def shadowing(shadow: dict[str, Any], *models: Any) -> Policy:
    """Return a policy of two tiers of which the top one, of these models, is asked as well."""
    specs = [{"model": ScriptedChatModel(reply="Yes."), "name": name, **spec} for name, spec in models]
    small = {"model": ScriptedChatModel(reply="Yes."), "name": "small"}
    tiers = {"small": {"models": [small]}, "large": {"models": specs}}
    steps = {"answer": {"cascade": ["small", "large"], "verify": "no_refusal"}}
    return Policy.load({"tiers": tiers, "steps": steps, "shadow": {"step": "answer", "share": 0.1, **shadow}})


def test_a_shadow_has_a_budget_of_its_own_over_the_store() -> None:
    (shadow,) = shadowing({"per_day_usd": 0.5}, ("a", PRICED)).shadow
    store = Memory()
    budget = shadow_budget(shadow, store)
    assert budget.store is store
    assert budget.limits == (Limit("shadow.per_day_usd", "shadow", pico_of(0.5), "answer"),)


@pytest.mark.parametrize(
    ("shadow", "models", "expected"),
    [
        ({}, [("a", PRICED)], []),
        ({"per_day_usd": 0.004}, [("a", PRICED), ("b", CHEAP)], []),
        ({"per_day_usd": 0.0039}, [("a", PRICED), ("b", CHEAP)], ["shadow[0].per_day_usd"]),
        ({}, [("a", PRICED), ("b", {})], ["tiers.large.models[1].price"]),
        ({"compare": {"judge": {"tier": "small"}}}, [("a", PRICED)], ["tiers.small.models[0].price"]),
    ],
)
def test_a_shadow_that_its_budget_cannot_hold_is_told_once(
    shadow: dict[str, Any], models: list[Any], expected: list[str]
) -> None:
    policy = shadowing(shadow, *models)
    assert [problem.path for problem in budget_problems(policy, Endpoints(policy))] == expected
