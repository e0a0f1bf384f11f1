"""A policy of three tiers in process, and the plan it makes of a request."""

from collections.abc import Callable
from typing import Any

import pytest

from langroute.cascade import Plan
from langroute.decision import StepAnswer
from langroute.effects import run
from langroute.endpoints import Endpoints
from langroute.policy import Policy
from langroute.request import Request
from langroute.routing.plan import Planner
from langroute.testing import ScriptedChatModel

PRICES = {
    "small": {"input": 0.25, "output": 2.0, "cache_read": 0.025},
    "medium": {"input": 0.5, "output": 4.0, "cache_read": 0.05},
    "large": {"input": 1.25, "output": 10.0, "cache_read": 0.125},
}


def model(name: str, tier: str = "small", **spec: Any) -> dict[str, Any]:
    """One endpoint of a policy; no price where `price` is None."""
    spec.setdefault("price", PRICES[tier])
    return {"model": ScriptedChatModel(name=name, reply="ok"), "name": name, **spec}


@pytest.fixture
def endpoint() -> Callable[..., dict[str, Any]]:
    return model


@pytest.fixture
def make_policy() -> Callable[..., Policy]:
    """Three tiers of one endpoint each, named after them, and one step `work` bound to `cascade`."""

    def make(
        *cascade: str, step: dict[str, Any] | None = None, tiers: dict[str, Any] | None = None, **rest: Any
    ) -> Policy:
        known = {tier: {"models": [model(tier, tier)]} for tier in PRICES}
        work = {"cascade": cascade or ("small", "medium", "large"), **(step or {})}
        return Policy(tiers={**known, **(tiers or {})}, steps={"work": work}, **rest)

    return make


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """The plan of a request in the step `work`."""

    def make(policy: Policy, request: Request, **kwargs: Any) -> Plan:
        answer = kwargs.pop("answer", StepAnswer("work", "said", "said by the caller"))
        return run(Planner(policy, Endpoints(policy), **kwargs).plan(request, answer))

    return make
