"""Scores of prompts, before there is a reply: RouteLLM's MMLU and GSM8K, few labels, and other sets."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from langroute.tuning.metrics import Interval, Ranked, ece, ece_by_chance, interval
from quality import baselines
from quality.learning import Learner
from quality.loaders import STRONG, WEAK, Set, routellm
from quality.rows import Table, over_seeds, ranked_figures

__all__ = ["calibration", "cold_start", "gsm8k", "mmlu", "other_sets"]

Array = Any
SEEDS = 10
NAME = "RouteLLM, Mixtral 8x7B → GPT-4"
ROUTELLM_MMLU = {"APGR": "0.603", "CPT 50 %": "35.4", "CPT 80 %": "70.3"}
ROUTELLM_GSM8K = {"APGR": "0.622"}


@cache
def _set(name: str) -> Set:
    return routellm(name)


@cache
def _texts(name: str) -> baselines.Texts:
    return baselines.Texts(_set(name))


def draws(of: Set, labels: int, seeds: int) -> list[tuple[Array, Array]]:
    """Return for each seed the queries that are labelled and the rest."""
    found = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(of))
        found.append((order[:labels], np.sort(order[labels:])))
    return found


@cache
def _learned(labels: int, seed: int) -> tuple[Array, Array, dict[str, Array]]:
    """Return the rest of the queries, the gain that a score of so many labels sees, and what it said."""
    of = _set("routellm_mmlu")
    train, test = draws(of, labels, seed + 1)[seed]
    learner = Learner(of, WEAK, STRONG)
    fitted = learner.before(train, seed)
    said = learner.said(fitted, test)
    return test, said[STRONG] - said[WEAK], said


def mmlu(labels: int, seeds: int) -> Table:
    """Rank MMLU's prompts with so many labels; the rest is the test."""
    of = _set("routellm_mmlu")
    pair, texts = of.pair(WEAK, STRONG), _texts("routellm_mmlu")
    table = Table(
        f"MMLU, {labels:,} labels",
        f"{NAME}; {len(of):,} queries, {labels:,} drawn as labels, the rest the test; means of {seeds}"
        " seeds (± their standard deviation), 95 % bootstrap over queries in brackets.",
    )
    scores: dict[str, Callable[[Array, Array, int], Array]] = {
        "random": lambda _, test, seed: baselines.by_chance(len(test), seed),
        "prompt length": lambda _, test, __: baselines.by_length(of, test),
        "TF-IDF, logistic regression": lambda train, test, _: texts.regression(train, test, 1 - pair.yw),
        "kNN": lambda train, test, _: texts.neighbours(train, test, pair.ys - pair.yw),
        "langroute": lambda _, __, seed: _learned(labels, seed)[1],
        "oracle": lambda _, test, __: baselines.by_hindsight(pair.at(test)),
    }
    parts = draws(of, labels, seeds)
    for what, score in scores.items():
        drawn = [
            (test, Ranked(score(train, test, seed), pair.at(test)))
            for seed, (train, test) in enumerate(parts)
        ]
        table.add(what, ranked_figures(drawn, len(of)))
        if what == "langroute":
            ours = drawn
    _ends(table, pair)
    if labels == 1_500:
        table.add("RouteLLM's best router", ROUTELLM_MMLU, published=True)
    _mmlu_targets(table, labels, ours, of)
    return table


def _mmlu_targets(table: Table, labels: int, ours: list[tuple[Array, Ranked]], of: Set) -> None:
    apgr = over_seeds(ours, len(of))[0]
    if labels == 5_000:
        table.target(f"APGR {apgr.value:.3f}, at least 0.68", apgr.value >= 0.68)
        return
    cpts = [float(np.mean([ranked.cpt(part) for _, ranked in ours])) for part in (0.5, 0.8)]
    table.target(f"APGR {apgr.value:.3f}, at least 0.65", apgr.value >= 0.65)
    table.target(f"CPT 50 % {cpts[0]:.1f}, at most 30", cpts[0] <= 30)
    table.target(f"CPT 80 % {cpts[1]:.1f}, at most 62", cpts[1] <= 62)
    untouched = [(np.intersect1d(rows, of.rows("test")), seed) for seed, (rows, _) in enumerate(ours)]
    pair = of.pair(WEAK, STRONG)
    drawn = []
    for rows, seed in untouched:
        test, gain, _ = _learned(labels, seed)
        drawn.append((rows, Ranked(gain[np.searchsorted(test, rows)], pair.at(rows))))
    table.add("langroute, on the split `test` alone", ranked_figures(drawn, len(of)))


def _ends(table: Table, pair: Any) -> None:
    """Add the two that never choose."""
    for what, quality, cost in (("always weak", pair.yw, pair.cw), ("always strong", pair.ys, pair.cs)):
        saved = 100 * (1 - cost.mean() / pair.cs.mean())
        kept = 100 * quality.mean() / pair.ys.mean()
        table.add(what, {"quality": f"{kept:.1f} % of the strong model's, {saved:.0f} % saved"})


