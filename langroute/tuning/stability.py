"""Whether a threshold would hold with other rows: without one source, and in redraws of the same ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

from langroute.tuning.evidence import Rows, summed
from langroute.tuning.guarantee import Floats
from langroute.tuning.sweep import Sweep, Table

__all__ = ["Shift", "chosen_in_redraws", "without_each_source"]

_LEAST_SHARE = 0.005
"""Share of the weight below which a source is not left out on its own: it could move next to nothing."""

_CHUNK = 4_000_000
"""Cells redrawn at once."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A source, and the table of the rows without it."""

    kind: str
    name: str
    table: Table


def without_each_source(rows: Rows, sweep: Sweep) -> Iterator[Shift]:
    """Yield the table without each tenant and each day in turn; not without those that hardly count."""
    for sources in rows.sources:
        shares = sources.weight(rows.weights) / rows.weights.sum()
        order = np.argsort(sources.of, kind="stable")
        ends = np.searchsorted(sources.of[order], np.arange(len(sources.names) + 1))
        for index in np.flatnonzero(shares >= _LEAST_SHARE):
            left_out = order[ends[index] : ends[index + 1]]
            yield Shift(sources.kind, sources.names[index], sweep.table.without(left_out, rows.weights))


def chosen_in_redraws(
    rows: Rows, sweep: Sweep, floor: float, level: float, current: float, redraws: int, seed: int
) -> Floats:
    """Return, for each redraw, the saving of the threshold that it would choose less the current one's.

    The rows are drawn with replacement. A redraw chooses as the rows do, but for the normal distribution in
    place of the exact p-value. One that can choose nothing safe counts as the loss of the current saving.
    """
    cells, moments = _cells(rows, sweep, floor)
    rng = np.random.default_rng(seed)
    gains: list[Floats] = []
    at = np.flatnonzero(_same(sweep.thresholds, current))
    drawn = 0
    while drawn < redraws:
        size = min(redraws - drawn, max(1, _CHUNK // len(cells)))
        counts = rng.multinomial(len(rows), moments["rows"] / len(rows), size=size) / moments["rows"]
        gains.append(_gains(counts, cells, moments, len(sweep.thresholds), level, int(at[0])))
        drawn += size
    return np.concatenate(gains)


def _same(thresholds: Floats, current: float) -> np.ndarray:
    return np.isclose(thresholds, current, rtol=0, atol=1e-12)


def _cells(rows: Rows, sweep: Sweep, floor: float) -> tuple[np.ndarray, dict[str, Floats]]:
    """Return the threshold index of each group of like rows, in order, and the sums of what they have."""
    cheap, strong = rows.cheap - floor * rows.strong, (1 - floor) * rows.strong
    hundredths = (np.round(quality * 100).astype(np.intp) for quality in (rows.cheap, rows.strong))
    codes = np.ravel_multi_index((sweep.first, *hundredths), (len(sweep.thresholds) + 1, 101, 101))
    kinds, at = np.unique(codes, return_inverse=True)
    drafted = rows.cheap_usd if sweep.kind == "verify" else 0.0
    columns = {
        "rows": np.ones(len(rows)),
        "cheap": rows.weights * cheap,
        "strong": rows.weights * strong,
        "cheap_squares": (rows.weights * cheap) ** 2,
        "strong_squares": (rows.weights * strong) ** 2,
        "cheap_usd": rows.weights * rows.cheap_usd,
        "sent_usd": rows.weights * (drafted + rows.strong_usd),
        "strong_usd": rows.weights * rows.strong_usd,
    }
    sums = {name: summed(at, column, len(kinds)) for name, column in columns.items()}
    return kinds // 101**2, sums


def _gains(
    counts: Floats, cells: np.ndarray, moments: dict[str, Floats], thresholds: int, level: float, current: int
) -> Floats:
    starts = np.searchsorted(cells, np.arange(thresholds + 1))

    def at_thresholds(cheap: str, strong: str) -> Floats:
        sums = []
        for name in (cheap, strong):
            padded = np.hstack([np.zeros((len(counts), 1)), np.cumsum(counts * moments[name], axis=1)])
            sums.append(padded)
        kept = sums[0][:, np.append(starts[1:], len(cells))][:, :-1]
        sent = sums[1][:, -1:] - sums[1][:, np.append(starts[1:], len(cells))][:, :-1]
        total: Floats = kept + sent
        return total

    rows = moments["rows"].sum()
    mean = at_thresholds("cheap", "strong") / rows
    variance = at_thresholds("cheap_squares", "strong_squares") / rows - mean**2
    safe = mean >= -special.ndtri(level) * np.sqrt(np.maximum(variance, 0.0) / rows)
    reached = np.where(safe.all(axis=1), thresholds, np.argmin(safe, axis=1))
    cost = at_thresholds("cheap_usd", "sent_usd") / (counts @ moments["strong_usd"])[:, None]
    savings = np.hstack([np.zeros((len(counts), 1)), 1 - cost])
    gains: Floats = savings[np.arange(len(counts)), reached] - savings[:, current + 1]
    return gains
