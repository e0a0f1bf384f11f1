"""What no preference can overrule: boundary, capability, context window; and after them the expected time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langroute.health import Obstacle
from langroute.request import Request

if TYPE_CHECKING:
    from langroute.endpoints import Endpoint

__all__ = ["Candidates", "in_time", "reachable", "within_boundary"]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Endpoints of one tier that are still in the running, first choice first."""

    tier: str
    rank: int
    """Position of the tier in the policy, 0 for the cheapest."""
    endpoints: tuple["Endpoint", ...]


def within_boundary(
    tier: Candidates, allowed: Iterable[str] | None, step: str
) -> tuple[Candidates, tuple[str, ...]]:
    """Return the tier without the endpoints that run where `step` may not go, and why each is skipped."""
    if allowed is None:
        return tier, ()
    inside = tuple(endpoint for endpoint in tier.endpoints if endpoint.boundary in allowed)
    reasons = tuple(
        f"skipped {endpoint.name}: boundary {endpoint.boundary} is not one that {step} allows"
        for endpoint in tier.endpoints
        if endpoint.boundary not in allowed
    )
    return Candidates(tier.tier, tier.rank, inside), reasons


def reachable(
    tiers: Iterable[Candidates],
    request: Request,
    output_tokens: int,
    unavailable: Callable[["Endpoint"], Obstacle | None] | None,
    reasons: list[str],
    too_dear: Callable[["Endpoint"], str | None] | None = None,
) -> list[Candidates]:
    """Return the tiers that can take the request, and add to `reasons` why each endpoint was passed over.

    Where all that could take it are unavailable for now, the one that is back first stays.
    """
    left: list[Candidates] = []
    out: list[tuple[float, Candidates]] = []
    for tier in tiers:
        kept: list[Endpoint] = []
        for endpoint in tier.endpoints:
            why = endpoint.lacks(request) or endpoint.too_small(request, output_tokens)
            if why is None and too_dear is not None:
                why = too_dear(endpoint)
            if why is None and unavailable is not None and (obstacle := unavailable(endpoint)) is not None:
                why = obstacle.reason
                out.append((obstacle.wait_s, Candidates(tier.tier, tier.rank, (endpoint,))))
            if why is None:
                kept.append(endpoint)
            else:
                reasons.append(f"skipped {endpoint.name}: {why.removeprefix(endpoint.name).lstrip()}")
        if len(kept) == len(tier.endpoints) and kept:
            left.append(tier)
        elif kept:
            left.append(Candidates(tier.tier, tier.rank, tuple(kept)))
        else:
            reasons.append(f"dropped tier {tier.tier}: it has no endpoint left")
    if out and not left:
        _, last = min(out, key=lambda pair: pair[0])
        reasons.append(f"kept {last.endpoints[0].name} all the same: a step keeps its last endpoint")
        left.append(last)
    return left


def in_time(tiers: Sequence[Candidates], budget_s: float, reasons: list[str]) -> list[Candidates]:
    """Return the tiers without the endpoints expected to take longer than the budget; the fastest stays.

    An endpoint without an expected time is taken to fit: nobody has said that it does not.
    """
    left = [
        Candidates(tier.tier, tier.rank, fitting)
        for tier in tiers
        if (fitting := tuple(e for e in tier.endpoints if (e.expected_s or 0.0) <= budget_s))
    ]
    if not left:
        return [_fastest(tiers, budget_s, reasons)]
    kept = {(tier.rank, endpoint.name) for tier in left for endpoint in tier.endpoints}
    reasons.extend(
        f"skipped {endpoint.name}: expected {endpoint.expected_s:g} s do not fit the step's {budget_s:g} s"
        for tier in tiers
        for endpoint in tier.endpoints
        if (tier.rank, endpoint.name) not in kept
    )
    return left


def _fastest(tiers: Sequence[Candidates], budget_s: float, reasons: list[str]) -> Candidates:
    tier, endpoint = min(
        ((tier, endpoint) for tier in tiers for endpoint in tier.endpoints),
        key=lambda pair: pair[1].expected_s or 0.0,
    )
    reasons.append(
        f"nothing fits the {budget_s:g} s of the step: kept the fastest, {endpoint.name}, expected to take"
        f" {endpoint.expected_s:g} s"
    )
    return Candidates(tier.tier, tier.rank, (endpoint,))