def gsm8k() -> Table:
    """Rank GSM8K's prompts by scores that were fitted on the other four fifths."""
    of = _set("routellm_gsm8k")
    pair, texts = of.pair(WEAK, STRONG), _texts("routellm_gsm8k")
    table = Table(
        "GSM8K, 5-fold",
        f"{NAME}; {len(of):,} queries, each scored by a fit on the other four fifths; 3 ways to fold.",
    )
    rows = np.arange(len(of))
    kinds: dict[str, list[tuple[Array, Ranked]]] = {}
    for seed in range(3):
        fold = np.random.default_rng(seed).permutation(len(of)) % 5
        found = {name: np.zeros(len(of)) for name in ("TF-IDF, logistic regression", "kNN")}
        for part in range(5):
            train, test = rows[fold != part], rows[fold == part]
            found["TF-IDF, logistic regression"][test] = texts.regression(train, test, 1 - pair.yw)
            found["kNN"][test] = texts.neighbours(train, test, pair.ys - pair.yw)
        said = _folded(seed)
        found["langroute"] = said[STRONG] - said[WEAK]
        found["random"] = baselines.by_chance(len(of), seed)
        found["prompt length"] = baselines.by_length(of, rows)
        found["oracle"] = baselines.by_hindsight(pair)
        for name, score in found.items():
            kinds.setdefault(name, []).append((rows, Ranked(score, pair, seed)))
    for name in ("random", "prompt length", "TF-IDF, logistic regression", "kNN", "langroute", "oracle"):
        table.add(name, ranked_figures(kinds[name], len(of)))
    _ends(table, pair)
    table.add("RouteLLM's best router", ROUTELLM_GSM8K, published=True)
    apgr = over_seeds(kinds["langroute"], len(of))[0]
    table.target(f"APGR {apgr.value:.3f}, at least 0.64", apgr.value >= 0.64)
    return table


@cache
def _folded(seed: int) -> dict[str, Array]:
    """Return what a score of GSM8K says of each fifth when it was fitted and calibrated on the others."""
    of = _set("routellm_gsm8k")
    return dict(Learner(of, WEAK, STRONG).before(np.arange(len(of)), seed).held_out)


def cold_start() -> Table:
    """Rank MMLU's prompts with no labels, 100 and 300, beside their length."""
    of = _set("routellm_mmlu")
    pair = of.pair(WEAK, STRONG)
    table = Table(
        "Cold start: MMLU with few labels",
        f"{NAME}; APGR of langroute's score and of prompt length on the same queries, means of 10 seeds."
        " In brackets the 95 % bootstrap over queries; ± is the standard error of the mean over seeds.",
    )
    for labels in (0, 100, 300):
        drawn, lengths = [], []
        for seed in range(SEEDS):
            if labels == 0:
                test = np.arange(len(of))
                gain = Learner(of, WEAK, STRONG).cold(test)
            else:
                test, gain, _ = _learned(labels, seed)
            drawn.append((test, Ranked(gain, pair.at(test), seed)))
            lengths.append((test, Ranked(baselines.by_length(of, test), pair.at(test), seed)))
        ours = over_seeds(drawn, len(of))[0]
        theirs = over_seeds(lengths, len(of))[0]
        gaps = [a.apgr() - b.apgr() for (_, a), (_, b) in zip(drawn, lengths, strict=True)]
        error = max(float(np.std(gaps, ddof=1)) / np.sqrt(len(gaps)), (theirs.high - theirs.low) / 4)
        table.add(
            f"{labels} labels",
            {
                "APGR": f"{ours:.3f}",
                "prompt length": f"{theirs:.3f}",
                "difference": f"{np.mean(gaps):+.3f} ± {error:.3f}",
                "worst seed": f"{min(gaps):+.3f}",
            },
        )
        table.target(
            f"{labels} labels: {np.mean(gaps):+.3f} against length, not below by more than {error:.3f}",
            np.mean(gaps) >= -error,
        )
    return table


def other_sets() -> Table:
    """Score the prompts of one set by a score that was fitted on another."""
    table = Table(
        "Out of distribution: prompts",
        f"{NAME}; fitted on one set, tested on all of the other. Text before the reply transfers badly.",
    )
    for known, asked in (("routellm_mmlu", "routellm_gsm8k"), ("routellm_gsm8k", "routellm_mmlu")):
        one, other = _set(known), _set(asked)
        rows = np.arange(len(one)) if len(one) < 5_000 else draws(one, 5_000, 1)[0][0]
        fitted = Learner(one, WEAK, STRONG).before(rows)
        test = np.arange(len(other))
        pair = other.pair(WEAK, STRONG)
        gain = Learner(other, WEAK, STRONG).gain(fitted, test)
        title = f"{known.removeprefix('routellm_').upper()} → {asked.removeprefix('routellm_').upper()}"
        table.add(f"{title}: langroute", ranked_figures([(test, Ranked(gain, pair))], len(other)))
        length = Ranked(baselines.by_length(other, test), pair)
        table.add(f"{title}: prompt length", ranked_figures([(test, length)], len(other)))
    return table


def calibration() -> list[tuple[str, int, Interval, float]]:
    """Return name, queries, calibration error and that of chance for each score of prompts."""
    found = []
    of = _set("routellm_mmlu")
    for labels in (1_500, 5_000):
        test, _, said = _learned(labels, 0)
        for model in (WEAK, STRONG):
            name = f"MMLU, {labels:,} labels, P({model} right)"
            found.append(_error(name, said[model], of.models[model].score[test]))
    gsm = _set("routellm_gsm8k")
    found += [
        _error(f"GSM8K, 5-fold, P({model} right)", _folded(0)[model], gsm.models[model].score)
        for model in (WEAK, STRONG)
    ]
    return found


def _error(name: str, said: Array, right: Array) -> tuple[str, int, Interval, float]:
    def resampled(weights: Array) -> float:
        rows = np.repeat(np.arange(len(said)), weights.astype(int))
        return ece(said[rows], right[rows])

    return name, len(said), interval(resampled, len(said), resamples=100), ece_by_chance(said, 100)
