"""One row of the results: what was measured, its figures with their intervals, and what it must reach."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from langroute.tuning.metrics import RESAMPLES, SEED, Interval, Pair, Ranked, interval
from langroute.tuning.thresholds import Tuning
from quality.thresholds import came_to

__all__ = ["Row", "Table", "over_seeds", "ranked_figures", "saved_figures"]

FLOORS = (0.95, 0.98, 1.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One score on one set."""

    what: str
    figures: dict[str, str]
    published: bool = False
    """Whether the figures are quoted, not measured here."""


@dataclass(slots=True)
class Table:
    """The rows of one set."""

    title: str
    note: str
    rows: list[Row] = field(default_factory=list)
    targets: list[tuple[str, bool]] = field(default_factory=list)
    """What the table must show, with the figure, and whether it does."""

    def add(self, what: str, figures: dict[str, str], *, published: bool = False) -> None:
        """Add a row."""
        self.rows.append(Row(what, figures, published))

    def target(self, told: str, reached: Any) -> None:
        """Note a target and whether it was reached."""
        self.targets.append((told, bool(reached)))

    def markdown(self) -> str:
        """Return the table as Markdown; a figure that a row does not have stays empty."""
        names = list(dict.fromkeys(name for row in self.rows for name in row.figures))
        lines = [f"## {self.title}", "", self.note, ""]
        lines += [f"| score | {' | '.join(names)} |", f"|{'---|' * (len(names) + 1)}"]
        for row in self.rows:
            what = f"{row.what} (published)" if row.published else row.what
            lines.append(f"| {what} | {' | '.join(row.figures.get(name, '') for name in names)} |")
        lines.append("")
        lines += [f"- {'reached' if kept else '**not reached**'}: {told}" for told, kept in self.targets]
        return "\n".join([*lines, ""])


def over_seeds(drawn: Sequence[tuple[Any, Ranked]], queries: int) -> list[Interval]:
    """Return the means of `Ranked.figures` over seeds, with a bootstrap over queries, the same in every seed.

    Args:
        drawn: The queries of each seed's test, by position, and their ranking.
        queries: How many queries there are in all.
    """
    rng = np.random.default_rng(SEED)
    means = []
    for _ in range(RESAMPLES // 2):
        times = np.bincount(rng.integers(0, queries, queries), minlength=queries).astype(float)
        means.append(
            np.nanmean([ranked.figures(times[rows][ranked.order]) for rows, ranked in drawn], axis=0)
        )
    low, high = np.nanpercentile(means, [2.5, 97.5], axis=0).tolist()
    values = np.mean([ranked.figures() for _, ranked in drawn], axis=0).tolist()
    return [Interval(*figure) for figure in zip(values, low, high, strict=True)]


def ranked_figures(drawn: Sequence[tuple[Any, Ranked]], queries: int) -> dict[str, str]:
    """Return APGR, CPT and the optimistic savings of a ranking, over one seed or several."""
    told = over_seeds(drawn, queries)
    figures = {"APGR": f"{told[0]:.3f}"}
    if len(drawn) > 1:
        spread = float(np.std([ranked.apgr() for _, ranked in drawn], ddof=1))
        figures["APGR"] += f" ± {spread:.3f}"
    figures |= {name: f"{told[at]:.1f}" for at, name in ((1, "CPT 50 %"), (2, "CPT 80 %"))}
    return figures | {
        f"saved at {floor:.0%}, read off the test": f"{told[at]:.0f}" for at, floor in enumerate(FLOORS, 3)
    }


def saved_figures(tuning: Tuning, score: Any, pair: Pair, name: str) -> tuple[dict[str, str], Interval]:
    """Return what a threshold that was set elsewhere saves and keeps here."""
    saved = interval(lambda w: came_to(tuning, score, pair, w)[0], len(pair))
    kept = interval(lambda w: 100 * came_to(tuning, score, pair, w)[1], len(pair))
    return {f"saved, {name}": f"{saved:.0f}", f"quality kept, {name}": f"{kept:.1f}"}, saved
