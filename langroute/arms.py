"""A policy and its canary side by side: two routers at one door, and by which of them a call goes.

A thread stays in its arm, for a digest of its id draws it. So does a run without a thread; a call without
either is drawn by its own id.
"""

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from langroute.chance import place
from langroute.endpoints import Endpoint
from langroute.errors import PolicyError
from langroute.keeping import run_of, thread_of
from langroute.policy import Policy
from langroute.router import Router
from langroute.shadowing import shadowed

__all__ = ["CANARY", "MAIN", "Arms", "Drawn"]

MAIN, CANARY = "main", "canary"
"""The arms, as `Plan.arm` names them."""


class Drawn(NamedTuple):
    """By which router a call goes."""

    router: Router
    call_id: str | None = None
    """The call's id, where that has drawn it."""


class Arms:
    """The router of a policy, and that of its canary where it has one.

    The two share budgets and, of the same models, circuit breakers.

    Args:
        main: The one router.
        canary: The other; None for a router alone.
        share: Share of the threads that the other gets.
    """

    def __init__(self, main: Router, canary: Router | None = None, share: float = 0.0) -> None:
        self.main, self.canary = main, canary
        self._share, self._alone = share, Drawn(main)

    @classmethod
    def of(cls, policy: Policy, **how: Any) -> "Arms":
        """Return the arms of a policy.

        Args:
            policy: A checked policy.
            **how: What `langroute.router.Router` takes.

        Raises:
            PolicyError: As `Router`; or the canary's policy cannot work, which the message names.
        """
        written = policy.canary
        if written is None:
            return cls(shadowed(Router(policy, **how)))
        main = shadowed(Router(policy, arm=(MAIN, 1 - written.share), **how))
        how |= {"ledger": main.ledger, "accounts": None if main.budget is None else main.budget.store}
        try:
            canary = shadowed(Router(written.policy.policy, arm=(CANARY, written.share), **how))
        except PolicyError as error:
            raise PolicyError(error.problems, f"canary {written.policy.path}") from None
        if main.ledger is None:  # with one, all routers share what they know of an endpoint
            _share_breakers(main, canary)
        return cls(main, canary, written.share)

    @property
    def all(self) -> tuple[Router, ...]:
        """Both routers, or the only one."""
        return (self.main,) if self.canary is None else (self.main, self.canary)

    def connect(self) -> None:
        """Build every endpoint's client now.

        Raises:
            EndpointError: A client cannot be built.
        """
        for router in self.all:
            router.connect()

    def draw(self, config: RunnableConfig, metadata: Mapping[str, Any]) -> Drawn:
        """Return by which router a call with this config goes."""
        if self.canary is None:
            return self._alone
        around, own = var_child_runnable_config.get(), None
        if (thread := thread_of(config, around, metadata)) is not None:
            key = f"thread {thread}"
        elif (run := run_of(config, around, metadata)) is not None:
            key = f"run {run}"
        else:
            own = f"{random.getrandbits(128):032x}"  # as every call's id
            key = f"call {own}"
        return Drawn(self.canary if self._is_canarys(key) else self.main, own)

    def named(self, arm: str | None) -> Router:
        """Return the router of an arm; the main one for what was planned before there was a canary."""
        return self.canary if arm == CANARY and self.canary is not None else self.main

    def _is_canarys(self, key: str) -> bool:
        canary: Any = self.canary
        return place((canary.policy.digest, " ", key), "canary") < self._share


def _share_breakers(main: Router, canary: Router) -> None:
    for name, endpoint in canary.endpoints.by_name.items():
        known = main.endpoints.by_name.get(name)
        if known is not None and _same(endpoint, known):
            canary.breakers.share(name, main.breakers)


def _same(one: Endpoint, other: Endpoint) -> bool:
    """Whether two endpoints are the same model at the same place; given models are the same object."""
    if isinstance(one.spec.model, str):
        return one.spec.model == other.spec.model and one.spec.settings == other.spec.settings
    return one.spec.model is other.spec.model
