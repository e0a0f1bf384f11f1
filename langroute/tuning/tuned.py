"""Every threshold of a policy set anew from outcomes, each with its evidence or the reason why not.

for found in tune_policy(dials_of(policy, written), outcomes, floor=0.98, confidence=0.9):
print(found.dial.place, found.threshold, found.evidence)
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langroute.tuning.dials import Dial
from langroute.tuning.evidence import Rows
from langroute.tuning.outcomes import SHADOW, Outcome
from langroute.tuning.scores import fit_prompt_score, fit_reply_score
from langroute.tuning.sides import Compared, Comparing
from langroute.tuning.sweep import sweep
from langroute.tuning.thresholds import Tuning, tune
from langroute.tuning.writing import Change

__all__ = ["Asked", "Tuned", "tune_policy"]

_TIERS = 2
"""A threshold is set between two tiers; what a third would have come to, no row says."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of thresholds, as `langroute.tuning.thresholds.tune` takes it."""

    floor: float = 0.98
    confidence: float = 0.9
    method: str = "dirichlet"
    most_share: float = 0.1
    """Largest share of the weight that one tenant or one day may have; 1 does not look at who or when."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was found for one threshold."""

    dial: Dial
    refusal: str | None
    """Why there is no threshold, and what to do; None where there is one."""
    tuning: Tuning | None = None
    """The figures; None where there were no rows at all."""
    basis: str = ""
    """`both asked`, `shadowed` or `explored`: where the rows come from."""
    notes: tuple[str, ...] = ()
    more: int | None = None
    """Further requests (with feedback, unless they are shadowed) that would be enough, at the rate at which
    these gave rows; None where that is not known."""
    curve: tuple[tuple[float, float, float], ...] = ()
    """Threshold, saving and quality of every threshold that was tried, safest first."""

    @property
    def threshold(self) -> float | None:
        """The threshold to use; None where it is refused."""
        return None if self.tuning is None else self.tuning.threshold

    @property
    def moved(self) -> bool:
        """Whether the threshold is another than the policy's."""
        return self.threshold is not None and self.threshold != self.dial.value

    @property
    def evidence(self) -> str:
        """What stands beside the number in the policy."""
        if self.tuning is None:
            return f"refused: {self.refusal}"
        return self.tuning.evidence

    @property
    def change(self) -> Change | None:
        """The number for `write_tuned`; None where it is refused."""
        return None if self.threshold is None else Change(self.dial.loc, self.threshold, self.evidence)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        figures = {} if self.tuning is None else self.tuning.as_dict()
        told = {"step": self.dial.step, "place": self.dial.place, "current": self.dial.value}
        said = {"threshold": self.threshold, "refusal": self.refusal, "basis": self.basis, "more": self.more}
        lists = {"notes": list(self.notes), "curve": [list(at) for at in self.curve]}
        return {**figures, **told, **said, "moved": self.moved, **lists}


def tune_policy(
    dials: Sequence[Dial],
    outcomes: Iterable[Outcome],
    asked: Asked | None = None,
    *,
    tuned_before: Collection[str] = (),
) -> list[Tuned]:
    """Return what outcomes say of each threshold, in the order given; of a step one at a time changes.

    Args:
        dials: The thresholds, see `langroute.tuning.dials.dials_of`.
        outcomes: Read once; only numbers are kept, unless a learned score has to be fitted again.
        asked: Floor, confidence and the like.
        tuned_before: Places whose number came from an earlier tuning: those move only when it is worth it.

    Raises:
        ValueError: A setting is out of range.
    """
    asked = asked or Asked()
    if any(dial.score is not None for dial in dials):
        outcomes = list(outcomes)
    gathering = [_comparing(dial, outcomes) for dial in dials]
    for outcome in outcomes:
        for each in gathering:
            if isinstance(each, Comparing) and outcome.step in ("", each.dial.step):
                each.add(outcome)
    found: list[Tuned] = []
    for dial, each in zip(dials, gathering, strict=True):
        before = next((past.dial for past in found if past.dial.step == dial.step and past.moved), None)
        if isinstance(each, str):
            found.append(Tuned(dial, each))
        elif before is not None:
            found.append(Tuned(dial, _after(before)))
        else:
            current = dial.value if dial.place in tuned_before else None
            found.append(_tuned(dial, each.compared(), asked, current))
    return found


