"""What a level of stakes demands: the lowest tier that may answer, whatever it costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from langroute.policy import StakesPolicy, StepPolicy
from langroute.request import Request

__all__ = ["STAKES_KEY", "Demand", "demanded"]

STAKES_KEY = "langroute_stakes"
"""Key of the config's metadata under which a caller says what is at stake."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A tier below which nothing may answer, and why."""

    tier: str
    reason: str


def demanded(
    stakes: StakesPolicy, ranks: Mapping[str, int], step: StepPolicy, request: Request
) -> Demand | None:
    """Return the higher of what the caller and the step demand; None where nothing is at stake.

    A level that the policy does not know is taken for its highest, and where it has none for the top of
    the step's cascade: when in doubt, the capable tier.
    """
    said = request.metadata.get(STAKES_KEY)
    levels = stakes.levels
    demands: list[Demand] = []
    if step.stakes is not None and step.stakes in levels:
        tier = levels[step.stakes].tier
        demands.append(Demand(tier, f"stakes {step.stakes}, the step's own: {tier} or above answers"))
    if said is not None and isinstance(said, str) and said in levels:
        tier = levels[said].tier
        demands.append(Demand(tier, f"stakes {said}, said by the caller: {tier} or above answers"))
    elif said is not None:
        demands.append(_unknown(stakes, ranks, step, said))
    return max(demands, key=lambda demand: ranks[demand.tier], default=None)


def _unknown(stakes: StakesPolicy, ranks: Mapping[str, int], step: StepPolicy, said: object) -> Demand:
    shown = repr(said)[:60]
    tiers = [level.tier for level in stakes.levels.values()] or step.cascade
    tier = max(tiers, key=lambda name: ranks[name])
    return Demand(
        tier,
        f"stakes {shown} is no level of the policy, so it counts as the highest: {tier} or above answers",
    )
