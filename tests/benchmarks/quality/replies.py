"""Scores of replies, after a cheap model answered: tool calls of BFCL, sums and programs of ZeroEval.

Thresholds are set on the splits `train` and `valid`, the figures are those of `test`.
"""

from functools import cache
from typing import Any

import numpy as np

from langroute.tuning.metrics import Interval, Pair, Ranked, ece, ece_by_chance, interval
from quality import baselines
from quality.learning import Learner, agreement
from quality.loaders import BFCL_PAIRS, GSM_PAIRS, Set, bfcl, zeroeval
from quality.rows import Table, ranked_figures, saved_figures
from quality.thresholds import LEAST_SAVED, came_to, choose, routes

__all__ = ["answers", "calibration", "other_sets", "refusals", "tool_calls"]

Array = Any
FLOOR = 0.98
GSM, CRUX, MATH = "zeroeval_gsm", "zeroeval_crux", "zeroeval_math-l5"
MINI, GPT_4O = "gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06"
ANSWERS = {
    "GSM8K, haiku → sonnet": (GSM, *GSM_PAIRS["haiku → sonnet"], 60.0),
    "GSM8K, llama-8B → 405B": (GSM, *GSM_PAIRS["llama-8B → 405B"], 70.0),
    "CRUX, 4o-mini → 4o": (CRUX, MINI, GPT_4O, 45.0),
}
SECOND_SHARE = 0.2
"""Share of the strong model's cost that a second opinion may have at most."""


@cache
def _tools() -> Set:
    return bfcl()


@cache
def _zero(name: str) -> Set:
    return zeroeval(name)


@cache
def _known(of: Set) -> tuple[Array, Array]:
    """Return the queries that everything is chosen on, and those of the test."""
    return of.rows("train", "valid"), of.rows("test")


def _figures(
    table: Table, what: str, known: Array, asked: Array, pair: Pair, rows: tuple[Array, Array]
) -> list[Interval]:
    """Add a row: the threshold set on the known queries, as estimated and to be sure, and the test's own."""
    dev, test = rows
    figures: dict[str, str] = {}
    saved = []
    for sure, name in ((False, "plain threshold"), (True, "sure by 90 %")):
        tuning = choose(known, pair.at(dev), FLOOR, sure=sure)
        more, share = saved_figures(tuning, asked, pair.at(test), name)
        figures |= more
        saved.append(share)
    ranked = ranked_figures([(test, Ranked(asked, pair.at(test)))], len(pair))
    figures |= {name: figure for name, figure in ranked.items() if not name.startswith("CPT")}
    table.add(what, figures)
    return saved


def _plain_rows(
    table: Table, of: Set, pair: Pair, router: Pair, rows: tuple[Array, Array], title: str
) -> None:
    """Add what anybody has: length, TF-IDF and hindsight. The first two choose before the reply."""
    dev, test = rows
    length = baselines.by_length(of, np.arange(len(of)))
    _figures(table, f"{title}: prompt length", length[dev], length[test], router, rows)
    half = np.random.default_rng(0).permutation(len(dev)) % 2 == 0
    texts, known = baselines.Texts(of), np.zeros(len(dev))
    for part in (half, ~half):
        known[~part] = texts.regression(dev[part], dev[~part], 1 - pair.yw)
    asked = texts.regression(dev, test, 1 - pair.yw)
    _figures(table, f"{title}: TF-IDF, before the reply", known, asked, router, rows)
    best = baselines.by_hindsight(pair)
    _figures(table, f"{title}: oracle", best[dev], best[test], pair, rows)


@cache
def _after(of: Set, weak: str, strong: str, kinds: bool, second: str | None) -> tuple[Array, Array]:  # noqa: FBT001
    """Return what going to the strong model wins, cross-fitted where it was learned, and on the test."""
    learner = Learner(of, weak, strong, kinds=kinds, second=second)
    dev, test = _known(of)
    fitted = learner.after(dev)
    return fitted.gain(weak), learner.gain(fitted, test)


