"""A step that explores starts at every tier it may, with the chance it records, and at no other."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langroute import Policy, PolicyError, RoutedChatModel
from langroute.advice import warnings
from langroute.cascade import Plan
from langroute.request import Request

Make = Callable[..., Policy]
PlanOf = Callable[..., Plan]


def asked(number: int, **metadata: Any) -> Request:
    return Request((HumanMessage(f"question {number}"),), metadata=metadata)


def starts(plans: list[Plan]) -> Counter[str]:
    return Counter(plan.rungs[0].tier for plan in plans)


def chances(plans: Iterable[Plan]) -> set[float]:
    return {round(plan.propensity, 9) for plan in plans}


def test_every_tier_starts_as_often_as_the_record_says(make_policy: Make, plan: PlanOf) -> None:
    policy = make_policy(step={"explore": 0.05})
    plans = [plan(policy, asked(number)) for number in range(4000)]
    found = starts(plans)
    for tier, chance in (("small", 0.9), ("medium", 0.05), ("large", 0.05)):
        assert found[tier] / 4000 == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 4000) ** 0.5)
        assert chances(p for p in plans if p.rungs[0].tier == tier) == {chance}
    assert "explores: starts at large, which had a chance of 0.05" in [r for p in plans for r in p.reasons]


def test_the_same_request_is_decided_alike_and_another_thread_anew(make_policy: Make, plan: PlanOf) -> None:
    policy = make_policy(step={"explore": 0.1})
    assert len({plan(policy, asked(3)).rungs for _ in range(5)}) == 1
    assert len({plan(policy, asked(3, thread_id=str(thread))).rungs for thread in range(200)}) == 3


def test_no_tier_below_what_stakes_or_rules_demand_is_explored(make_policy: Make, plan: PlanOf) -> None:
    rules = [{"name": "vip", "when": {"metadata": {"user": "gold"}}, "start": "medium"}]
    policy = make_policy(
        step={"explore": 0.1}, rules=rules, stakes={"high": {"tier": "large"}, "some": {"tier": "medium"}}
    )
    ruled = [plan(policy, asked(number, user="gold")) for number in range(500)]
    assert set(starts(ruled)) == {"medium", "large"}
    assert chances(ruled) == {0.9, 0.1}
    high = [plan(policy, asked(number, langroute_stakes="high")) for number in range(200)]
    assert set(starts(high)) == {"large"}
    assert chances(high) == {1.0}


def test_a_boundary_is_never_crossed_to_explore(
    make_policy: Make, plan: PlanOf, endpoint: Callable[..., dict[str, Any]]
) -> None:
    near = {tier: {"models": [endpoint(tier, boundary="local")]} for tier in ("small", "medium")}
    mixed = {"models": [endpoint("large", boundary="hosted"), endpoint("inner", boundary="local")]}
    policy = make_policy(step={"explore": 0.15, "boundary": ["local"]}, tiers={**near, "large": mixed})
    plans = [plan(policy, asked(number)) for number in range(300)]
    assert set(starts(plans)) == {"small", "medium", "large"}
    assert "large" not in {choice.endpoint for p in plans for rung in p.rungs for choice in rung.choices}


def test_a_conversation_is_left_with_the_endpoint_that_holds_it(make_policy: Make, plan: PlanOf) -> None:
    policy = make_policy(step={"explore": 0.15})
    for number in range(100):
        reply = AIMessage("ok", response_metadata={"langroute": {"endpoint": "small"}})
        found = plan(policy, Request((HumanMessage(f"q{number}"), reply, HumanMessage("more"))))
        assert (found.rungs[0].tier, found.propensity) == ("small", 1.0)


def test_a_hard_request_may_start_below_where_its_score_would(make_policy: Make, plan: PlanOf) -> None:
    policy = make_policy(step={"explore": 0.15, "route": {"difficulty": {"threshold": 0.0}}})
    found = [plan(policy, asked(number)) for number in range(300)]
    assert set(starts(found)) == {"small", "medium", "large"}
    assert starts(found).most_common(1)[0][0] == "medium"


def test_without_explore_nothing_is_drawn(make_policy: Make, plan: PlanOf) -> None:
    plans = [plan(make_policy(), asked(number)) for number in range(50)]
    assert {(p.rungs[0].tier, p.propensity) for p in plans} == {("small", 1.0)}


def test_the_reply_says_how_likely_its_start_was(make_policy: Make) -> None:
    model = RoutedChatModel(make_policy(step={"explore": 0.1})).for_step("work")
    found = [model.invoke(f"question {n}").response_metadata["langroute"]["propensity"] for n in range(60)]
    assert {round(chance, 9) for chance in found} == {0.1, 0.8}


@pytest.mark.parametrize("share", [0.2, 0.0, -0.1, 1.0, True, "0.02"])
def test_a_share_that_leaves_no_policy_is_refused(make_policy: Make, share: Any) -> None:
    with pytest.raises(PolicyError, match="explore"):
        make_policy(step={"explore": share})


def test_exploring_one_tier_is_told_to_be_of_no_use(make_policy: Make) -> None:
    found = warnings(make_policy("large", step={"explore": 0.02}))
    assert any("explores nothing" in str(problem) for problem in found)
