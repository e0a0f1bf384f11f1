"""A check is tuned from what shadows found: the same requests at both tiers, in a ledger without feedback."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledgers import kept
from recording import STEP, models, prompts, right
from runs import Question, logged, questions, truth
from typer.testing import CliRunner

from langroute import Ledger, Policy, RoutedChatModel
from langroute.cli import app
from langroute.ledger.records import DecisionRecord, ShadowRecord
from langroute.testing import Answer, ScriptedChatModel
from langroute.tuning.dials import Dial, dials_of
from langroute.tuning.outcomes import SHADOW, Outcome
from langroute.tuning.recorded import Reading, logged_of, outcomes_of, shadows_of
from langroute.tuning.sides import Compared, Comparing
from langroute.tuning.tuned import Asked, Tuned, tune_policy

ANYONE = Asked(most_share=1)
FLOOR = 0.98


def dial(check: dict[str, Any] | None = None, tiers: Any = ("small", "large")) -> Dial:
    named = {tier: {"models": [f"openai:{tier}"]} for tier in (*tiers, "top")}
    step = {"cascade": list(tiers), "verify": [check or {"confidence": {"min": 0.0}}]}
    written = {"tiers": named, "steps": {STEP: step}}
    return dials_of(Policy.load(written), written)[0]


def found(question: Question) -> str:
    """Return what a judge finds who is always right."""
    return "good" if question.small else "misrouted" if question.large else "neither"


def shadow(verdict: str | None, share: float = 0.3, **more: Any) -> ShadowRecord:
    told: dict[str, Any] = {
        "id": "s",
        "decision": "d",
        "made_at_s": 0.0,
        "step": STEP,
        "tier": "small",
        "endpoint": "small",
        "strong_tier": "large",
        "strong_endpoint": "large",
        "propensity": share,
        "compared_by": "judge",
        "outcome": "failed" if verdict is None else "compared",
        "verdict": verdict,
        "reason": "",
        "call_usd": 0.01,
        "judge_usd": 0.002,
        "latency_s": 1.0,
        "reply": None,
    }
    return ShadowRecord(**told | more)


def ledger_of(seed: int, rows: int, minimum: float = 0.0, share: float = 0.3) -> Iterator[DecisionRecord]:
    """Yield decisions without feedback that all start small, a share of the accepted ones shadowed."""
    rng = np.random.default_rng(seed)
    asked = questions(rows, rng)
    runs = logged(asked, lambda _: "small", minimum, 0.0, rng)
    drawn = rng.random(rows) < share
    for number, (question, run, shadowed) in enumerate(zip(asked, runs, drawn, strict=True)):
        record, _ = kept(run, number)
        beside = (shadow(found(question), share),) if shadowed and record.tier == "small" else ()
        yield dataclasses.replace(record, feedback=(), shadows=beside)


def outcomes(records: Any) -> list[Outcome]:
    told: list[Outcome] = []
    for record in records:
        run = logged_of(record)
        told += [*outcomes_of(record, run), *shadows_of(record, run)]
    return told


def tuned(records: Any, asked: Asked = ANYONE, check: Dial | None = None) -> Tuned:
    (said,) = tune_policy([check or dial()], outcomes(records), asked)
    return said


def test_of_many_tunings_few_break_the_floor_and_most_save() -> None:
    """The truth is known: 200,000 requests of the same kind, each answered by both tiers."""
    many = questions(200_000, np.random.default_rng(1))
    strong = truth(many, lambda _: "large", 0.0)[0]
    score = np.array([question.score for question in many])
    small, large = (np.array([getattr(question, tier) for question in many]) for tier in ("small", "large"))
    set_at, broken = [], 0
    for seed in range(20):
        threshold = tuned(ledger_of(seed, 400, share=1.0)).threshold
        if threshold is not None:
            set_at.append(threshold)
            broken += np.where(score >= threshold, small, large).mean() < FLOOR * strong
    assert len(set_at) > 17
    assert np.mean(set_at) < 0.5  # where the small tier's wrong replies begin
    assert broken <= 0.1 * 20


def test_rows_are_of_shadows_alone_and_say_what_they_leave_out() -> None:
    said = tuned(ledger_of(0, 2_000, minimum=0.3))
    assert said.basis == "shadowed"
    assert said.tuning is not None
    assert said.threshold is not None
    assert said.threshold >= 0.3
    assert said.tuning.rows == sum(bool(record.shadows) for record in ledger_of(0, 2_000, minimum=0.3))
    assert "what was rejected is not in the figures, which flatter the saving, and nothing below 0.3" in str(
        said.notes
    )


def test_too_few_shadows_are_refused_with_how_many_more_requests_would_do() -> None:
    said = tuned(ledger_of(0, 150))
    assert said.threshold is None
    assert said.more is not None
    assert tuned(ledger_of(1, 150 + said.more)).threshold is not None


def compared(told: list[Outcome], check: Dial | None = None) -> Compared | str:
    gathering = Comparing(check or dial())
    for each in told:
        gathering.add(each)
    return gathering.compared()


@pytest.mark.parametrize(
    ("verdict", "worth"),
    [("good", (1, 1)), ("misrouted", (0, 1)), ("neither", (0, 0)), ("unsure", None), (None, None)],
)
def test_what_a_shadow_found_is_what_both_replies_are_worth(verdict: str, worth: Any) -> None:
    (record,) = ledger_of(0, 1, share=0.0)
    told = list(shadows_of(dataclasses.replace(record, shadows=(shadow(verdict),)), logged_of(record)))
    assert [each.score for each in told] == list(worth or ())
    assert [(each.tier, each.cost_usd, each.chosen_by) for each in told] == [
        ("small", pytest.approx(0.001), SHADOW),
        ("large", 0.01, SHADOW),
    ][: len(told)]
    assert [set(each.verdicts) for each in told] == [{"confidence"}, set()][: len(told)]


def test_a_reply_stands_for_as_many_as_its_chance_says() -> None:
    records = [*ledger_of(0, 100, share=1.0)]
    seldom = [
        dataclasses.replace(r, shadows=(shadow("good", 0.1),), id=f"again {r.id}") for r in records[:10]
    ]
    rows = compared(outcomes([*records, *seldom]))
    assert isinstance(rows, Compared)
    assert sorted(set(rows.columns["weights"])) == [1, 10]
    assert rows.requests == 200


def test_what_has_no_score_or_another_strong_tier_is_no_row() -> None:
    told = outcomes(ledger_of(0, 50, share=1.0))
    unscored = [dataclasses.replace(each, verdicts={}) if at < 20 else each for at, each in enumerate(told)]
    rows = compared(unscored)
    assert isinstance(rows, Compared)
    assert len(rows) == 40
    assert rows.notes[0] == "10 requests without a score were left out"
    nothing = compared([dataclasses.replace(each, verdicts={}) for each in told])
    assert "no reply has a score of confidence: let it check the replies first" in str(nothing)
    higher = [dataclasses.replace(each, tier="top") if each.tier == "large" else each for each in told]
    assert "let `shadow` ask large as well on a share of the replies" in str(compared(higher))


def test_a_start_is_not_set_by_replies_that_were_chosen_for_being_accepted() -> None:
    written = {"cascade": ["small", "large"], "route": {"difficulty": {"threshold": 0.5}}}
    policy = {"tiers": {"small": "openai:a", "large": "openai:b"}, "steps": {STEP: written}}
    (start,) = dials_of(Policy.load(policy), policy)
    assert "nor did the step explore" in str(compared(outcomes(ledger_of(0, 50, share=1.0)), start))


def test_real_runs_with_a_shadow_and_no_feedback_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The large model is taken at its word; the small one is unsure where it says something else."""
    asked = prompts(300)
    told = [right(prompt, "small") for prompt in asked]
    replies = [Answer("It is so.", probability=0.9) if so else Answer("No.", probability=0.3) for so in told]
    small = {"model": ScriptedChatModel(name="small", replies=replies), "price": {"input": 1, "output": 1}}
    written = {
        "tiers": {**models(), "small": {"models": [small]}},
        "steps": {STEP: {"cascade": ["small", "large"], "verify": [{"confidence": {"min": 0.0}}]}},
        "shadow": {"step": STEP, "share": 0.8, "compare": "exact", "per_day_usd": 1_000},
    }
    ledger = Ledger(tmp_path / "a.db")
    model = RoutedChatModel(written, ledger=ledger)
    for number, prompt in enumerate(asked):
        model.for_step(STEP).invoke(prompt)
        if number % 50 == 0:
            assert model.router.shadows.flush(60)
    assert model.router.shadows.flush(60)
    assert ledger.flush(60)
    reading = Reading(ledger)
    (said,) = tune_policy([dial()], reading.outcomes(shadows=True), ANYONE)
    assert said.basis == "shadowed"
    assert said.threshold is not None
    assert 0.3 < said.threshold <= 0.9
    assert reading.found.labelled == 0
    assert reading.found.compared == said.tuning.rows  # type: ignore[union-attr]  # there is a threshold
    assert f"of {said.tuning.rows} shadows {said.tuning.rows} found" in reading.found.summary  # type: ignore[union-attr]
    assert not [each for each in reading.outcomes() if each.chosen_by == SHADOW]
    policy = {"tiers": {"small": "openai:a", "large": "openai:b"}, "steps": written["steps"]}
    (tmp_path / "p.json").write_text(json.dumps(policy))
    asks = ["tune", "--policy", "p.json", "--ledger", "a.db", "--most-share", "1", "--json"]
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, asks)
    assert json.loads(ran.stdout)["thresholds"][0]["threshold"] == said.threshold
