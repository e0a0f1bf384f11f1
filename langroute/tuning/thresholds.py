"""Where a threshold should be: the one that saves most while the floor is kept with the confidence asked for.

    tuning = tune(score, cheap, strong, cheap_usd, strong_usd, kind="verify", floor=0.98, confidence=0.9)
    tuning.threshold            # 0.6132, or None: then tuning.refusal says why, tuning.needed how many rows

The confidence is of the whole procedure: of many tunings on rows drawn anew, at most the share
`1 - confidence` ends at a threshold whose true quality is below the floor.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from langroute.tuning.evidence import Rows, capped_weights, check_confidence
from langroute.tuning.figures import cheap_cost, kept_at_least, saving_interval
from langroute.tuning.guarantee import METHODS, conformal, fixed_sequence
from langroute.tuning.stability import chosen_in_redraws, without_each_source
from langroute.tuning.sweep import Kind, Sweep, Table, candidates, sweep

__all__ = ["Tuning", "tune"]

_RESERVE = 0.75
"""Share of the stated risk that `dirichlet` uses up: it is not proven, and a risk used to its last percent is
exceeded in every other sample of two hundred tunings. It costs about a point of saving at 1,000 rows."""

_POWER = 0.8
"""Chance with which the number of rows that a refusal names would suffice."""

_MOST_ROWS = 10_000_000
"""A refusal that would have to ask for more says that rows do not help."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """A threshold with its evidence, or a refusal."""

    threshold: float | None
    """The threshold to use; None where it is refused: what stands in the policy then stays."""
    floor: float
    """Share of the strong tier's quality that was to be kept."""
    confidence: float
    """Chance in (0.5, 1) with which it is kept."""
    method: str
    """How that was tested."""
    kind: Kind
    rows: int
    effective_rows: float
    """Rows of equal weight that say as much."""
    refusal: str | None = None
    """Why there is no threshold, and what to do."""
    needed: int | None = None
    """Rows that would be enough with a chance of 80 %; None where nothing is lacking, or rows do not help."""
    moved: bool = False
    """Whether the threshold is another than the current one."""
    quality: float | None = None
    """Mean quality of the rows at the threshold."""
    quality_strong: float = 0.0
    """Mean quality of the strong tier alone."""
    quality_cheap: float = 0.0
    """Mean quality of the cheap tier alone."""
    kept: float | None = None
    """Share of the strong tier's quality at the threshold."""
    kept_at_least: float | None = None
    """Its lower bound, with the confidence; None where the method gives none."""
    saving: float | None = None
    """Share of the cost of the strong tier everywhere that is saved."""
    saving_low: float | None = None
    """Lower end of the interval of the saving that holds with the confidence."""
    saving_high: float | None = None
    """Upper end."""
    escalated: float | None = None
    """Share of the requests that reach the strong tier."""
    saving_plain: float | None = None
    """What would be promised without any confidence: the largest saving whose mean keeps the floor."""
    notes: tuple[str, ...] = ()
    """What else is to be known of the figures."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)

    @property
    def evidence(self) -> str:
        """The figures in one line, as they stand beside the number in a policy."""
        if self.threshold is None or self.saving is None or self.saving_low is None:
            return f"refused: {self.refusal}"
        sure = f"with {self.confidence:.0%} confidence" if self.kept_at_least is not None else "on average"
        return (
            f"saves {self.saving:.1%} ({self.saving_low:.1%} to {self.saving_high:.1%}), keeps"
            f" {self.kept:.1%} of the strong tier's quality, at least {self.kept_at_least or self.floor:.1%}"
            f" {sure}; {self.rows:,} rows"
        )


def tune(
    score: Any,
    cheap: Any,
    strong: Any,
    cheap_usd: Any,
    strong_usd: Any,
    *,
    kind: Kind = "verify",
    floor: float = 0.98,
    confidence: float = 0.9,
    method: str = "dirichlet",
    current: float | None = None,
    weights: Any = None,
    tenants: Any = None,
    days: Any = None,
    most_share: float = 0.1,
    most_shift: float = 0.02,
    redraws: int = 200,
    seed: int = 0,
) -> Tuning:
    """Return the threshold that saves most while the floor is kept with the confidence asked, or a refusal.

    It is refused where no threshold that saves money is shown to keep the floor (then with the number of rows
    it would take); where the strong tier everywhere is cheaper; and where one tenant or one day alone moves
    it. The current threshold stays while it keeps the floor on these rows too, and a larger saving is
    within its uncertainty; `kept_at_least` then says what is sure of it, which may be less than was asked.

    Args:
        score: One number a request, not fitted to these outcomes (held out, or cross-fitted).
        cheap: Quality of the cheap tier's reply in [0, 1], one a request.
        strong: Quality of the strong tier's reply to the same request.
        cheap_usd: Cost of the cheap call in USD, checks included; one number, or one a request.
        strong_usd: Cost of the strong call.
        kind: `verify`: replies that reach the threshold are accepted. `route`: requests that reach it
            start at the strong tier.
        floor: Share of the strong tier's quality to keep, in (0, 1].
        confidence: Chance in (0.5, 1) with which it is to be kept.
        method: A name in `langroute.tuning.guarantee.METHODS`, or `conformal`, which controls the mean alone.
        current: The threshold in use, from an earlier tuning; None where there is none.
        weights: How much each row counts; None for alike.
        tenants: Whose row it is; None where that is unknown, and then one tenant's rows cannot be told.
        days: On which day it was recorded, likewise.
        most_share: Largest share of the weight that one tenant or one day may have.
        most_shift: Furthest that the rows of one tenant or one day may move the threshold.
        redraws: Redraws of the rows that a larger saving is tried on.
        seed: Seed of the redraws.

    Raises:
        ValueError: A column or a setting is out of range; the message says which and what to give.
    """
    _check_settings(floor, confidence, method, most_share)
    rows = Rows.read(score, cheap, strong, cheap_usd, strong_usd, weights=weights, tenants=tenants, days=days)
    asked = _Asked(kind, floor, confidence, method)
    weighed = capped_weights(rows, most_share)
    if isinstance(weighed, str):
        return replace(asked.figures(rows), refusal=weighed)
    rows = replace(rows, weights=weighed)
    tried = candidates(rows.score, kind)
    if current is not None:
        tried = np.unique(np.append(tried, current))
        tried = tried[::-1] if kind == "verify" else tried
    swept = sweep(rows, kind, floor, tried)
    found = asked.choose(rows, swept)
    if found.threshold is None:
        return _with_suspect(asked, rows, swept, found)
    return _steady(asked, rows, swept, found, current, most_shift, redraws, seed)


def _check_settings(floor: float, confidence: float, method: str, most_share: float) -> None:
    if not 0 < floor <= 1:
        raise ValueError(f"floor: {floor!r}. Give the share of the strong tier's quality to keep, as 0.98.")
    check_confidence(confidence)
    if method not in (*METHODS, "conformal"):
        raise ValueError(f"method: {method!r}. Give one of {', '.join((*METHODS, 'conformal'))}.")
    if not 0 < most_share <= 1:
        raise ValueError(f"most_share: {most_share!r}. Give a share of the weight, as 0.1.")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of a threshold, and the choice among those of a sweep."""

    kind: Kind
    floor: float
    confidence: float
    method: str

    @property
    def level(self) -> float:
        return 1 - self.confidence

    @property
    def tested(self) -> float:
        """Level at which each threshold is tested."""
        return self.level * (_RESERVE if self.method == "dirichlet" else 1.0)

    def figures(self, rows: Rows) -> Tuning:
        """Return what is known of the rows before a threshold is."""
        weights = rows.weights / rows.weights.sum()
        return Tuning(
            None,
            self.floor,
            self.confidence,
            self.method,
            self.kind,
            len(rows),
            rows.effective,
            quality_strong=float(weights @ rows.strong),
            quality_cheap=float(weights @ rows.cheap),
        )

    def safe(self, table: Table, rows: float) -> int:
        """Return how many thresholds, safest first, are shown to keep the floor."""
        if self.method == "conformal":
            return conformal(-table.mean, rows, -table.lowest, 0.0)
        return fixed_sequence(METHODS[self.method](*table.grouped(), table.lowest), self.tested)

    def best(self, swept: Sweep, safe: int) -> int | None:
        """Return the index of the one that saves most among the first `safe`; None where none saves."""
        if not safe or swept.saving[:safe].max() <= 0:
            return None
        return int(np.argmax(swept.saving[:safe]))

    def choose(self, rows: Rows, swept: Sweep) -> Tuning:
        """Return the threshold with its evidence, or the refusal that the rows call for."""
        plain = swept.saving[swept.table.mean >= 0]
        told = replace(
            self.figures(rows), saving_plain=float(plain.max()) if len(plain) and plain.max() > 0 else None
        )
        at = self.best(swept, self.safe(swept.table, rows.effective))
        if at is None:
            return self._refused(rows, swept, told)
        shown = self.evidence(rows, swept, told, at)
        if shown.saving_low is not None and shown.saving_low <= 0:
            reason = f"the saving of {shown.saving:.1%} is within its uncertainty"
            remedy = f"it may be {shown.saving_low:.1%}. Do not route here, or gather more rows"
            return replace(told, refusal=f"{reason}: {remedy}")
        return shown

    def evidence(self, rows: Rows, swept: Sweep, told: Tuning, at: int) -> Tuning:
        """Return the figures of the threshold with index `at`."""
        low, high = saving_interval(rows, swept, at, self.level)
        at_least = None
        if self.method in METHODS:
            routed = np.where(swept.first <= at, rows.cheap, rows.strong)
            at_least = kept_at_least(rows, routed, METHODS[self.method], self.level)
        return replace(
            told,
            threshold=float(swept.thresholds[at]),
            quality=float(swept.quality[at]),
            kept=float(swept.quality[at] / told.quality_strong) if told.quality_strong else None,
            kept_at_least=at_least,
            saving=float(swept.saving[at]),
            saving_low=low,
            saving_high=high,
            escalated=float(swept.escalated[at]),
        )

    def _refused(self, rows: Rows, swept: Sweep, told: Tuning) -> Tuning:
        """Return the refusal where nothing that saves is shown to keep the floor."""
        asked = f"{self.floor:.0%} of the strong tier's quality"
        if told.saving_plain is None:
            share = told.quality_cheap / told.quality_strong if told.quality_strong else 1.0
            reason = (
                f"no threshold saves money at {asked} even on these rows: the cheap tier alone keeps"
                f" {share:.0%} and costs {cheap_cost(rows):.0%} of the strong one. Do not route here: bind"
                " the step to the strong tier"
            )
            return replace(told, refusal=reason)
        needed = self._needed(rows, swept, told.saving_plain)
        promised = f"{asked} cannot be shown with {self.confidence:.0%} confidence on {len(rows):,} rows"
        if needed is None:
            remedy = "more rows like these would not show it. Lower the floor"
            return replace(told, refusal=f"{promised}, and {remedy}")
        aim = f"half of the {told.saving_plain:.1%} that these rows promise"
        return replace(told, refusal=f"{promised}: about {needed:,} are needed for {aim}", needed=needed)

    def _needed(self, rows: Rows, swept: Sweep, promised: float) -> int | None:
        """Return rows that would do for half of the saving promised, by the normal distribution.

        All safer thresholds come before, so that the hardest of them counts.
        """
        mean, deviation = swept.table.mean, swept.table.deviation
        reach = special.ndtri(1 - self.tested) + special.ndtri(_POWER)
        with np.errstate(divide="ignore"):
            each = np.where(mean > 0, (reach * deviation / np.maximum(mean, 1e-12)) ** 2, np.inf)
        each = np.maximum(np.maximum.accumulate(each), reach**2 * self.floor / np.maximum(mean, 1e-12))
        enough = each[swept.saving >= promised / 2] * len(rows) / rows.effective
        if not len(enough) or enough.min() > _MOST_ROWS:
            return None
        return max(int(np.ceil(enough.min())), len(rows) + 1)


