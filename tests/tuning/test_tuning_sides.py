"""Both sides of a threshold are compared fairly, and a floor is kept as often as it is promised."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from langroute import Policy
from langroute.tuning.dials import Dial, dials_of
from langroute.tuning.features import Features
from langroute.tuning.outcomes import Outcome
from langroute.tuning.sides import Compared, Comparing
from langroute.tuning.thresholds import tune

TIERS = {"tiers": {"small": {"models": ["openai:small"]}, "large": {"models": ["openai:large"]}}}


def dial(bound: dict[str, Any]) -> Dial:
    written = {**TIERS, "steps": {"work": {"cascade": ["small", "large"], **bound}}}
    return dials_of(Policy.load(written), written)[0]


ROUTE = dial({"route": {"difficulty": {"threshold": 0.5}}})
VERIFY = dial({"verify": ["no_refusal", {"confidence": {"min": 0.7}}]})


def outcome(query: object, tier: str, score: float, **more: Any) -> Outcome:
    usd = {"small": 0.001, "large": 0.01}[tier]
    return Outcome(str(query), tier, score, Features(), cost_usd=usd, step="work", **more)


def compared(dial: Dial, outcomes: list[Outcome]) -> Compared:
    gathering = Comparing(dial)
    for each in outcomes:
        gathering.add(each)
    found = gathering.compared()
    assert isinstance(found, Compared), found
    return found


def explored(count: int, rng: np.random.Generator, explore: float = 0.25, own: float = 0.4) -> list[Outcome]:
    """Return requests that start by `own` and by chance; the small tier is right with `1 - difficulty`."""
    difficulty = rng.random(count)
    chosen = np.where(difficulty >= own, "large", "small")
    drawn = rng.random(count) < explore
    found = []
    for number in range(count):
        other = {"small": "large", "large": "small"}[chosen[number]]
        start = other if drawn[number] else str(chosen[number])
        right = rng.random() < (0.9 if start == "large" else 1 - difficulty[number] ** 2)
        usd = 0.01 if start == "large" else 0.001
        chance = explore if drawn[number] else 1 - explore
        told = {"start": start, "spent_usd": usd, "propensity": chance, "chosen_by": "plan"}
        found.append(outcome(number, start, float(right), difficulty=float(difficulty[number]), **told))
    return found


def test_explored_starts_tell_what_both_tiers_are_worth_at_every_score() -> None:
    found = compared(ROUTE, explored(20_000, np.random.default_rng(0)))
    columns = found.columns
    assert found.basis == "explored"
    assert len(found) == pytest.approx(5_000, rel=0.1)
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (columns["score"] >= low) & (columns["score"] < low + 0.25)
        weights = columns["weights"][inside]
        middle = np.mean((low + np.linspace(0, 0.25, 1000)) ** 2)
        assert weights.sum() == pytest.approx(5_000, rel=0.1)
        assert np.average(columns["cheap"][inside], weights=weights) == pytest.approx(1 - middle, abs=0.04)
        assert np.average(columns["strong"][inside], weights=weights) == pytest.approx(0.9, abs=0.03)


def test_of_many_tunings_on_explored_starts_few_break_the_floor() -> None:
    """The small tier is right with `1 - d ** 2`: below `t` its mean is `1 - t ** 2 / 3`."""
    floor, broken, set_at = 0.98, 0, []
    for seed in range(60):
        columns = compared(ROUTE, explored(3_000, np.random.default_rng(seed))).columns
        threshold = tune(**columns, kind="route", floor=floor, confidence=0.9).threshold
        if threshold is not None:
            set_at.append(threshold)
            broken += threshold * (1 - threshold**2 / 3) + (1 - threshold) * 0.9 < floor * 0.9
    assert len(set_at) > 50
    assert np.mean(set_at) > 0.4
    assert broken <= 0.1 * 60 + 3  # three above the mean of a tenth: seeds are fixed


def test_a_request_that_both_tiers_were_asked_is_a_row() -> None:
    both = ("small", "large")
    asked = [outcome(n, tier, float(n % 2), difficulty=n / 10) for n in range(10) for tier in both]
    found = compared(ROUTE, [*asked, outcome("alone", "small", 1, difficulty=0.1)])
    assert found.basis == "both asked"
    assert (len(found), found.requests) == (10, 11)
    assert found.columns["cheap"].tolist() == found.columns["strong"].tolist() == [n % 2 for n in range(10)]


def test_a_draft_that_other_checks_reject_goes_on_whatever_the_score_says() -> None:
    refuses = {"verdicts": {"no_refusal": 0.0, "confidence": 0.9}}
    fine = {"verdicts": {"no_refusal": 1.0, "confidence": 0.8}}
    asked = [outcome(1, "small", 0, **refuses), outcome(2, "small", 1, **fine)]
    found = compared(VERIFY, [*asked, outcome(1, "large", 1), outcome(2, "large", 1)])
    assert found.columns["score"].tolist() == [0.8]
    assert found.notes == ("1 drafts fail other checks whatever this one says, and are not in the figures",)


def test_before_a_reply_such_a_draft_is_paid_for_and_the_strong_tier_answers() -> None:
    both = dial({"verify": ["no_refusal"], "route": {"difficulty": {"threshold": 0.5}}})
    draft = outcome(1, "small", 0, difficulty=0.2, verdicts={"no_refusal": 0.0})
    found = compared(both, [draft, outcome(1, "large", 1, difficulty=0.2)])
    assert found.columns["cheap"].tolist() == [1]
    assert found.columns["cheap_usd"].tolist() == [pytest.approx(0.011)]


def test_a_rejected_draft_that_nobody_judged_is_told_of() -> None:
    started = {"chosen_by": "plan", "verdicts": {"confidence": 0.8}}
    both = ("small", "large")
    asked = [outcome(n, tier, 1, start=tier, **started) for n in (1, 2) for tier in both]
    lost = outcome(3, "large", 1, chosen_by="escalation", start="small")
    found = compared(VERIFY, [*asked, lost, outcome(3, "large", 1, chosen_by="plan", start="large")])
    assert len(found) == 2
    assert "1 drafts were rejected and nobody knows how good they were" in found.notes[0]


@pytest.mark.parametrize(("which", "said"), [(ROUTE, "nor did the step explore"), (VERIFY, "none has both")])
def test_without_both_sides_it_says_what_there_is_and_what_to_do(which: Dial, said: str) -> None:
    gathering = Comparing(which)
    gathering.add(outcome(1, "small", 1, difficulty=0.2))
    found = gathering.compared()
    assert isinstance(found, str)
    assert found.startswith("1 requests have a reply of small whose worth is known, 0 one of large")
    assert said in found


def test_unknown_costs_are_those_of_the_others_and_without_any_it_is_refused() -> None:
    asked = [outcome(n, tier, 1, difficulty=0.1) for n in (1, 2) for tier in ("small", "large")]
    one = [replace(asked[0], cost_usd=None), *asked[1:]]
    assert compared(ROUTE, one).columns["cheap_usd"].tolist() == [0.001, 0.001]
    gathering = Comparing(ROUTE)
    for each in asked:
        gathering.add(replace(each, cost_usd=None))
    assert gathering.compared() == (
        "no cost of the cheap tier is known: state its `price` in the policy, or `cost_usd`"
    )
