"""What calls may cost and are expected to, and when a conversation leaves the holder of its prompt cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langroute.budget import Room
from langroute.cascade import Rung, made_choice, made_rung
from langroute.errors import BudgetExceeded
from langroute.policy import StepPolicy
from langroute.request import Request
from langroute.routing.limits import Candidates
from langroute.spending import worst_usd

if TYPE_CHECKING:
    from langroute.endpoints import Endpoint

__all__ = ["Till", "expected_usd", "rungs", "stay_or_leave"]


def expected_usd(endpoint: "Endpoint", request: Request, output_tokens: int) -> float | None:
    """Return the expected USD of one call; only the holder reads a part from its cache."""
    tokens = request.estimated_tokens
    if endpoint.name == request.holder:
        return endpoint.expected_usd(tokens, output_tokens, min(request.held_tokens, tokens))
    return endpoint.expected_usd(tokens, output_tokens)


def rungs(
    tiers: Sequence[Candidates], request: Request, output_tokens: int, *, priced: bool
) -> tuple[Rung, ...]:
    """Return the tiers as the rungs of a plan; with `priced`, each choice with its call's expected cost."""
    made = []
    for tier in tiers:
        choices = [
            made_choice(
                endpoint.name,
                expected_usd(endpoint, request, output_tokens) if priced else None,
                endpoint.expected_s,
                endpoint.context_tokens,
            )
            for endpoint in tier.endpoints
        ]
        made.append(made_rung(tier.tier, tuple(choices)))
    return tuple(made)


def stay_or_leave(
    tiers: list[Candidates], request: Request, output_tokens: int, margin: float, reasons: list[str]
) -> list[Candidates]:
    """Return the tiers, from the holder's on and the holder first in it, where staying on it is worth it.

    The holder answered the latest earlier turn, so the conversation up to there is in its prompt cache.
    Within its own tier it always goes first. The tiers below its own are given up unless starting as
    planned is cheaper than staying by more than `margin`, a share of what staying costs:
    `planned < staying * (1 - margin)`. With a price unknown there is nothing to weigh, and the plan stands.
    """
    name = request.holder
    if name is None:
        return tiers
    at = next((i for i, tier in enumerate(tiers) if any(e.name == name for e in tier.endpoints)), None)
    if at is None:
        reasons.append(f"leaves {name}, which answered the last turn: it is not among this plan's endpoints")
        return tiers
    tiers = [*tiers[:at], _holder_first(tiers[at], name), *tiers[at + 1 :]]
    holder, planned = tiers[at].endpoints[0], tiers[0].endpoints[0]
    held = f"{min(request.held_tokens, request.estimated_tokens):,} of {request.estimated_tokens:,} tokens"
    if at == 0:
        reasons.append(f"stays on {name}: its prompt cache holds {held}")
        return tiers
    stay_usd, start_usd = (expected_usd(endpoint, request, output_tokens) for endpoint in (holder, planned))
    if stay_usd is None or start_usd is None:
        unknown = name if stay_usd is None else planned.name
        reasons.append(f"leaves {name}, whose prompt cache holds {held}: the price of {unknown} is unknown")
        return tiers
    figures = f"${start_usd:.6f} on {planned.name} against ${stay_usd:.6f} with {held} cached"
    if start_usd < stay_usd * (1 - margin):
        reasons.append(f"leaves {name}: {figures}, cheaper by more than {margin:.0%}")
        return tiers
    reasons.append(f"stays on {name}: {figures}, not cheaper by more than {margin:.0%}")
    return tiers[at:]


def _holder_first(tier: Candidates, name: str) -> Candidates:
    if tier.endpoints[0].name == name:
        return tier
    return Candidates(
        tier.tier, tier.rank, tuple(sorted(tier.endpoints, key=lambda endpoint: endpoint.name != name))
    )


@dataclass(slots=True)
class Till:
    """What a request may still spend, and the last reason why it may not spend it on an endpoint."""

    room: Room
    request: Request
    step: StepPolicy
    refusal: BudgetExceeded | None = None

    def too_dear(self, endpoint: "Endpoint") -> str | None:
        """Return why the worst case of a call does not fit; None where it does."""
        worst = worst_usd(endpoint, self.request, self.step.expected_output_tokens)
        refusal = self.room.refusal(worst)
        if refusal is None:
            return None
        self.refusal = refusal
        return str(refusal)
