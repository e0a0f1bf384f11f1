"""A score, and what it is measured against, on outcomes of your own: the figures of `make quality`.

RouteLLM's metrics (Ong et al., "RouteLLM: Learning to Route LLMs with Preference Data", 2024): how much of
the gap between the weak and the strong tier is recovered on average (APGR), and by how few calls of the
strong one half and four fifths of it are (CPT). And what is saved at a floor of its quality, read off these
very queries, and so optimistic: `langroute tune` says what is sure.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from langroute.tuning.learned import LearnedScore
from langroute.tuning.metrics import FIGURES, RESAMPLES, SEED, Interval, Pair, Ranked
from langroute.tuning.outcomes import Outcome

__all__ = ["Bench", "bench"]

_CURVE_POINTS = 200


@dataclass(frozen=True, slots=True)
class Bench:
    """What rankings of the queries are worth."""

    weak: str
    strong: str
    queries: int
    quality: Mapping[str, float]
    """Tier to its mean quality: what always calling it gives."""
    cost_usd: Mapping[str, float]
    """Tier to its mean cost."""
    rows: Mapping[str, Mapping[str, Interval]]
    """Score to its figures with 95 % bootstrap intervals, in the order of `FIGURES`."""
    curves: Mapping[str, Sequence[tuple[float, float]]]
    """Score to saving (1 is all that the strong tier costs) and quality, from no query sent to it to all."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return asdict(self)


def bench(
    outcomes: Iterable[Outcome],
    weak: str,
    strong: str,
    score: LearnedScore | None = None,
    *,
    seed: int = SEED,
) -> Bench:
    """Return the figures of a score beside chance, prompt length and hindsight.

    Args:
        outcomes: Of both tiers; queries that were not put to both are left out.
        weak: The cheap tier.
        strong: The dear tier.
        score: A score that was not fitted on these queries; None for the others alone.
        seed: Of chance and of the redraws.

    Raises:
        ValueError: No query has an outcome of both tiers, a cost is unknown, the strong tier is no better,
            or the score does not know the weak tier.
    """
    asked: dict[str, dict[str, Outcome]] = defaultdict(dict)
    for outcome in outcomes:
        asked[outcome.query][outcome.tier] = outcome
    both = [(of[weak], of[strong]) for of in asked.values() if weak in of and strong in of]
    if not both:
        raise ValueError(f"no query has an outcome of {weak} and of {strong}: a benchmark needs both")
    pair = _pair(both)
    if pair.gap <= 0:
        raise ValueError(f"{strong} is no better than {weak} on these queries: there is no gap to recover")
    rankings = {
        "random": np.random.default_rng(seed).random(len(both)),
        "prompt length": np.array([cheap.prompt.values.get("length", 0.0) for cheap, _ in both]),
        "hindsight": pair.ys - pair.yw,
    }
    ranked = {name: Ranked(ranking, pair) for name, ranking in rankings.items()}
    if score is not None:
        if weak not in score.heads:
            raise ValueError(f"the score knows {', '.join(score.heads)}, and not {weak}")
        after = score.kind == "reply"
        gains = [score.gain(cheap.after() if after else cheap.prompt, weak) for cheap, _ in both]
        drafted = Pair(pair.yw, pair.ys, pair.cw, pair.cs, cascade=after)
        ranked = {"score": Ranked(np.array(gains), drafted), **ranked}
    rows = {name: _figures(ranking, seed) for name, ranking in ranked.items()}
    curves = {name: _curve(ranking) for name, ranking in ranked.items()}
    quality = {weak: float(pair.yw.mean()), strong: float(pair.ys.mean())}
    cost = {weak: float(pair.cw.mean()), strong: float(pair.cs.mean())}
    return Bench(weak, strong, len(both), quality, cost, rows, curves)


def _pair(both: list[tuple[Outcome, Outcome]]) -> Pair:
    costs = [(cheap.cost_usd, dear.cost_usd) for cheap, dear in both]
    known = [(cheap, dear) for cheap, dear in costs if cheap is not None and dear is not None]
    if len(known) < len(both):
        raise ValueError(f"{len(both) - len(known):,} queries have no cost at one tier: write `cost_usd`")
    worths = np.array([(cheap.score, dear.score) for cheap, dear in both])
    usd = np.array(known)
    return Pair(worths[:, 0], worths[:, 1], usd[:, 0], usd[:, 1])


def _curve(ranked: Ranked) -> list[tuple[float, float]]:
    """Return saving and quality at points spread evenly over the curve, its ends among them."""
    saving, quality = 1 - ranked.cost(), ranked.curve()[1]
    at = np.unique(np.linspace(0, len(saving) - 1, _CURVE_POINTS).astype(int))
    return list(zip(saving[at].tolist(), quality[at].tolist(), strict=True))


def _figures(ranked: Ranked, seed: int) -> dict[str, Interval]:
    """Return the figures of a ranking with intervals from redraws of the queries."""
    rng, queries = np.random.default_rng(seed), len(ranked.order)
    drawn = [
        ranked.figures(np.bincount(rng.integers(0, queries, queries), minlength=queries).astype(float))
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    found = zip(FIGURES, ranked.figures(), low, high, strict=True)
    return {name: Interval(float(value), float(least), float(most)) for name, value, least, most in found}