def tool_calls() -> Table:
    """Judge tool calls by their schemas, the kind of step known and unknown."""
    of = _tools()
    rows = _known(of)
    table = Table(
        "BFCL tool calls, after the reply",
        f"Score of the reply beside the schemas of its tools; {len(rows[0])} queries to learn from and to set"
        f" the threshold for {FLOOR:.0%} of the strong model's quality, {len(rows[1])} to test; the weak call"
        " is always paid. Both thresholds are set by `langroute.tuning.thresholds.tune`: the plain one keeps"
        " the floor on average (`conformal`), the sure one with 90 % confidence (the default); where `tune`"
        " refuses, the strong model answers alone.",
    )
    means: dict[str, list[float]] = {}
    for name, (weak, strong) in BFCL_PAIRS.items():
        pair = of.pair(weak, strong, cascade=True)
        _plain_rows(table, of, pair, of.pair(weak, strong), rows, name)
        for kinds, told in ((False, "kind unknown"), (True, "kind known")):
            known, asked = _after(of, weak, strong, kinds, None)
            saved = _figures(table, f"{name}: langroute, {told}", known, asked, pair, rows)
            means.setdefault(f"{told}, plain threshold", []).append(saved[0].value)
            means.setdefault(f"{told}, sure by 90 %", []).append(saved[1].value)
    for told, values in means.items():
        mean = float(np.mean(values))
        table.target(f"{told}: {mean:.1f} % saved, mean of the four pairs, at least 50", mean >= 50)
    return table


def _second(of: Set, weak: str, strong: str) -> str:
    """Return the cheap model whose agreement saves most on the queries that may be learned from."""
    dev, _ = _known(of)
    dear = of.models[strong].cost.mean()
    found = {}
    for model, answers in of.models.items():
        if model in {weak, strong} or answers.cost.mean() > SECOND_SHARE * dear:
            continue
        pair = of.pair(weak, strong, cascade=True, extra=answers.cost).at(dev)
        found[model] = Ranked(-agreement(of, weak, model)[dev], pair).saved(FLOOR)
    return max(found, key=lambda model: found[model])


def answers() -> Table:
    """Judge answers by the agreement of a second cheap model, alone and learned with the rest."""
    table = Table(
        "ZeroEval answers, after the reply",
        f"A second cheap model (at most {SECOND_SHARE:.0%} of the strong one's cost, chosen on train"
        " and valid) answers too and is paid for; its agreement is one feature of the score. Thresholds as"
        " above.",
    )
    for name, (which, weak, strong, least) in ANSWERS.items():
        of = _zero(which)
        rows = _known(of)
        second = _second(of, weak, strong)
        pair = of.pair(weak, strong, cascade=True, extra=of.models[second].cost)
        alone = of.pair(weak, strong, cascade=True)
        _plain_rows(table, of, alone, of.pair(weak, strong), rows, name)
        known, asked = _after(of, weak, strong, False, None)  # noqa: FBT003
        _figures(table, f"{name}: langroute, no second model", known, asked, alone, rows)
        differs = 1 - agreement(of, weak, second)
        what = f"{name}: agreement with {second} alone"
        _figures(table, what, differs[rows[0]], differs[rows[1]], pair, rows)
        known, asked = _after(of, weak, strong, False, second)  # noqa: FBT003
        saved = _figures(table, f"{name}: langroute with {second}", known, asked, pair, rows)
        for share, told in zip(saved, ("plain threshold", "sure by 90 %"), strict=True):
            goal = f"{name}, {told}: {share.value:.1f} % saved, at least {least:.0f}"
            table.target(goal, share.value >= least)
    return table


def refusals() -> Table:
    """Find out whether routing is advised where it does not pay."""
    table = Table(
        "Where routing does not pay",
        "What is advised, from train and valid alone: to route only where a threshold that surely keeps"
        f" {FLOOR:.0%} saves {LEAST_SAVED:.0%} or more, and surely more than nothing.",
    )
    cases = {
        **{f"MATH level 5, {name}": (MATH, *models) for name, models in GSM_PAIRS.items()},
        **dict([_small_gap()]),
    }
    for title, (which, weak, strong) in cases.items():
        of = _zero(which)
        dev, test = _known(of)
        pair = of.pair(weak, strong, cascade=True)
        known, asked = _after(of, weak, strong, False, None)  # noqa: FBT003
        tuning = choose(known, pair.at(dev), FLOOR, sure=True)
        share, kept = came_to(tuning, asked, pair.at(test))
        table.add(
            title,
            {
                "weak and strong right": f"{100 * pair.yw.mean():.1f} % and {100 * pair.ys.mean():.1f} %",
                "price gap": f"{pair.cs.mean() / pair.cw.mean():.1f} x",
                "expected saving": "none" if tuning.saving is None else f"{tuning.saving:.0%}",
                "on the test": f"{share:.0f} % saved, {100 * kept:.1f} % kept",
                "advice": "route" if routes(tuning) else "do not route here",
                "refused by `tune`, as": tuning.refusal or "",
            },
        )
        table.target(f"{title}: refused", not routes(tuning))
    return table


