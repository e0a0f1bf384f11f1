"""What a call costs: every token at its price, and unknown is never 0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langroute.cost import Price, Usage, total_usd

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
