"""Whether a conversation stays on the endpoint that holds its cached prefix, in dollars."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langroute.health import Obstacle
from langroute.request import Request

PREFIX_TOKENS = 10_000 + 3 + 25 + 3  # question and reply, at 4 characters and 3 a message
PROMPT_TOKENS = PREFIX_TOKENS + 5 + 3


def conversation(endpoint):
    reply = AIMessage("r" * 100, response_metadata={"langroute": {"endpoint": endpoint}} if endpoint else {})
    return Request((HumanMessage("q" * 40_000), reply, HumanMessage("And then what now?!!")))


def start(plan):
    return plan.rungs[0].tier, plan.rungs[0].choices[0].endpoint


def test_short_reply_makes_the_cached_prefix_worth_staying_for(make_policy, plan):
    made = plan(make_policy("small", "large", step={"expected_output_tokens": 50}), conversation("large"))
    assert [rung.tier for rung in made.rungs] == ["large"]
    stay_usd = (PREFIX_TOKENS * 0.125 + 8 * 1.25 + 50 * 10) / 1e6
    leave_usd = (PROMPT_TOKENS * 0.25 + 50 * 2) / 1e6
    assert made.rungs[0].choices[0].expected_usd == pytest.approx(stay_usd)
    assert made.reasons[-1] == (
        f"stays on large: ${leave_usd:.6f} on small against ${stay_usd:.6f} with 10,031 of 10,039"
        " tokens cached, not cheaper by more than 10%"
    )


def test_long_reply_makes_leaving_the_cached_prefix_pay(make_policy, plan):
    made = plan(make_policy("small", "large", step={"expected_output_tokens": 500}), conversation("large"))
    assert [rung.tier for rung in made.rungs] == ["small", "large"]
    assert made.rungs[0].choices[0].expected_usd == pytest.approx((PROMPT_TOKENS * 0.25 + 500 * 2) / 1e6)
    assert made.reasons[-1].startswith("leaves large: $0.003510 on small against $0.006264")


def test_margin_of_the_policy_decides_a_near_thing(make_policy, plan):
    # A reply of 200 tokens makes the small one 10.8 % cheaper: $0.002910 against $0.003264.
    policies = [
        make_policy("small", "large", step={"expected_output_tokens": 200}, cache_margin=m)
        for m in (0.1, 0.2)
    ]
    assert [start(plan(policy, conversation("large")))[0] for policy in policies] == ["small", "large"]


def test_holder_goes_first_in_its_own_tier_whatever_the_price(make_policy, plan, endpoint):
    models = [endpoint("first", price=None), endpoint("second", price=None)]
    made = plan(make_policy("small", "large", tiers={"small": {"models": models}}), conversation("second"))
    assert [choice.endpoint for choice in made.rungs[0].choices] == ["second", "first"]
    assert [rung.tier for rung in made.rungs] == ["small", "large"]
    assert made.reasons[-1] == "stays on second: its prompt cache holds 10,031 of 10,039 tokens"


def test_unknown_price_keeps_nobody_on_a_dearer_tier(make_policy, plan, endpoint):
    tiers = {"large": {"models": [endpoint("large", "large", price=None)]}}
    made = plan(make_policy("small", "large", tiers=tiers), conversation("large"))
    assert start(made) == ("small", "small")
    assert made.reasons[-1].endswith("the price of large is unknown")


def test_staying_never_undercuts_what_a_rule_demands(make_policy, plan):
    policy = make_policy("small", "large", rules=[{"when": {}, "start": "large"}])
    made = plan(policy, conversation("small"))
    assert start(made) == ("large", "large")
    assert (
        made.reasons[-1]
        == "leaves small, which answered the last turn: it is not among this plan's endpoints"
    )


def test_holder_outside_the_cascade_or_its_limits_is_not_used(make_policy, plan):
    assert start(plan(make_policy("small", "medium"), conversation("large"))) == ("small", "small")
    policy = make_policy("small", "large", step={"expected_output_tokens": 50})
    down = plan(
        policy,
        conversation("large"),
        unavailable=lambda e: Obstacle("down", 9.0) if e.name == "large" else None,
    )
    assert start(down) == ("small", "small")


def test_reply_of_an_unknown_model_holds_nothing(make_policy, plan):
    made = plan(make_policy("small", "large", step={"expected_output_tokens": 50}), conversation(None))
    assert start(made) == ("small", "small")
    assert made.reasons == ("work is bound to small, then large",)
