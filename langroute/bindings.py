"""Where things stand in a policy: its steps' bindings, and the verifiers and learned scores in them."""

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from langroute.problems import Loc
from langroute.verifiers.learned import Learned

if TYPE_CHECKING:
    from langroute.policy import Policy, ShadowPolicy, StepPolicy
    from langroute.tuning.named import NamedScore
    from langroute.verifiers import Verifier

__all__ = [
    "STEPS",
    "asked_by",
    "bindings",
    "checks_digest",
    "named_scores",
    "scores_of",
    "verifiers_of",
    "within",
]

STEPS = ("query_rewrite", "extraction", "planning", "tool_use", "synthesis")
"""Steps that langroute tells by the shape of a call; a policy may name them without binding them."""


def bindings(policy: "Policy") -> Iterator[tuple[Loc, "StepPolicy"]]:
    """Yield every step's binding with its place in the policy, the default last."""
    yield from ((("steps", name), step) for name, step in policy.steps.items())
    yield ("default",), policy.default


def verifiers_of(loc: Loc, step: "StepPolicy") -> Iterator[tuple[Loc, "Verifier"]]:
    """Yield place and verifier of each of a step's checks, those of its function included."""
    yield from (((*loc, "verify", index), verifier) for index, verifier in enumerate(step.verify))
    function = step.cascade.function
    for index, verifier in enumerate((function and function.verify) or ()):
        yield (*loc, "cascade", 0, "verify", index), verifier


def within(verifier: "Verifier", loc: Loc) -> Iterator[tuple[Loc, "Verifier"]]:
    """Yield a verifier at `loc` with its place, and all that are inside it."""
    at = (*loc, verifier.name)
    yield at, verifier
    for inner in getattr(verifier, "verify", ()):
        yield from within(inner, at)


def asked_by(policy: "Policy", shadow: "ShadowPolicy") -> Iterator[str]:
    """Yield the tiers that a shadow calls: the top tier, and its judge's."""
    yield policy.tier_order[-1]
    if not isinstance(shadow.compare, str):
        yield shadow.compare.judge.tier or policy.tier_order[-1]


def scores_of(policy: "Policy") -> Iterator[tuple[Loc, "NamedScore"]]:
    """Yield every learned score that the policy names, with its place."""
    for loc, step in bindings(policy):
        yield from ((at, named) for at, named, _ in named_scores(loc, step))


def named_scores(loc: Loc, step: "StepPolicy") -> Iterator[tuple[Loc, "NamedScore", str]]:
    """Yield place and score of each that a step names, and what kind it must be of."""
    if step.route.learned is not None:
        yield (*loc, "route", "learned", "model"), step.route.learned.model, "prompt"
    for at, verifier in verifiers_of(loc, step):
        inside = (found for found in within(verifier, at) if isinstance(found[1], Learned))
        yield from (((*place, "model"), cast("Learned", one).model, "reply") for place, one in inside)


def checks_digest(step: "StepPolicy") -> str:
    """Return twelve hex digits that change with a step's verifiers, their settings and learned scores."""
    every = (one for loc, verifier in verifiers_of((), step) for _, one in within(verifier, loc))
    scores = [one.model.score.digest for one in every if isinstance(one, Learned)]
    function = step.cascade.function
    written = [
        step.model_dump(mode="json", include={"verify"}),
        function and function.model_dump(mode="json"),
        scores,
    ]
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:12]
