"""Routing rules: data that says at which tier a step starts; the first whose conditions hold wins."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from langroute.effects import Flow
from langroute.policy import Policy, RulePolicy
from langroute.request import Request, tool_name
from langroute.routing.intent import Embedder, Nearest, what_failed
from langroute.routing.words import Keywords
from langroute.verifiers.language import detect_language

__all__ = ["Match", "Rules"]


@dataclass(frozen=True, slots=True)
class Match:
    """The rule that matched; without `start` it could not be decided, and the top is the safe start."""

    start: str | None
    reason: str


Condition = Callable[[Request, str], str | None]
"""One condition on a request and its step: a phrase for the reason where it holds, else None."""


@dataclass(frozen=True, slots=True)
class _Rule:
    label: str
    start: str
    conditions: tuple[Condition, ...]
    """Cheapest first."""
    intents: tuple[str, ...] | None


class Rules:
    """The rules of a policy, compiled once."""

    def __init__(self, policy: Policy, embedder: Embedder | None = None) -> None:
        self._rules = tuple(_compiled(rule, number) for number, rule in enumerate(policy.rules, start=1))
        self._intents = policy.intents
        self._min_similarity = policy.classify.min_similarity
        self._embedder = embedder

    def __bool__(self) -> bool:
        return bool(self._rules)

    def blind(self, step: str, allowed: Sequence[str] | None) -> str | None:
        """Return why no intent may be looked for in a step that allows these boundaries, else None."""
        if self._embedder is None:
            return "it names an intent, and no embeddings were given"
        if allowed is not None and self._embedder.boundary not in allowed:
            return f"its embeddings run in boundary {self._embedder.boundary}, which {step} does not allow"
        return None

    def first_match(
        self, request: Request, step: str, blind: str | None, reasons: list[str]
    ) -> Flow[Match | None]:
        """Return the first rule that holds for the request in `step`; a flow, as an intent needs embeddings.

        An intent counts where its nearest example has at least the cosine `classify.min_similarity`. Where
        `blind` says why no intent may be looked for, a rule that needs one is passed over and `reasons` says
        so; where the embeddings fail, the match has no `start`.
        """
        nearest: Nearest | None = None
        for rule in self._rules:
            phrases = _phrases(rule, request, step)
            if phrases is None:
                continue
            if rule.intents is None:
                return _matched(rule, phrases)
            if self._embedder is None or blind is not None:
                reasons.append(f"rule {rule.label} passed over: {blind}")
                continue
            try:
                nearest = nearest or (
                    yield from self._embedder.nearest(request.question or request.sample, self._intents)
                )
            except Exception as error:
                told = what_failed(error, request, self._embedder.secrets)
                return Match(None, f"rule {rule.label} could not be decided: {told}")
            if nearest.name in rule.intents and nearest.similarity >= self._min_similarity:
                phrases.append(f"intent {nearest.name}, similarity {nearest.similarity:.2f}")
                return _matched(rule, phrases)
        return None


def _phrases(rule: _Rule, request: Request, step: str) -> list[str] | None:
    """Return what to say of each condition, None as soon as one does not hold."""
    phrases = []
    for condition in rule.conditions:
        phrase = condition(request, step)
        if phrase is None:
            return None
        phrases.append(phrase)
    return phrases


def _matched(rule: _Rule, phrases: Sequence[str]) -> Match:
    return Match(rule.start, f"rule {rule.label} ({', '.join(phrases) or 'always'})")


def _compiled(rule: RulePolicy, number: int) -> _Rule:
    given = ((make, getattr(rule.when, name)) for name, make in _CONDITIONS.items())
    conditions = tuple(make(wanted) for make, wanted in given if wanted is not None)
    return _Rule(rule.name or f"#{number}", rule.start, conditions, rule.when.intent)


def _step(wanted: Sequence[str]) -> Condition:
    return lambda _, step: f"step {step}" if step in wanted else None


def _metadata(wanted: Mapping[str, Any]) -> Condition:
    listed = {key: value if isinstance(value, list | tuple) else (value,) for key, value in wanted.items()}
    phrase = ", ".join(f"metadata {key}" for key in wanted)

    def holds(request: Request, _: str) -> str | None:
        metadata = request.metadata
        every = all(key in metadata and metadata[key] in values for key, values in listed.items())
        return phrase if every else None

    return holds


def _tools(wanted: Sequence[str]) -> Condition:
    def holds(request: Request, _: str) -> str | None:
        names = map(tool_name, request.tools)
        found = next((name for name in names if any(fnmatchcase(name, pattern) for pattern in wanted)), None)
        return None if found is None else f"tool {found}"

    return holds


def _at_least(noun: str, measure: Callable[[Request], int]) -> Callable[[int], Condition]:
    def make(least: int) -> Condition:
        return lambda request, _: (
            f"{got:,} {noun} >= {least:,}" if (got := measure(request)) >= least else None
        )

    return make


def _at_most(noun: str, measure: Callable[[Request], int]) -> Callable[[int], Condition]:
    def make(most: int) -> Condition:
        return lambda request, _: f"{got:,} {noun} <= {most:,}" if (got := measure(request)) <= most else None

    return make


def _keywords(wanted: Sequence[str]) -> Condition:
    keywords = Keywords(wanted)
    return lambda request, _: (
        None if (found := keywords.first(request.folded)) is None else f"keyword {found}"
    )


def _patterns(wanted: Sequence[str]) -> Condition:
    compiled = [re.compile(pattern) for pattern in wanted]

    def holds(request: Request, _: str) -> str | None:
        found = next((pattern for pattern in compiled if pattern.search(request.sample)), None)
        return None if found is None else f"pattern {found.pattern}"

    return holds


def _language(wanted: Sequence[str]) -> Condition:
    def holds(request: Request, _: str) -> str | None:
        found = detect_language(request.question or request.sample)
        return f"language {found}" if found is not None and found in wanted else None

    return holds


# In the order of their price; `intent` is not here because it may have to wait.
_CONDITIONS: Mapping[str, Callable[[Any], Condition]] = {
    "step": _step,
    "metadata": _metadata,
    "tools": _tools,
    "min_tokens": _at_least("tokens", lambda request: request.estimated_tokens),
    "max_tokens": _at_most("tokens", lambda request: request.estimated_tokens),
    "min_documents": _at_least("documents", lambda request: request.document_count),
    "max_documents": _at_most("documents", lambda request: request.document_count),
    "keywords": _keywords,
    "patterns": _patterns,
    "language": _language,
}
