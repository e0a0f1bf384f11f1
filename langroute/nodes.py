"""The nodes that a routed step is drawn as: what they are called, and which of them does a move."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langroute.attempts import is_function
from langroute.cascade import Accept, Ask, Call, Move
from langroute.errors import NoEndpointAvailable
from langroute.policy import Policy
from langroute.router import Router
from langroute.targets import BoundSchema, BoundTools

__all__ = ["Nodes"]


@dataclass(frozen=True)
class Nodes:
    """The names of a step's nodes."""

    start: str
    endpoints: Mapping[str, Mapping[str, str]]
    """Tier, cheapest first, to endpoint to node."""
    repairing: bool
    asks: bool
    judged: Collection[str]
    """Tiers whose replies may be rejected."""

    @classmethod
    def of(cls, name: str, routers: Sequence[Router], step: str, binding: Any) -> "Nodes":
        """Return the nodes of a step: those of its policy, and with them those of the policy's canary."""
        each = [cls._of_one(name, router, step, binding) for router in routers]
        tiers = dict.fromkeys(tier for nodes in each for tier in nodes.endpoints)
        endpoints = {
            tier: {end: node for nodes in each for end, node in nodes.endpoints.get(tier, {}).items()}
            for tier in tiers
        }
        judged = {tier for nodes in each for tier in nodes.judged}
        return cls(
            name,
            endpoints,
            any(nodes.repairing for nodes in each),
            any(nodes.asks for nodes in each),
            [tier for tier in tiers if tier in judged],
        )

    @classmethod
    def _of_one(cls, name: str, router: Router, step: str, binding: Any) -> "Nodes":
        """Return the nodes of a step by one policy: every tier that its cascade or its stakes can reach."""
        policy, bound, rank = router.policy, router.policy.step(step), router.rank
        judged = _is_judged(policy, step, binding)
        demanded = (level.tier for level in policy.stakes.levels.values())
        # Stakes may demand what the cascade does not reach; what it reaches they only start higher in.
        function = bound.cascade.function
        functions = () if function is None else (function.function,)
        beyond = (tier for tier in demanded if rank(tier) > rank(bound.cascade[-1]))
        reachable = {*functions, *bound.cascade, *beyond}
        endpoints = {
            tier: {
                endpoint.name: f"{name}.{tier}.{_node_name(endpoint.name)}"
                for endpoint in router.endpoints.allowed(tier, bound.boundary)
            }
            for tier in (*functions, *policy.tiers)
            if tier in reachable
        }
        asks = policy.budget.approve_above_usd is not None or bound.on_exhausted == "ask"
        return cls(name, endpoints, bound.repair > 0 and judged, asks, [*endpoints] if judged else functions)

    @property
    def accept(self) -> str:
        """The node that hands the reply over."""
        return f"{self.start}.accept"

    @property
    def fail(self) -> str:
        """The node that raises what every attempt came to."""
        return f"{self.start}.fail"

    @property
    def approve(self) -> str:
        """The node that asks a person."""
        return f"{self.start}.approve"

    def verify(self, tier: str) -> str:
        """The node that judges a tier's replies."""
        return f"{self.start}.verify.{tier}"

    def repairs(self, tier: str) -> tuple[str, ...]:
        """The tier's repair node, where the step repairs; a function is told nothing."""
        repaired = self.repairing and not any(map(is_function, self.endpoints[tier]))
        return (f"{self.start}.repair.{tier}",) if repaired else ()

    def of_move(self, move: Move) -> str:
        """Return the node that does what `move` says."""
        match move:
            case Call(why="repair"):
                return self.repairs(move.tier)[0]
            case Call():
                return self._of_call(move)
            case Ask():
                return self.approve
            case Accept():
                return self.accept
        return self.fail

    def _of_call(self, call: Call) -> str:
        try:
            return self.endpoints[call.tier][call.endpoint]
        except KeyError:
            raise NoEndpointAvailable(
                f"this run wants to call {call.endpoint} of tier {call.tier}, which the policy no longer has:"
                " put it back until the run has ended, or start the step anew"
            ) from None


def _is_judged(policy: Policy, step: str, binding: Any) -> bool:
    risky = bool(policy.stakes.tools) and isinstance(binding, BoundTools)
    return bool(policy.step(step).verify) or isinstance(binding, BoundSchema) or risky


def _node_name(endpoint: str) -> str:
    """Return an endpoint's name as LangGraph takes it: `:` and `|` are its own."""
    return endpoint.replace(":", "/").replace("|", "/")
