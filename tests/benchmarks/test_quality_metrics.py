"""The benchmark's metrics do what their definitions say: worked by hand, and by the slow way round."""

import numpy as np
import pytest
from quality.thresholds import came_to, choose, routes

from langroute.tuning.metrics import Interval, Pair, Ranked, ece, ece_by_chance, interval, used


def pair(yw, ys, cw=0.1, cs=1.0, **kwargs):
    yw, ys = np.array(yw, float), np.array(ys, float)
    return Pair(yw, ys, np.full(len(yw), cw), np.full(len(yw), cs), **kwargs)


FOUR = pair([1, 0, 0, 1], [1, 1, 0, 1])
"""Only the second query is worth the strong model: quality 0.5 and 0.75."""


def drawn(n=300, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    score = hard + rng.normal(0, 0.3, n)
    known = pair(rng.random(n) > hard, rng.random(n) > 0.3 * hard, **kwargs)
    return score, known


def test_a_hair_below_nought_is_nought():
    assert f"{Interval(-0.04, -0.06, 0.02):.1f}" == "0.0 [-0.1, 0.0]"


def test_apgr_of_the_best_and_the_worst_order_by_hand():
    best, worst = Ranked(np.array([0, 3, 1, 2.0]), FOUR), Ranked(np.array([3, 0, 1, 2.0]), FOUR)
    # The gap is recovered at the first call: (0 + 1) / 2 + 1 + 1 + 1 of four quarters; or only at the last.
    assert best.apgr() == pytest.approx(3.5 / 4)
    assert worst.apgr() == pytest.approx(0.5 / 4)


def test_cpt_is_the_share_of_strong_calls_by_hand():
    assert Ranked(np.array([0, 3, 1, 2.0]), FOUR).cpt(0.5) == 25
    assert Ranked(np.array([3, 0, 1, 2.0]), FOUR).cpt(0.8) == 100


def test_apgr_of_a_score_drawn_at_random_is_a_half():
    _, known = drawn(4_000)
    values = [Ranked(np.random.default_rng(seed).random(4_000), known).apgr() for seed in range(30)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.02)


def test_equal_scores_are_ordered_at_random():
    _, known = drawn(2_000)
    values = [Ranked(np.zeros(2_000), known, seed).apgr() for seed in range(40)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)
    assert np.std(values) > 0.01


@pytest.mark.parametrize("cascade", [False, True])
@pytest.mark.parametrize("floor", [0.9, 0.98, 1.0])
def test_saved_is_the_most_that_any_number_of_strong_calls_saves(cascade, floor):
    score, known = drawn(cascade=cascade, extra=0.02)
    best = -np.inf
    for calls in range(len(known) + 1):
        strong = np.zeros(len(known), bool)
        strong[np.argsort(-score)[:calls]] = True
        quality = np.where(strong, known.ys, known.yw).mean()
        weak_cost = known.cw + 0.02
        cost = weak_cost + strong * known.cs if cascade else np.where(strong, known.cs, weak_cost)
        if quality >= floor * known.ys.mean() - 1e-12:
            best = max(best, 100 * (1 - cost.sum() / known.cs.sum()))
    assert Ranked(score, known).saved(floor) == pytest.approx(best)


def test_one_curve_gives_the_figures_that_each_definition_gives():
    score, known = drawn()
    ranked = Ranked(score, known)
    weights = np.random.default_rng(1).integers(0, 3, len(known)).astype(float)
    for w in (None, weights):
        alone = [ranked.apgr(w), ranked.cpt(0.5, w), ranked.cpt(0.8, w)]
        alone += [ranked.saved(floor, w) for floor in (0.95, 0.98, 1.0)]
        assert ranked.figures(w) == pytest.approx(alone)


def test_weights_count_queries_as_often_as_they_stand_in_a_resample():
    score, known = drawn(200)
    times = np.random.default_rng(2).integers(0, 4, 200)
    rows = np.repeat(np.arange(200), times)
    ranked = Ranked(score, known)
    repeated = Ranked(score[rows], known.at(rows))
    assert ranked.apgr(times[ranked.order].astype(float)) == pytest.approx(repeated.apgr(), abs=0.02)
    assert ranked.saved(0.98, times[ranked.order].astype(float)) == pytest.approx(repeated.saved(0.98), abs=2)


def test_a_threshold_sends_scores_from_itself_on_and_is_billed_for_both_calls_of_a_cascade():
    cascade = Pair(FOUR.yw, FOUR.ys, FOUR.cw, FOUR.cs, cascade=True)
    saved, kept = used(np.array([0.1, 0.9, 0.2, 0.3]), cascade, 0.9)
    assert kept == 1
    assert saved == pytest.approx(100 * (1 - (4 * 0.1 + 1) / 4))


@pytest.mark.parametrize("cascade", [False, True])
def test_thresholds_keep_the_floor_that_they_were_set_for_and_sure_ones_keep_more(cascade):
    score, known = drawn(2_000, cascade=cascade)
    came = [came_to(choose(score, known, 0.9, sure=sure), score, known) for sure in (False, True)]
    assert came[0][0] > came[1][0] > 0
    assert 0.9 - 1e-9 < came[0][1] < came[1][1] < 1


def test_the_library_sends_what_its_tuning_says_that_it_sends():
    score, known = drawn(2_000, cascade=True, extra=0.02)
    tuning = choose(score, known, 0.95, sure=True)
    saved, kept = came_to(tuning, score, known)
    assert (saved, kept) == (pytest.approx(100 * tuning.saving), pytest.approx(tuning.kept))


def test_where_nothing_may_be_kept_routing_is_refused_and_no_draft_is_paid():
    bad = pair([0] * 500, [1] * 500, cascade=True)
    score = np.linspace(0, 1, 500)
    tuning = choose(score, bad, 0.98, sure=True)
    assert not routes(tuning)
    assert came_to(tuning, score, bad) == (0, 1)


def test_ece_by_hand_and_of_a_calibrated_score():
    assert ece(np.array([0.2, 0.2, 0.8, 0.8]), np.array([0, 1, 1, 1]), bins=2) == pytest.approx(0.25)
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    assert ece(p, rng.random(20_000) < p) < 0.02
    assert ece_by_chance(p, 20) == pytest.approx(ece(p, rng.random(20_000) < p), abs=0.01)


def test_interval_holds_the_figure_and_narrows_with_the_queries():
    wide = interval(lambda w: float(w @ np.arange(50) / w.sum()), 50)
    narrow = interval(lambda w: float(w @ (np.arange(5_000) / 100) / w.sum()), 5_000)
    assert wide.low < wide.value < wide.high
    assert narrow.high - narrow.low < (wide.high - wide.low) / 5
