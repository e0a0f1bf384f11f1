"""Scores learn what is true of a small world, and what they say of the unseen can be believed."""

import dataclasses

import numpy as np
import pytest
from worlds import TIERS, prompt_score, reply_score, world

from langroute.tuning.features import Features
from langroute.tuning.heads import Settings, calibrate, calibration_error
from langroute.tuning.scores import cold_score, expected_gain, fit_prompt_score, fit_reply_score


def right(outcomes, tier):
    return np.array([outcome.score for outcome in outcomes if outcome.tier == tier])


def prompts(outcomes):
    return [outcome.prompt for outcome in outcomes if outcome.tier == "small"]


def ranks(score, worth):
    """Return how often a query with more worth has the higher score, of the pairs that differ."""
    more, less = score[worth > 0], score[worth < 0]
    return float(np.mean(more[:, None] > less[None, :]))


def test_score_of_prompts_finds_the_prompts_that_are_worth_the_large_tier():
    unseen = world(600, seed=9)
    fitted = prompt_score()
    gain = expected_gain(fitted.score, fitted.said_of(prompts(unseen)), "small")
    assert ranks(gain, right(unseen, "large") - right(unseen, "small") - 0.5) > 0.75


def test_score_of_replies_knows_more_than_the_prompt_tells():
    unseen = world(600, seed=9)
    after = [outcome.after() for outcome in unseen if outcome.tier == "small"]
    worth = right(unseen, "small") - 0.5
    before = prompt_score().said_of(prompts(unseen))["small"]
    assert ranks(reply_score().said_of(after)["small"], worth) > ranks(before, worth) + 0.05


@pytest.mark.parametrize(
    ("fitted", "key"), [(prompt_score, "small"), (prompt_score, "large"), (reply_score, "small")]
)
def test_probabilities_of_unseen_queries_are_calibrated(fitted, key):
    unseen = world(1_500, seed=5)
    kept = [outcome for outcome in unseen if outcome.tier == "small"]
    rows = [outcome.prompt if fitted is prompt_score else outcome.after() for outcome in kept]
    said = fitted(1_200).said_of(rows)[key]
    assert calibration_error(said, right(unseen, key)) < 0.05


def test_held_out_probabilities_are_not_made_from_their_own_labels():
    noise = [dataclasses.replace(o, score=float(i * 7919 % 13 < 6)) for i, o in enumerate(world(300))]
    fitted = fit_prompt_score(noise, TIERS)
    labels = right(noise, "small")
    assert abs(np.corrcoef(fitted.held_out["small"], labels)[0, 1]) < 0.15


def test_scores_of_one_seed_are_the_same_and_name_what_they_learned_from():
    one, other = (fit_reply_score(world(350), TIERS) for _ in range(2))
    assert one.score.trained == other.score.trained
    rows = [o.after() for o in world(350) if o.tier == "small"]
    assert np.array_equal(one.said_of(rows)["small"], other.said_of(rows)["small"])
    changed = (dataclasses.replace(world(350)[0], score=1 - world(350)[0].score), *world(350)[1:])
    again = fit_reply_score(changed, TIERS).score.trained
    assert again["labels_sha256"] != one.score.trained["labels_sha256"]


def test_cold_start_ranks_by_length_alone():
    score = cold_score(("small", "medium", "large"))
    short, long = (Features({"length": value}) for value in (3.0, 7.0))
    assert score.gain(short, "small") < score.gain(long, "small")
    assert score.gain(long, "medium") < score.gain(long, "small")
    assert score.gain(long, "large") == 0


def test_few_labels_stay_near_the_cold_start():
    few = [outcome for outcome in world(400) if int(outcome.query) < 4]
    weight = {
        labels: fit_prompt_score(known, TIERS).score for labels, known in ((4, few), (400, list(world(400))))
    }
    lengths = {n: s.heads["small"].weights[s.names.index("length")] for n, s in weight.items()}
    assert lengths[4] == pytest.approx(-0.35, abs=0.05)
    assert np.abs(weight[4].heads["small"].text).max() < np.abs(weight[400].heads["small"].text).max()


def test_labels_between_0_and_1_count_in_part():
    half = [dataclasses.replace(outcome, score=0.5) for outcome in world(200)]
    said = fit_prompt_score(half, TIERS).held_out["small"]
    assert said.mean() == pytest.approx(0.5, abs=0.02)
    assert said.min() > 0.2


def test_labels_that_are_all_the_same_give_a_constant():
    fitted = fit_prompt_score([dataclasses.replace(o, score=1.0) for o in world(60)], TIERS)
    assert fitted.held_out["small"].min() > 0.9
    assert fitted.gain("small") == pytest.approx(0, abs=0.05)


def test_queries_that_only_some_tiers_were_asked_are_used():
    partly = [o for o in world(400) if o.tier == "small" or int(o.query) % 3 == 0]
    fitted = fit_prompt_score(partly, TIERS)
    assert fitted.score.trained["labels"] == {"small": 400, "large": 134}
    assert len(fitted.gain("small")) == 400


def test_a_middle_tier_is_judged_by_its_own_replies():
    tiers = ("tiny", "small", "large")
    tiny = [dataclasses.replace(o, tier="tiny") for o in world(300, seed=3) if o.tier == "small"]
    fitted = fit_reply_score([*tiny, *world(300)], tiers)
    assert set(fitted.score.heads) == set(fitted.score.above) == {"tiny", "small"}
    assert len(fitted.gain("tiny")) == len(fitted.gain("small")) == 300


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [([], "no outcomes to learn from"), (world(3)[1:2], "no outcome of small")],
)
def test_what_cannot_be_learned_is_refused(outcomes, message):
    with pytest.raises(ValueError, match=message):
        fit_reply_score(outcomes, TIERS)


def test_outcomes_of_a_tier_outside_the_step_are_refused():
    with pytest.raises(ValueError, match="outcomes are of large, and the step's tiers are small, huge"):
        fit_prompt_score(world(3), ("small", "huge"))


def test_steps_are_taken_only_where_a_curve_is_clearly_wrong():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0, 2, 6_000)
    curved = 1 / (1 + np.exp(-log_odds))
    broken = np.where(log_odds > 0, 0.95, 0.4)
    assert not calibrate(log_odds, (rng.random(6_000) < curved).astype(float), 0).points
    stepped = calibrate(log_odds, (rng.random(6_000) < broken).astype(float), 0)
    assert stepped.points
    assert stepped.probability(3.0) == pytest.approx(0.95, abs=0.03)
    assert stepped.probability(-2.0) == pytest.approx(0.4, abs=0.08)


def test_calibration_of_few_labels_never_turns_a_score_around():
    log_odds = np.array([-1.0, -0.5, 0.5, 1.0])
    assert calibrate(log_odds, np.array([1.0, 1.0, 0.0, 0.0]), 0).slope > 0
    assert Settings().cold is None
