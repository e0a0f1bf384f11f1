"""What a call costs: every token at its price, and unknown is never 0."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langroute.cost import Price, Usage, reported_usd, total_usd

counts = st.integers(0, 10**7)


def test_every_kind_of_token_is_paid_at_its_own_price():
    price = Price(input=2.0, output=10.0, cache_read=0.5, cache_write=4.0)

    assert price.cost_usd(Usage(1_000, 100, 400, 100, 60)) == pytest.approx(0.0010 + 0.0002 + 0.0004 + 0.0010)


def test_without_a_cache_price_cached_tokens_cost_what_input_costs():
    assert Price(2.0, 10.0).cost_usd(Usage(1_000, 0, 400, 100)) == pytest.approx(0.002)


def test_a_cache_price_of_zero_is_a_price():
    assert Price(2.0, 10.0, cache_read=0.0).cost_usd(Usage(1_000, 0, 400)) == pytest.approx(0.0012)


def test_reasoning_tokens_are_output_tokens_and_not_paid_twice():
    price = Price(2.0, 10.0)

    assert price.cost_usd(Usage(0, 100, reasoning_tokens=80)) == price.cost_usd(Usage(0, 100))


@given(counts, counts, counts, counts)
def test_no_usage_costs_less_than_nothing(input_tokens, output_tokens, read, written):
    assert Price(2.0, 10.0, 0.5, 4.0).cost_usd(Usage(input_tokens, output_tokens, read, written)) >= 0


def test_a_sum_with_a_hole_is_unknown():
    assert total_usd([0.1, None, 0.2]) is None
    assert total_usd([0.1, 0.2]) == pytest.approx(0.3)
    assert total_usd([]) == 0


# What a provider says ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "usd"),
    [
        ({"token_usage": {"cost": 0.0012, "cost_details": {"upstream_inference_cost": 0.0012}}}, 0.0012),
        ({"token_usage": {"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}}, 19.95),
        ({"cost": 0.0012, "cost_details": None}, 0.0012),
        ({"cost": 0, "cost_details": {"upstream_inference_cost": 0.5}}, 0.5),
        ({"response_cost": 0.25}, 0.25),
        ({"headers": {"x-litellm-response-cost": "2.85e-05"}}, 2.85e-05),
    ],
    ids=["openrouter", "openrouter, own key", "ChatOpenRouter", "its fee waived", "ChatLiteLLM", "proxy"],
)
def test_a_providers_own_cost_is_read_where_it_says_it(metadata, usd):
    assert reported_usd(metadata) == pytest.approx(usd)


NO_COSTS = [-0.01, math.nan, math.inf, 1e9, True, "0.01", None, [0.01], {"usd": 1}, 10**400, 0]


@pytest.mark.parametrize("told", NO_COSTS, ids=lambda told: str(told)[:12])
def test_what_can_be_no_cost_is_passed_over(told):
    for metadata in ({"token_usage": {"cost": told}}, {"cost": told}, {"response_cost": told}):
        assert reported_usd(metadata) is None
    assert reported_usd({"cost": 0.01, "cost_details": {"upstream_inference_cost": told}}) == 0.01


@pytest.mark.parametrize("written", ["", "None", "nan", "-1", "inf", "0.0", "1e9", "9" * 5_000, 0.01, None])
def test_a_header_that_holds_no_cost_is_passed_over(written):
    assert reported_usd({"headers": {"x-litellm-response-cost": written}}) is None
    assert reported_usd({"headers": "x-litellm-response-cost", "token_usage": "cost"}) is None
