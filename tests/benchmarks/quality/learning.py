"""langroute's own scores on the recorded outcomes: as a ledger would hold them, fitted by the library."""

import ast
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from langroute.tuning.features import Features, prompt_features
from langroute.tuning.outcomes import Outcome
from langroute.tuning.scores import FittedScore, cold_score, expected_gain, fit_prompt_score, fit_reply_score
from langroute.tuning.signals import reply_values
from langroute.verifiers.likeness import answer_likeness
from quality.loaders import Set

__all__ = ["Learner", "agreement"]

Array = Any


@cache
def _prompts(of: Set) -> Sequence[Features]:
    return [prompt_features(request) for request in of.requests]


@cache
def _replies(of: Set, model: str) -> Sequence[Mapping[str, float]]:
    return [reply_values(*pair) for pair in zip(of.requests, of.models[model].replies, strict=True)]


@cache
def agreement(of: Set, one: str, other: str) -> Array:
    """Return how alike the final answers of two models are: data as data, others as the verifier does.

    The answers of CRUX are Python literals, and `[1, 2]` is not `[2]`; those of GSM8K are numbers, which
    `langroute.verifiers.likeness` compares.
    """
    alike = _same_data if "crux" in of.name else answer_likeness
    pairs = zip(of.models[one].answers, of.models[other].answers, strict=True)
    return np.array([alike(a, b) if a and b else 0.0 for a, b in pairs])


def _same_data(one: str, other: str) -> float:
    return float(_data(one) == _data(other))


def _data(answer: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a model wrote may be doubtful Python
        try:
            return repr(ast.literal_eval(answer)).strip("'\"")
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return answer.strip().strip("'\"")


class Learner:
    """A pair of models on one set, and the scores that can be fitted for it.

    Args:
        of: The set.
        weak: The model that is asked first, or instead.
        strong: The model above it.
        kinds: Whether the step's kind is known: a graph's node says it, a prompt alone does not.
        second: A cheap model whose answer is compared with the weak one's.
    """

    def __init__(
        self, of: Set, weak: str, strong: str, *, kinds: bool = False, second: str | None = None
    ) -> None:
        self.of, self.weak, self.strong = of, weak, strong
        self._kinds, self._second = kinds, second

    def features(self, rows: Array) -> list[Features]:
        """Return what is known of the prompts."""
        known = [_prompts(self.of)[row] for row in rows]
        if not self._kinds:
            return known
        kinds = [self.of.kinds[row] for row in rows]
        return [
            Features({**prompt.values, f"node={kind}": 1.0}, prompt.text)
            for prompt, kind in zip(known, kinds, strict=True)
        ]

    def outcomes(self, rows: Array) -> list[Outcome]:
        """Return what both models came to on some queries."""
        prompts = self.features(rows)
        weak, strong = self.of.models[self.weak], self.of.models[self.strong]
        told: list[Outcome] = []
        for row, prompt in zip(rows, prompts, strict=True):
            reply, verdicts = self._after(row)
            told.append(
                Outcome(str(row), self.weak, float(weak.score[row]), prompt, reply=reply, verdicts=verdicts)
            )
            told.append(Outcome(str(row), self.strong, float(strong.score[row]), prompt))
        return told

    def _after(self, row: int) -> tuple[Mapping[str, float], Mapping[str, float]]:
        reply = _replies(self.of, self.weak)[row]
        if self._second is None:
            return reply, {}
        return reply, {"agreement": float(agreement(self.of, self.weak, self._second)[row])}

    def cold(self, rows: Array) -> Array:
        """Return what is expected to be won before anything is learned."""
        score = cold_score([self.weak, self.strong])
        return np.array([score.gain(prompt, self.weak) for prompt in self.features(rows)])

    def before(self, rows: Array, seed: int = 0) -> FittedScore:
        """Fit a score of prompts on some queries."""
        known = [Outcome(o.query, o.tier, o.score, o.prompt) for o in self.outcomes(rows)]
        return fit_prompt_score(known, [self.weak, self.strong], seed=seed)

    def after(self, rows: Array, seed: int = 0) -> FittedScore:
        """Fit a score of the weak model's replies on some queries."""
        return fit_reply_score(self.outcomes(rows), [self.weak, self.strong], seed=seed)

    def said(self, fitted: FittedScore, rows: Array) -> dict[str, Array]:
        """Return the probabilities that a score gives for some queries."""
        if fitted.score.kind == "prompt":
            return fitted.said_of(self.features(rows))
        judged = [o for o in self.outcomes(rows) if o.tier == self.weak]
        return fitted.said_of([outcome.after() for outcome in judged])

    def gain(self, fitted: FittedScore, rows: Array) -> Array:
        """Return what a score expects to be won by going to the strong model."""
        return expected_gain(fitted.score, self.said(fitted, rows), fitted.score.tiers[0])
