"""Whether requests, replies and latency are still what they were: recent decisions against a reference."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from langroute.report.data import Drift, Rise
from langroute.report.slices import DIFFICULTY_BINS, LATENCY_BINS, PER_LATENCY_BIN, Slice
from langroute.report.statistics import Quantiles, Shift, by_chance, coarsened, shift, wilson
from langroute.report.tally import OTHERS

__all__ = ["ALPHA", "LARGE_PSI", "SMALL_PSI", "drifts", "holm", "rises"]

SMALL_PSI, LARGE_PSI = 0.1, 0.25
"""Below the first a shift is small, above the second large: the rule of thumb of Siddiqi 2006, p. 137."""

ALPHA = 0.05
"""Chance of calling anything drifted where nothing is, over all measures together."""

_BINS = 10
_SHOWN_STEPS = 20

_Binned = tuple[str, list[list[int]], list[str]]


def drifts(slices: Sequence[Slice], recent_from: int) -> tuple[Drift, ...]:
    """Return how difficulty, step mix, acceptance and latency moved from the slices before `recent_from`."""
    measured = [
        (name, histograms, bins, shift(histograms, recent_from))
        for name, histograms, bins in _measures(slices)
    ]
    adjusted = holm([found.p_value for *_, found in measured])
    return tuple(
        Drift(
            measure=name,
            psi=found.psi,
            p_value=p_value,
            reference=found.reference,
            recent=found.recent,
            bins=tuple(bins),
            reference_shares=_shares(histograms[:recent_from], len(bins)),
            recent_shares=_shares(histograms[recent_from:], len(bins)),
            verdict=_verdict(found, p_value),
        )
        for (name, histograms, bins, found), p_value in zip(measured, adjusted, strict=True)
    )


def rises(slices: Sequence[Slice], recent_from: int) -> tuple[Rise, ...]:
    """Return whether each endpoint fails more often since `recent_from` than in the slices before.

    The test is one-sided and its units are slices of time: a single outage, however many calls it took, is
    one event.
    """
    names = sorted({name for part in slices for name in part.calls})
    counted = {
        name: [[part.failed[name], part.calls[name] - part.failed[name]] for part in slices] for name in names
    }
    adjusted = holm([by_chance(counted[name], recent_from, _rise) for name in names])
    return tuple(
        _rise_of(name, counted[name], recent_from, p) for name, p in zip(names, adjusted, strict=True)
    )


def _rise(before: Sequence[float], after: Sequence[float]) -> float:
    """Return by how much the share of the first of two counts is higher after."""
    return after[0] / (sum(after) or 1) - before[0] / (sum(before) or 1)


def _rise_of(name: str, counted: Sequence[Sequence[int]], recent_from: int, p_value: float | None) -> Rise:
    sides = counted[:recent_from], counted[recent_from:]
    before, recent = (wilson(sum(c[0] for c in side), sum(map(sum, side))) for side in sides)
    if p_value is None or before.rate is None or recent.rate is None:
        return Rise(name, before, recent, None, "too little to say")
    verdict = "rose" if p_value < ALPHA else "may be chance" if recent.rate > before.rate else "steady"
    return Rise(name, before, recent, p_value, verdict)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values with all the tests allowed for (Holm 1979, step-down); None stays None."""
    known = sorted((p, number) for number, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for place, (p, number) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        adjusted[number] = highest
    return adjusted


def _verdict(found: Shift, p_value: float | None) -> str:
    if found.psi is None or p_value is None:
        return "too little to say"
    if p_value >= ALPHA:
        return "may be chance" if found.psi >= SMALL_PSI else "steady"
    return "drifted" if found.psi >= LARGE_PSI else "moved a little"


def _measures(slices: Sequence[Slice]) -> Iterator[_Binned]:
    """Yield each measure: its name, a histogram a slice, and what the bins are called."""
    fine = [[part.difficulty[i] for i in range(DIFFICULTY_BINS)] for part in slices]
    merged, starts = coarsened(fine, _BINS)
    bounds = [start / DIFFICULTY_BINS for start in [*starts, DIFFICULTY_BINS]]
    yield "difficulty", merged, [f"{low:.2f} to {high:.2f}" for low, high in pairwise(bounds)]
    names = _most_common(slices)
    yield "step mix", [_by_name(part.steps, names) for part in slices], [*names, OTHERS]
    accepted = [[part.accepted, part.decisions - part.accepted] for part in slices]
    yield "acceptance", accepted, ["accepted", "not accepted"]
    fine = [[part.latency[i] for i in LATENCY_BINS] for part in slices]
    merged, starts = coarsened(fine, _BINS)
    limits = [_seconds(LATENCY_BINS[start]) for start in starts[1:]]
    yield "latency", merged, _up_to(limits)


def _seconds(number: int) -> str:
    return f"{Quantiles.middle(number * PER_LATENCY_BIN - 1):.3g} s"


def _up_to(limits: Sequence[str]) -> list[str]:
    if not limits:
        return ["all"]
    between = [f"{low} to {high}" for low, high in pairwise(limits)]
    return [f"below {limits[0]}", *between, f"above {limits[-1]}"]


def _most_common(slices: Sequence[Slice]) -> list[str]:
    total: Counter[str] = Counter()
    for part in slices:
        total.update(part.steps)
    total.pop(OTHERS, None)
    return [name for name, _ in total.most_common(_SHOWN_STEPS)]


def _by_name(counts: Counter[str], names: Sequence[str]) -> list[int]:
    known = [counts[name] for name in names]
    return [*known, counts.total() - sum(known)]


def _shares(histograms: Sequence[Sequence[int]], bins: int) -> tuple[float, ...]:
    sums = [sum(histogram[i] for histogram in histograms) for i in range(bins)]
    return tuple(count / sum(sums) if sum(sums) else 0.0 for count in sums)