def _after(before: Dial) -> str:
    return (
        f"{before.place} moves, and these outcomes were made with its old number: use the new policy, gather"
        " outcomes under it, and tune this one then"
    )


def _comparing(dial: Dial, outcomes: Iterable[Outcome]) -> Comparing | str:
    """Return what gathers the rows of a threshold, or why it cannot be tuned."""
    tiers = dial.bound.cascade
    if len(tiers) != _TIERS:
        return (
            f"its cascade has {len(tiers)} tiers ({', '.join(tiers)}), and this one number decides at all but"
            " the last, while a confidence is stated of a choice between two. Bind the step to two tiers, or"
            " try other numbers with `langroute replay`, which follows them all"
        )
    if dial.score is None:
        return Comparing(dial)
    return _with_score([e for e in outcomes if e.step in ("", dial.step) and e.chosen_by != SHADOW], dial)


def _with_score(outcomes: Sequence[Outcome], dial: Dial) -> Comparing | str:
    """Return the same for a learned score, which must not have seen the rows that it is judged by.

    Outcomes up to the day on which it was fitted may be its own. If they are, what it said of each without
    having seen it is found by fitting it again.
    """
    score = dial.score
    until = score.trained.get("until")
    own = [each for each in outcomes if until is None or each.day <= until]
    if not own or (dial.kind == "verify" and all(dial.name in each.verdicts for each in own)):
        return Comparing(dial)
    fit = fit_prompt_score if score.kind == "prompt" else fit_reply_score
    try:
        seen = [_read_by(score, each) for each in own if each.tier in score.tiers]
        again = fit(seen, score.tiers, step=score.step)
    except ValueError as error:
        return str(error)
    if again.score.trained["labels_sha256"] != score.trained.get("labels_sha256"):
        return (
            "its score was fitted on other outcomes up to the same day, so nobody knows which of these it"
            " has seen: fit it on these with `langroute train`, or tune on later ones with --since"
        )
    rows = again.rows[dial.cheap]
    queries = [again.queries[row] for row in rows]
    return Comparing(dial, dict(zip(queries, map(float, again.gain(dial.cheap)), strict=True)))


def _read_by(score: Any, outcome: Outcome) -> Outcome:
    """Return an outcome with only what the score was fitted on."""
    names = set(score.names)
    reply = {name: value for name, value in outcome.reply.items() if name in names}
    prompt = outcome.prompt.kept(names.__contains__, text=score.idf is not None)
    return replace(outcome, prompt=prompt, reply=reply)


def _tuned(dial: Dial, compared: Compared | str, asked: Asked, current: float | None) -> Tuned:
    if isinstance(compared, str):
        return Tuned(dial, compared)
    columns = dict(compared.columns)
    if asked.most_share >= 1:  # who may have everything is not looked at
        columns |= {"tenants": None, "days": None}
    tuning = tune(
        **columns,
        kind=dial.kind,
        floor=asked.floor,
        confidence=asked.confidence,
        method=asked.method,
        most_share=asked.most_share,
        seed=asked.seed,
        current=current,
    )
    if tuning.threshold is not None:
        tuning = replace(tuning, threshold=_in_range(dial, tuning.threshold))
    more = None
    if tuning.needed is not None:
        more = math.ceil((tuning.needed - len(compared)) * compared.requests / len(compared))
    notes = (*compared.notes, *tuning.notes)
    curve = _curve(compared, dial, asked.floor)
    return Tuned(dial, tuning.refusal, tuning, compared.basis, notes, more, curve)


def _in_range(dial: Dial, threshold: float) -> float:
    """Return the threshold where a policy may have it: one above the top says the same as the top."""
    lowest = -1.0 if dial.name == "learned" and dial.kind == "route" else 0.0
    return min(max(threshold, lowest), 1.0)


def _curve(compared: Compared, dial: Dial, floor: float) -> tuple[tuple[float, float, float], ...]:
    columns = compared.columns
    rows = Rows.read(*(columns[name] for name in ("score", "cheap", "strong", "cheap_usd", "strong_usd")))
    rows = replace(rows, weights=columns["weights"])
    swept = sweep(rows, dial.kind, floor)
    parts = (swept.thresholds.tolist(), swept.saving.tolist(), swept.quality.tolist())
    return tuple(zip(*parts, strict=True))