def _with_suspect(asked: _Asked, rows: Rows, swept: Sweep, refused: Tuning) -> Tuning:
    """Return the refusal with the source without whose rows there would be a threshold, if there is one."""
    for shift in without_each_source(rows, swept):
        at = asked.best(swept, asked.safe(shift.table, rows.effective))
        if at is not None:
            hint = f"without the rows of {shift.kind} {shift.name} it would be {swept.thresholds[at]:g}"
            return replace(refused, notes=(f"{hint}: look at these rows",))
    return refused


def _moved_by_one(asked: _Asked, rows: Rows, swept: Sweep, threshold: float, most_shift: float) -> str | None:
    """Return which tenant or day moves the threshold furthest; None where none moves it too far."""
    furthest, reason = most_shift + 1e-12, None
    for shift in without_each_source(rows, swept):
        at = asked.best(swept, asked.safe(shift.table, rows.effective))
        by = math.inf if at is None else abs(float(swept.thresholds[at]) - threshold)
        if by > furthest:
            furthest = by
            instead = "there would be none" if at is None else f"it would be {swept.thresholds[at]:g}"
            reason = (
                f"without the rows of {shift.kind} {shift.name} {instead} in place of {threshold:g}, and one"
                f" {shift.kind} may not move it by more than {most_shift:g}. Look at these rows; leave them"
                " out, or gather more of others"
            )
    return reason


