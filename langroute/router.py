"""The validated whole: a policy, its endpoints and its planner bound together. Every door holds one."""

import time
from collections.abc import Callable
from typing import Any

from langchain_core.embeddings import Embeddings

from langroute.cascade import Plan
from langroute.decision import StepAnswer
from langroute.effects import Flow, run
from langroute.endpoints import Endpoints
from langroute.policy import Policy, StepPolicy
from langroute.request import Request
from langroute.routing.intent import Embedder
from langroute.routing.plan import Planner
from langroute.steps import StepFinder
from langroute.verifiers.base import Verifier

__all__ = ["Router"]


class Router:
    """Binds a policy to the endpoints it names; holds nothing of any call.

    Args:
        policy: A checked policy.
        embeddings: For intents and example-based step classification; needed when the policy has either.
        embeddings_boundary: Where the embeddings run, as a policy's boundaries are named.
        clock: Monotonic seconds; injected by tests.

    Raises:
        PolicyError: The policy compares examples and no embeddings were given.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        embeddings: Embeddings | None = None,
        embeddings_boundary: str = "hosted",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.policy = policy
        self.endpoints = Endpoints(policy)
        self.clock = clock
        embedder = Embedder(embeddings, embeddings_boundary) if embeddings is not None else None
        self.finder = StepFinder(policy, self.endpoints, embedder)
        self.planner = Planner(policy, self.endpoints, embedder)
        self._checks = {name: _in_order(step) for name, step in policy.steps.items()}
        self._default_checks = _in_order(policy.default)
        self._ranks = {tier: rank for rank, tier in enumerate(policy.tiers)}

    def rank(self, tier: str) -> int:
        """Return the position of a tier, 0 the cheapest."""
        return self._ranks[tier]

    def checks(self, step: str) -> tuple[Verifier, ...]:
        """Return the step's verifiers in the order in which they check: those that are free go first."""
        return self._checks.get(step, self._default_checks)

    def decide(self, request: Request) -> Flow[tuple[StepAnswer, Plan]]:
        """Return, as a flow, which step the request is and how it would be answered."""
        answer = yield from self.finder.find(request)
        plan = yield from self.planner.plan(request, answer)
        return answer, plan

    def plan(self, request: Request) -> Plan:
        """Return how the request would be answered, in the calling thread.

        Raises:
            NoEndpointAvailable: Nothing of the step's plan may be called for this request.
        """
        _, plan = run(self.decide(request))
        return plan

    def connect(self) -> None:
        """Build every endpoint's client now, so that a missing key or package is known before the first call.

        Raises:
            EndpointError: A client cannot be built; the message names the variable or the install line.
        """
        self.endpoints.connect()

    def primary(self, step: str | None) -> Any:
        """Return the endpoint that stands for a step where one model must: its first rung's first."""
        policy = self.policy.step(step) if step is not None else self.policy.default
        return self.endpoints.tier(policy.cascade[0])[0]


def _in_order(step: StepPolicy) -> tuple[Verifier, ...]:
    return tuple(sorted(step.verify, key=lambda verifier: verifier.asks))
