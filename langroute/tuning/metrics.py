"""What a routing score is worth, by RouteLLM's definitions, and what it saves at a floor of quality.

Queries are put in the order of their score, highest first, once; a resample then only weighs them anew. A
score says "send to the strong model": higher is stronger. Quality is in [0, 1], cost in USD a query.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

__all__ = [
    "FIGURES",
    "FLOORS",
    "RESAMPLES",
    "SEED",
    "Interval",
    "Pair",
    "Ranked",
    "bins_for",
    "ece",
    "ece_by_chance",
    "interval",
    "used",
]

Array = Any
RESAMPLES = 200
SEED = 20261122
FIGURES = ("APGR", "CPT 50 %", "CPT 80 %", "saved at 95 %", "saved at 98 %", "saved at 100 %")
"""What `Ranked.figures` has, in order: the first in [0, 1], the others in %."""
FLOORS = (0.95, 0.98, 1.0)
"""Shares of the strong model's quality at which the last of `FIGURES` are told."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the 2.5 and 97.5 % points of its bootstrap."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """Return the figure with its interval in brackets, each as `spec` says; nought has no sign."""
        return f"{self.value:z{spec}} [{self.low:z{spec}}, {self.high:z{spec}}]"


@dataclass(frozen=True, eq=False)
class Pair:
    """A weak and a strong model on the same queries.

    A cascade asks the weak model always, and pays `extra` for what judges its reply; a router asks one of
    them.
    """

    yw: Array
    ys: Array
    cw: Array
    cs: Array
    cascade: bool = False
    extra: Array | float = 0.0

    def __len__(self) -> int:
        return len(self.yw)

    def at(self, rows: Array) -> "Pair":
        """Return the pair on some of the queries."""
        extra = self.extra[rows] if isinstance(self.extra, np.ndarray) else self.extra
        return Pair(self.yw[rows], self.ys[rows], self.cw[rows], self.cs[rows], self.cascade, extra)

    @property
    def gap(self) -> float:
        """How much better the strong model is, in [-1, 1]."""
        return float(np.mean(self.ys) - np.mean(self.yw))

    def costs(self) -> tuple[Array, Array]:
        """Return what a query costs that stays at the weak model, and one that goes to the strong one."""
        kept = self.cw + self.extra
        return kept, kept + self.cs if self.cascade else self.cs + 0.0


class Ranked:
    """A pair in the order of a score, highest first; equal scores in an order drawn at random."""

    def __init__(self, score: Array, pair: Pair, seed: int = 0) -> None:
        draw = np.random.default_rng(seed).random(len(pair))
        order = np.lexsort((draw, -np.asarray(score, float)))
        self.order = order
        self.yw, self.ys = pair.yw[order].astype(float), pair.ys[order].astype(float)
        kept, sent = pair.costs()
        self.kept, self.sent, self.strong = kept[order], sent[order], pair.cs[order]

    @cached_property
    def ones(self) -> Array:
        """Every query once."""
        return np.ones(len(self.yw))

    def curve(self, weights: Array | None = None) -> tuple[Array, Array]:
        """Return the share of queries sent to the strong model, and the quality then, from none to all."""
        w = self.ones if weights is None else weights
        total = w.sum()
        share = np.concatenate([[0.0], np.cumsum(w)]) / total
        gain = np.concatenate([[0.0], np.cumsum(w * (self.ys - self.yw))]) / total
        return share, (w @ self.yw) / total + gain

    def cost(self, weights: Array | None = None) -> Array:
        """Return the cost at each point of the curve, as a share of what the strong model alone costs."""
        w = self.ones if weights is None else weights
        moved = np.concatenate([[0.0], np.cumsum(w * (self.sent - self.kept))])
        return (w @ self.kept + moved) / (w @ self.strong)

    def figures(self, weights: Array | None = None) -> Array:
        """Return APGR, CPT at 50 and 80 %, and % saved at 95, 98 and 100 %, of one curve."""
        w = self.ones if weights is None else weights
        share, quality = self.curve(w)
        part = (quality - quality[0]) / (quality[-1] - quality[0])
        calls = [100 * share[np.argmax(part >= least - 1e-12)] for least in (0.5, 0.8)]
        cost = self.cost(w)
        floors = [floor * (w @ self.ys) / w.sum() for floor in FLOORS]
        saved = [100 * (1 - cost[quality >= floor - 1e-12].min(initial=np.inf)) for floor in floors]
        return np.array([np.trapezoid(part, share), *calls, *saved])

    def apgr(self, weights: Array | None = None) -> float:
        """Return the average performance gap recovered: the area under the curve, gap scaled to [0, 1]."""
        share, quality = self.curve(weights)
        return float(np.trapezoid((quality - quality[0]) / (quality[-1] - quality[0]), share))

    def cpt(self, part: float, weights: Array | None = None) -> float:
        """Return the fewest calls of the strong model, in %, that recover `part` of the gap."""
        share, quality = self.curve(weights)
        reached = (quality - quality[0]) / (quality[-1] - quality[0]) >= part - 1e-12
        return float(100 * share[np.argmax(reached)]) if reached.any() else float("nan")

    def saved(self, floor: float, weights: Array | None = None) -> float:
        """Return the most saved against the strong model alone, in %, at `floor` of its quality.

        The threshold is read off these very queries, so the figure is optimistic.
        """
        w = self.ones if weights is None else weights
        _, quality = self.curve(w)
        reached = quality >= floor * (w @ self.ys) / w.sum() - 1e-12
        return float(100 * (1 - self.cost(w)[reached].min())) if reached.any() else float("nan")


def used(score: Array, pair: Pair, threshold: float, weights: Array | None = None) -> tuple[float, float]:
    """Return % saved and quality kept (1 is the strong model's) where scores from `threshold` on are sent."""
    w = np.ones(len(pair)) if weights is None else weights
    sent = np.asarray(score) >= threshold
    kept_cost, sent_cost = pair.costs()
    cost, quality = np.where(sent, sent_cost, kept_cost), np.where(sent, pair.ys, pair.yw)
    return float(100 * (1 - (w @ cost) / (w @ pair.cs))), float((w @ quality) / (w @ pair.ys))


def interval(
    figure: Callable[[Array], float], n: int, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Return a figure with its bootstrap over queries; `figure` takes how often each query counts."""
    rng = np.random.default_rng(seed)
    drawn = [figure(np.bincount(rng.integers(0, n, n), minlength=n).astype(float)) for _ in range(resamples)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(figure(np.ones(n)), float(low), float(high))


def bins_for(n: int) -> int:
    """Return the number of equal-mass bins: at least 200 queries each, between 5 and 15."""
    return int(np.clip(n // 200, 5, 15))


def ece(probability: Array, right: Array, bins: int | None = None) -> float:
    """Return the expected calibration error over equal-mass bins (Nguyen and O'Connor 2015)."""
    p, y = np.asarray(probability, float), np.asarray(right, float)
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, bins or bins_for(len(p)))
    return float(
        sum(abs(p[part].mean() - y[part].mean()) * len(part) for part in parts if len(part)) / len(p)
    )


def ece_by_chance(probability: Array, draws: int = 200, seed: int = SEED) -> float:
    """Return the error that a perfectly calibrated score of these values would show on so few queries."""
    rng = np.random.default_rng(seed)
    p = np.asarray(probability, float)
    return float(np.mean([ece(p, rng.random(len(p)) < p) for _ in range(draws)]))
