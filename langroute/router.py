"""The validated whole: a policy, its endpoints, their health and its planner. Every door holds one."""

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from langroute.accounts import Store
from langroute.budget import Purse
from langroute.cascade import Plan
from langroute.decision import Decision, StepAnswer
from langroute.effects import Flow, Io, run
from langroute.endpoints import Endpoint, Endpoints
from langroute.errors import PolicyError
from langroute.functions import Functions
from langroute.health import Health, Obstacle
from langroute.keeping import Keeper, thread_of
from langroute.observe import LISTENERS, Scene, notify, publish
from langroute.policy import Policy
from langroute.registering import functions_of, unregistered
from langroute.request import Request
from langroute.routing.intent import Embedder
from langroute.routing.plan import Planner
from langroute.routing.questions import DecisionModel
from langroute.spending import budget_of, purse_of
from langroute.steps import StepFinder
from langroute.timing import ABANDONED
from langroute.verifiers.base import Verifier

if TYPE_CHECKING:
    from langroute.ledger.ledger import Ledger

__all__ = ["LEDGER_VARIABLE", "Router", "Shadowing"]

LEDGER_VARIABLE = "LANGROUTE_LEDGER"
"""The environment variable that names the ledger of routers that are given none."""


class Shadowing(Protocol):
    """Looks at replies that were returned."""

    def offer(self, request: Request, decision: Decision, reply: AIMessage) -> None:
        """Take note of one; it neither waits nor raises."""