def _steady(
    asked: _Asked,
    rows: Rows,
    swept: Sweep,
    found: Tuning,
    current: float | None,
    most_shift: float,
    redraws: int,
    seed: int,
) -> Tuning:
    """Return the tuning found, a refusal where one source moves it, or the current one if as good."""
    assert found.threshold is not None and found.saving is not None  # noqa: S101, PT018 - the caller's branch
    bare = replace(asked.figures(rows), saving_plain=found.saving_plain)
    reason = _moved_by_one(asked, rows, swept, found.threshold, most_shift)
    if reason is not None:
        return replace(bare, refusal=reason)
    notes = () if rows.sources else ("neither tenants nor days are looked at: false rows are not noticed",)
    if current is None:
        return replace(found, moved=True, notes=notes)
    at = int(np.argmin(np.abs(swept.thresholds - current)))
    if at == int(np.argmin(np.abs(swept.thresholds - found.threshold))):
        return replace(found, notes=notes)
    if swept.table.mean[at] < 0:
        why = f"the current threshold, {current:g}, does not keep the floor on these rows"
        return replace(found, moved=True, notes=(*notes, why))
    gains = chosen_in_redraws(rows, swept, asked.floor, asked.tested, current, redraws, seed)
    # The current threshold was chosen from rows as chancy as these: two such choices differ by more than one.
    surely = gains.mean() - math.sqrt(2) * (gains.mean() - np.quantile(gains, asked.level))
    if surely > 0:
        return replace(found, moved=True, notes=notes)
    gain = found.saving - float(swept.saving[at])
    told = f"would save {gain:.1%} more" if gain > 0 else f"would save {-gain:.1%} less, and keep more"
    why = f"{found.threshold:g} {told}, which is within the uncertainty: it stays"
    return replace(asked.evidence(rows, swept, bare, at), notes=(*notes, why))