def _small_gap() -> tuple[str, tuple[str, str, str]]:
    """Return the pair on GSM8K or CRUX whose prices are nearest to 4.6 apart, 5 points of quality between."""
    found = []
    for which in (GSM, CRUX):
        of = _zero(which)
        for weak in of.models:
            for strong in of.models:
                pair = of.pair(weak, strong)
                if pair.gap >= 0.05:
                    found.append((abs(pair.cs.mean() / pair.cw.mean() - 4.6), which, weak, strong))
    _, which, weak, strong = min(found)
    return f"{which.removeprefix('zeroeval_')}, {weak} → {strong}", (which, weak, strong)


def other_sets() -> Table:
    """Judge the answers of one set by a score that was fitted on another."""
    table = Table(
        "Out of distribution: replies",
        "4o-mini → 4o with a second model, fitted on one set, threshold too, tested on the other's `test`.",
    )
    for one, other in ((GSM, CRUX), (CRUX, GSM)):
        second = _second(_zero(one), MINI, GPT_4O)
        known = Learner(_zero(one), MINI, GPT_4O, second=second)
        fitted = known.after(_known(_zero(one))[0])
        asked = Learner(_zero(other), MINI, GPT_4O, second=second)
        test = _known(_zero(other))[1]
        extra = {name: _zero(name).models[second].cost for name in (one, other)}
        own = _zero(one).pair(MINI, GPT_4O, cascade=True, extra=extra[one]).at(_known(_zero(one))[0])
        pair = _zero(other).pair(MINI, GPT_4O, cascade=True, extra=extra[other]).at(test)
        gain = asked.gain(fitted, test)
        figures: dict[str, str] = {}
        for sure, name in ((False, "plain threshold"), (True, "sure by 90 %")):
            figures |= saved_figures(choose(fitted.gain(MINI), own, FLOOR, sure=sure), gain, pair, name)[0]
        figures["APGR"] = ranked_figures([(test, Ranked(gain, pair))], len(_zero(other)))["APGR"]
        title = f"{one.removeprefix('zeroeval_')} → {other.removeprefix('zeroeval_')}"
        table.add(f"{title}, with {second}", figures)
    return table


def calibration() -> list[tuple[str, int, Interval, float]]:
    """Return name, queries, calibration error and that of chance for each score of replies, cross-fitted."""
    cases = [(f"BFCL, {name}{', kind known' * kinds}", _tools(), *pair, kinds, None)
             for name, pair in BFCL_PAIRS.items() for kinds in (False, True)]  # fmt: skip
    for name, (which, weak, strong, _) in ANSWERS.items():
        cases.append((name, _zero(which), weak, strong, False, _second(_zero(which), weak, strong)))
    found = []
    for name, of, weak, strong, kinds, second in cases:
        learner = Learner(of, weak, strong, kinds=kinds, second=second)
        said = learner.after(np.arange(len(of))).held_out
        for key, model, what in ((weak, weak, "reply right"), (f"{weak}+", strong, "the strong one right")):
            found.append(_error(f"{name}, P({what})", said[key], of.models[model].score))
    return found


def _error(name: str, said: Array, right: Array) -> tuple[str, int, Interval, float]:
    def resampled(weights: Array) -> float:
        rows = np.repeat(np.arange(len(said)), weights.astype(int))
        return ece(said[rows], right[rows])

    return name, len(said), interval(resampled, len(said), resamples=100), ece_by_chance(said, 100)