class Router:
    """Binds a policy to the endpoints it names; of calls it holds how healthy they found each endpoint.

    Args:
        policy: A checked policy.
        embeddings: For intents and example-based step classification; needed when the policy has either.
        embeddings_boundary: Where the embeddings run, as a policy's boundaries are named.
        classifier: A decision model of LangChain's (core 1.8 and newer) that names the step of a call.
        difficulty_classifier: One that scores the difficulty for steps with a threshold, in place of our own.
        classifiers_boundary: Where the two run.
        ledger: Where every decision is kept, and budgets and circuit breakers for all processes: a `Ledger`,
            or what it takes: a URL or a path. Without it that of the environment's `LANGROUTE_LEDGER`;
            without either, no decision is kept, and budgets and breakers are this router's.
        accounts: Where budgets are kept where there is no ledger: those of a router to share them with.
        arm: Which of two policies side by side this one is, and how likely a thread is to come to it.
        functions: Name to function, for the `{function: name}` of the policy: before a step's models it takes
            a `langroute.request.Request` and returns a text, an `AIMessage` or None, which is no answer; in
            `verify` it takes a `langroute.verifiers.Case`. Sync or async.
        clock: Monotonic seconds; injected by tests.
        rng: Random numbers in [0, 1), for the jitter of the breakers; injected by tests.

    Raises:
        PolicyError: The policy compares examples and no embeddings were given; or it names a function that
            nobody registered; or it has a budget that an endpoint without a price would go round, or that is
            below the cost of any call of a step.
        LedgerError: The ledger cannot be opened.
        TypeError: What was given as a classifier is no decision model.
        ImportError: One was given, and the installed langchain-core is older than 1.8.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        embeddings: Embeddings | None = None,
        embeddings_boundary: str = "hosted",
        classifier: Any = None,
        difficulty_classifier: Any = None,
        classifiers_boundary: str = "hosted",
        ledger: Any = None,
        accounts: Store | None = None,
        arm: tuple[str | None, float] = (None, 1.0),
        functions: Functions | None = None,
        clock: Callable[[], float] = time.perf_counter,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.policy = policy
        self.functions = functions or {}
        """What was registered from Python, by name."""
        if problems := unregistered(policy, self.functions):
            raise PolicyError(problems)
        self.endpoints = Endpoints(policy, self.functions)
        self.clock = clock
        self.breakers = Health(self.endpoints.by_name, clock=clock, rng=rng)
        self.ledger = _ledger(ledger)
        """Where every decision is kept; None where nobody asked for it."""
        self.keeper = None if self.ledger is None else Keeper(self.ledger, policy, self.endpoints)
        _share(self.ledger, self.breakers, self.endpoints)
        self.budget = budget_of(policy, self.endpoints, _accounts(self.ledger) or accounts)
        """What may be spent; None where the policy states no limit."""
        embedder = Embedder(embeddings, embeddings_boundary) if embeddings is not None else None
        where = (classifiers_boundary, policy.classify.timeout_s)
        steps = DecisionModel.of(classifier, "classifier", *where)
        difficulty = DecisionModel.of(difficulty_classifier, "difficulty_classifier", *where)
        self.finder = StepFinder(policy, self.endpoints, embedder, steps)
        self.planner = Planner(
            policy,
            self.endpoints,
            embedder,
            difficulty_model=difficulty,
            unavailable=self._obstacle,
            arm=arm,
        )
        self.shadows: Shadowing | None = None
        """Asks the top tier as well, now and then: see `langroute.shadowing`, which sets it."""
        self._checks = {name: _in_order(step.verify) for name, step in policy.steps.items()}
        self._default_checks = _in_order(policy.default.verify)
        self._ranks = dict.fromkeys(functions_of(policy), -1)
        self._ranks |= {tier: rank for rank, tier in enumerate(policy.tiers)}

    def purse(self, config: RunnableConfig, metadata: Mapping[str, Any]) -> Purse | None:
        """Return what a call with this config spends from; None where the policy states no limit."""
        return None if self.budget is None else purse_of(self.budget, config, metadata)

    def tell(
        self,
        request: Request,
        config: RunnableConfig,
        decision: Decision,
        reply: AIMessage | None = None,
        *,
        node: str | None = None,
        template: str | None = None,
        context: Context | None = None,
    ) -> Io | None:
        """Tell observers and ledger of a decision; return what its reply must wait for, None for nothing.

        Args:
            request: What was asked.
            config: The call's config.
            decision: What was decided.
            reply: What is returned, None where nothing is.
            node: The node that stands for all nodes of a drawn step.
            template: Digest of what a drawn step makes its prompt from; None where its messages tell it.
            context: The context in which the step began; None where nobody listened then.
        """
        notify(decision)
        if LISTENERS:
            publish(decision, self._scene(request, config), context)
        if self.shadows is not None and reply is not None:
            self.shadows.offer(request, decision, reply)
        if self.keeper is None:
            return None
        return self.keeper.keep(request, config, decision, reply, node, template)

    def _scene(self, request: Request, config: RunnableConfig) -> Scene:
        """Return what is known of a decision beside its record."""
        thread = thread_of(config, var_child_runnable_config.get(), request.metadata)
        swapped = request.kwargs.get("model")
        return Scene(self.policy.digest, *self._names, None if swapped is None else str(swapped), thread)

    @cached_property
    def _names(self) -> tuple[frozenset[str], Mapping[str, tuple[str, str]]]:
        """The policy's steps, and provider and model of each endpoint."""
        models = {name: (known.provider, known.model_name) for name, known in self.endpoints.by_name.items()}
        return frozenset((*self.policy.steps, "default")), models

    def rank(self, tier: str) -> int:
        """Return the position of a tier, 0 the cheapest; -1 of a function, which is below all."""
        return self._ranks[tier]

    def checks(self, step: str, tier: str | None = None) -> tuple[Verifier, ...]:
        """Return a step's verifiers in the order in which they check: those that are free go first.

        With `tier`, those of its replies: a function may have its own.
        """
        if tier is not None:
            function = self.policy.step(step).cascade.function
            if function is not None and function.function == tier and function.verify is not None:
                return _in_order(function.verify)
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

    def health(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each endpoint's health: see `langroute.health.Health.state`.

        With it stand the endpoint's `identity`, its name and a digest of its credential (never the key), and
        `late_calls`: how many of its calls still run in this process that nobody waits for any more.

        Raises:
            EndpointError: As `connect`.
        """
        return {
            name: {
                "identity": endpoint.identity,
                **self.breakers.state(name),
                "late_calls": ABANDONED.running[name],
            }
            for name, endpoint in self.endpoints.by_name.items()
        }

    def _obstacle(self, endpoint: Endpoint) -> Obstacle | None:
        return self.breakers.obstacle(endpoint.name)

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


def _ledger(where: Any) -> "Ledger | None":
    if where is None and not os.environ.get(LEDGER_VARIABLE):
        return None
    # Imported here: sqlalchemy is for those who keep a ledger.
    from langroute.ledger.ledger import open_ledger

    return open_ledger(where or os.environ[LEDGER_VARIABLE])


def _accounts(ledger: "Ledger | None") -> Store | None:
    if ledger is None:
        return None
    from langroute.ledger.budgets import accounts

    return accounts(ledger.store)


def _share(ledger: "Ledger | None", breakers: Health, endpoints: Endpoints) -> None:
    """Let the breakers share what they know with those of other processes, from the first call on."""
    if ledger is None:
        return
    from langroute.ledger.fleet import fleet

    def identity(endpoint: Endpoint) -> str:
        return endpoint.identity

    shared = ((name, known) for name, known in endpoints.by_name.items() if not known.is_function)
    identities = {name: partial(identity, endpoint) for name, endpoint in shared}
    fleet(ledger.store).join(breakers, identities)


def _in_order(verifiers: Iterable[Verifier]) -> tuple[Verifier, ...]:
    return tuple(sorted(verifiers, key=lambda verifier: verifier.asks))
