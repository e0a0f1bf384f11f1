"""How often a tuned threshold breaks its floor, on queries drawn anew.

The scores are simple, and fitted on other folds.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from langroute.tuning.evidence import Rows
from langroute.tuning.metrics import SEED
from langroute.tuning.sweep import Kind, sweep
from langroute.tuning.thresholds import tune
from quality.baselines import by_length
from quality.learning import agreement
from quality.loaders import BFCL_PAIRS, GSM_PAIRS, STRONG, WEAK, Answers, Set, bfcl, routellm, zeroeval
from quality.rows import Table

__all__ = ["floor_kept"]

Array = Any
RESAMPLES, ROWS, CONFIDENCE = 200, 1_000, 0.9
FLOORS = (0.95, 0.98)
MOST_LOST = 12
"""Points of saving that the confidence may cost on average."""
SECOND_CHEAP = "gpt-3.5-turbo-0125"


def floor_kept() -> Table:
    """Tune on resamples, plainly and by the library, and count how often all queries fall below the floor."""
    table = Table(
        "Floor kept",
        f"{RESAMPLES} resamples of {ROWS:,} queries, drawn with replacement; each tunes a threshold, whose"
        " quality is that of all queries of the set. Plain: the largest saving whose mean keeps the floor."
        f" Ours: `tune` with {CONFIDENCE:.0%} confidence.",
    )
    found = []
    for name, kind, rows in _sets():
        for floor in FLOORS:
            told = _resampled(rows, kind, floor)
            found.append(told)
            figures = {
                f"{what} {how}": f"{100 * told[what, how]:.1f} %"
                for what in ("broken", "saved")
                for how in ("plain", "ours")
            }
            table.add(f"{name}, floor {floor:.0%}", figures)
    most = max(told["broken", "ours"] for told in found)
    lost = 100 * float(np.mean([told["saved", "plain"] - told["saved", "ours"] for told in found]))
    table.target(
        f"broken in at most {most:.1%} of the resamples, at most 10 %", most <= 1 - CONFIDENCE + 1e-9
    )
    table.target(f"{lost:.1f} points of saving lost on average, at most {MOST_LOST}", lost <= MOST_LOST)
    return table


def _resampled(rows: Rows, kind: Kind, floor: float) -> dict[tuple[str, str], float]:
    """Return in which share of the resamples the floor is broken, and what is saved, by either way."""
    rng = np.random.default_rng(SEED)
    told: dict[tuple[str, str], list[float]] = {}
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(rows), ROWS)
        columns = [getattr(rows, n)[drawn] for n in ("score", "cheap", "strong", "cheap_usd", "strong_usd")]
        thresholds = {
            "plain": _plainly(Rows.read(*columns), kind, floor),
            "ours": tune(*columns, kind=kind, floor=floor, confidence=CONFIDENCE).threshold,
        }
        for how, threshold in thresholds.items():
            broken, saved = _truth(rows, kind, threshold, floor)
            told.setdefault(("broken", how), []).append(broken)
            told.setdefault(("saved", how), []).append(saved)
    return {name: float(np.mean(values)) for name, values in told.items()}


def _plainly(seen: Rows, kind: Kind, floor: float) -> float | None:
    """Return the threshold that saves most while the rows seen keep the floor on average."""
    every = np.unique(seen.score)
    every = every[::-1] if kind == "verify" else np.append(every[1:], every[-1] + 1)
    swept = sweep(seen, kind, floor, every)
    saving = np.where(swept.table.mean >= 0, swept.saving, -np.inf)
    best = int(np.argmax(saving))
    return float(swept.thresholds[best]) if saving[best] > 0 else None


def _truth(rows: Rows, kind: Kind, threshold: float | None, floor: float) -> tuple[bool, float]:
    """Return whether the threshold breaks the floor on all rows, and the share that it saves there."""
    if threshold is None:
        return False, 0.0
    kept = rows.score >= threshold if kind == "verify" else rows.score < threshold
    quality = np.where(kept, rows.cheap, rows.strong).mean()
    drafted = rows.cheap_usd if kind == "verify" else 0.0
    spent = np.where(kept, rows.cheap_usd, drafted + rows.strong_usd).mean()
    return quality < floor * rows.strong.mean() - 1e-12, 1 - spent / rows.strong_usd.mean()


def _sets() -> Iterator[tuple[str, Kind, Rows]]:
    """Yield each set's name, what its threshold does, and its rows."""
    for dataset in ("routellm_mmlu", "routellm_gsm8k"):
        of = routellm(dataset)
        yield f"{dataset}, prompt length", "route", _rows(of, WEAK, STRONG, by_length(of, np.arange(len(of))))
    tools = bfcl()
    for name, (weak, strong) in BFCL_PAIRS.items():
        score = _by_kind(tools.kinds, tools.models[weak])
        yield f"BFCL {name}, kind and length of the call", "verify", _rows(tools, weak, strong, score)
    sums = zeroeval("zeroeval_gsm")
    for name, (weak, strong) in GSM_PAIRS.items():
        # Of equals, shorter replies score higher.
        score = (agreement(sums, weak, SECOND_CHEAP) + 1 - _lengths(sums.models[weak])) / 2
        yield f"GSM8K {name}, agreement", "verify", _rows(sums, weak, strong, score)


def _rows(of: Set, weak: str, strong: str, score: Array) -> Rows:
    pair = of.pair(weak, strong)
    return Rows.read(score, pair.yw, pair.ys, pair.cw, pair.cs)


def _lengths(model: Answers) -> Array:
    """Return the length of each reply or of its calls, in [0, 1)."""
    size = np.array([len(reply.text) + len(str(reply.tool_calls)) for reply in model.replies])
    return size / (size.max() + 1)


def _by_kind(kind_of: Array, model: Answers) -> Array:
    """Return how often like replies are right in the other four of five folds, by kind of call and length."""
    size, right = _lengths(model), model.score
    third = np.searchsorted(np.quantile(size, (1 / 3, 2 / 3)), size)
    kinds = np.array([f"{kind} {at}" for kind, at in zip(kind_of, third, strict=True)])
    fold = np.random.default_rng(SEED).integers(0, 5, len(kinds))
    score = np.zeros(len(kinds))
    for kind in np.unique(kinds):
        for out in range(5):
            seen = (kinds == kind) & (fold != out)
            # As if one more row of each outcome had been seen.
            score[(kinds == kind) & (fold == out)] = (right[seen].sum() + 1) / (seen.sum() + 2)
    return score - size * 1e-3
