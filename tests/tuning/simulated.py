"""Requests whose truth is known: how good any threshold really is can be worked out, not only estimated."""

from dataclasses import dataclass
from typing import Any

import numpy as np

CHEAP_USD, STRONG_USD = 0.001, 0.01


@dataclass(frozen=True)
class World:
    """Scores are even; a cheap reply is right with chance `least + (1 - least) * score ** power`."""

    least: float = 0.0
    power: float = 0.5
    strong: float = 0.9

    def draw(self, rows: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return the columns that `tune` takes."""
        score = rng.random(rows)
        cheap = rng.random(rows) < self.least + (1 - self.least) * score**self.power
        strong = rng.random(rows) < self.strong
        return {
            "score": score,
            "cheap": cheap.astype(float),
            "strong": strong.astype(float),
            "cheap_usd": CHEAP_USD,
            "strong_usd": STRONG_USD,
        }

    def kept(self, threshold: float | None) -> float:
        """Return the share of the strong tier's quality that a `verify` threshold really keeps."""
        if threshold is None:
            return 1.0
        t = min(max(threshold, 0.0), 1.0)
        area = (1 - t ** (self.power + 1)) / (self.power + 1)
        cheap = self.least * (1 - t) + (1 - self.least) * area
        return (cheap + self.strong * t) / self.strong

    def saving(self, threshold: float) -> float:
        """Return what a `verify` threshold really saves."""
        return 1 - min(max(threshold, 0.0), 1.0) - CHEAP_USD / STRONG_USD


WORLDS = {
    "steep": World(),
    "flat": World(least=0.7, power=1.0, strong=0.92),
    "nearly always right": World(least=0.9, power=2.0, strong=0.99),
}
