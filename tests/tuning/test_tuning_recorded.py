"""A ledger that real runs wrote is read as outcomes: what each reply was worth, and what is known of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from recording import STEP, models, prompts, right, write

from langroute import Ledger, Policy, RoutedChatModel
from langroute.ledger.reading import Filter
from langroute.request import Request
from langroute.testing import ScriptedChatModel
from langroute.tuning.features import hard_values, prompt_features
from langroute.tuning.recorded import Reading, logged_of, outcomes_of
from langroute.tuning.replay import plan_under
from langroute.tuning.scores import fit_prompt_score

EXPLORING = {"cascade": ["small", "large"], "explore": 0.25}


def policy(**more: Any) -> dict[str, Any]:
    return {"steps": {STEP: {**EXPLORING, **more}}}


def test_every_reply_with_feedback_is_an_outcome_with_its_price_and_its_chance(tmp_path: Path) -> None:
    asked = prompts(60)
    reading = Reading(write(tmp_path / "a.db", policy(), asked, labelled=0.5))
    found = list(reading.outcomes())
    assert 15 < len(found) < 45
    assert reading.found.labelled == len(found)
    assert reading.found.decisions == reading.found.explored == 60
    truth = {Request((HumanMessage(prompt),)).digest: prompt for prompt in asked}
    for each in found:
        assert each.score == right(truth[each.query], each.tier)
        assert (each.tier, each.propensity, each.chosen_by) in {
            ("small", 0.75, "plan"),
            ("large", 0.25, "explore"),
        }
        assert each.start == each.tier
        assert each.spent_usd == each.cost_usd > 0


def judged(path: Path, *, text: str = "off") -> Ledger:
    """Two decisions: a draft that the judge rejects, and a reply that it accepts and a person does not."""
    grades = [
        {"score": 0.2, "reason": "no"},
        {"score": 0.9, "reason": "fine"},
        {"score": 0.8, "reason": "ok"},
    ]
    tiers = models() | {"judges": {"models": [ScriptedChatModel(name="judge", replies=grades)]}}
    check = {"judge": {"rubric": "Is it right?", "tier": "judges", "min": 0.5}}
    steps = {STEP: {"cascade": ["small", "large"], "verify": [check]}}
    ledger = Ledger(path)
    model = RoutedChatModel({"tiers": tiers, "steps": steps, "ledger": {"text": text}}, ledger=ledger)
    model.for_step(STEP).invoke("Name a river.")
    ledger.feedback(model.for_step(STEP).invoke("Name a city."), score=0)
    ledger.flush()
    return ledger


def test_a_rejected_draft_has_a_worth_only_where_a_judge_said_so(tmp_path: Path) -> None:
    ledger = judged(tmp_path / "a.db")
    assert [(each.tier, each.score) for each in Reading(ledger).outcomes()] == [("small", 0)]
    reading = Reading(ledger, judged_by="judge")
    found = [(each.tier, each.score, each.chosen_by, each.start) for each in reading.outcomes()]
    expected = [
        ("small", 0.2, "plan", ""),
        ("large", 0.9, "escalation", "small"),
        ("small", 0, "plan", "small"),
    ]
    assert found == expected
    assert (reading.found.drafts, reading.found.drafts_labelled) == (1, 1)
    assert "2 decisions, 2 with feedback; of 1 replies that were not returned 1" in reading.found.summary


def test_what_a_step_spent_is_that_of_the_whole_decision(tmp_path: Path) -> None:
    ledger = judged(tmp_path / "a.db")
    escalated = list(Reading(ledger, judged_by="judge").outcomes())[1]
    (record, *_) = ledger.decisions()
    assert escalated.spent_usd == record.cost_usd
    assert (
        escalated.cost_usd is None or escalated.spent_usd is None or escalated.cost_usd < escalated.spent_usd
    )


def test_without_text_a_prompt_is_what_the_record_says_and_a_score_reads_the_same(
    tmp_path: Path,
) -> None:
    asked = prompts(150)
    outcomes = list(Reading(write(tmp_path / "a.db", policy(), asked)).outcomes())
    score = fit_prompt_score(outcomes, ["small", "large"], step=STEP).score
    for prompt, outcome in zip(asked, outcomes, strict=True):
        request = Request((HumanMessage(prompt),))
        assert outcome.prompt.values == pytest.approx(hard_values(request))
        now, then = (score.gain(features, "small") for features in (score.seen(request), outcome.prompt))
        assert now == pytest.approx(then, abs=1e-9)


def test_a_text_that_was_kept_is_read_as_it_would_be_before_the_call(tmp_path: Path) -> None:
    ledger = judged(tmp_path / "a.db", text="full")
    kept, bare = (
        next(iter(Reading(ledger, judged_by="judge").outcomes(text=text))) for text in (True, False)
    )
    read = prompt_features(Request((HumanMessage("Name a river."),)))
    assert read.values.items() <= kept.prompt.values.items()
    assert kept.prompt.text is not None
    assert np.array_equal(kept.prompt.text.buckets, read.text.buckets)
    assert bare.prompt.text is None
    assert "words" not in bare.prompt.values


def test_reading_holds_a_page_at_a_time_and_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    ledger = write(tmp_path / "a.db", policy(), prompts(40))
    reading = Reading(ledger, Filter(step=STEP), progress=lambda *at: told.append(at))
    first = next(reading.outcomes())
    assert (reading.found.decisions, first.step) == (1, STEP)
    assert len(list(reading.outcomes())) == 40
    assert told[-1] == (40, 40)


def test_of_two_calls_that_a_resumed_run_made_the_one_returned_counts(tmp_path: Path) -> None:
    ledger = write(tmp_path / "a.db", policy(), prompts(1))
    (record,) = ledger.decisions()
    (row,) = record.attempts
    lost = replace(row, mark=row.mark + 1, returned=0, cost_usd=9.0)
    for attempts in ((row, lost), (lost, row)):
        twice = replace(record, attempts=attempts)
        assert [each.cost_usd for each in outcomes_of(twice, logged_of(twice))] == [row.cost_usd]


def test_what_a_rule_demanded_is_in_the_log_and_holds_under_another_policy(tmp_path: Path) -> None:
    rules = [{"when": {"keywords": ["prove"]}, "start": "large"}]
    bound = {STEP: {"cascade": ["small", "large"], "route": {"difficulty": {"threshold": 0.9}}}}
    ledger = write(tmp_path / "a.db", {"steps": bound, "rules": rules}, ["Please prove it: 1?", "Name 2."])
    logs = [logged for _, logged in Reading(ledger).logged()]
    assert [logged.least for logged in logs] == ["large", None]
    easy = {STEP: {"cascade": ["small", "large"]}}
    replan = plan_under(Policy.load({"tiers": models(), "steps": easy}))
    assert [replan(logged).rungs[0].tier for logged in logs] == ["large", "small"]


def test_a_learned_score_of_the_other_policy_says_where_a_logged_run_would_start(tmp_path: Path) -> None:
    reading = Reading(write(tmp_path / "a.db", policy(), prompts(150)))
    score = fit_prompt_score(reading.outcomes(), ["small", "large"], step=STEP).score
    bound = {STEP: {"cascade": ["small", "large"], "route": {"learned": {"model": score, "threshold": 0.3}}}}
    other = Policy.load({"tiers": models(), "steps": bound})
    for _, logged in reading.logged():
        assert logged.prompt is not None
        start = "large" if score.gain(logged.prompt, "small") >= 0.3 else "small"
        assert plan_under(other)(logged).rungs[0].tier == start


def test_what_a_function_answered_is_no_outcome_of_a_tier(tmp_path: Path) -> None:
    step = {"cascade": [{"function": "rule"}, "small", "large"]}
    bound = Policy.load({"tiers": models(), "steps": {STEP: step}})
    with Ledger(tmp_path / "a.db") as ledger:
        functions = {"rule": lambda request: "42" if request.question.startswith("6") else None}
        routed = RoutedChatModel(policy=bound, ledger=ledger, functions=functions).for_step(STEP)
        for question in ("6 times 7", prompts(1)[0]):
            ledger.feedback(routed.invoke(question), score=1)
        ledger.flush()
        assert [outcome.tier for outcome in Reading(ledger).outcomes()] == ["small"]
