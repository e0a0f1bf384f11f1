"""The numbers of a policy that can be tuned: where each stands in the file, and what it decides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langroute.errors import LangrouteError
from langroute.policy import Policy, StepPolicy
from langroute.problems import Loc
from langroute.tuning.sweep import Kind
from langroute.verifiers.base import Verifier

__all__ = ["Dial", "dials_of", "minimum_of", "passes"]


@dataclass(frozen=True, slots=True)
class Dial:
    """One threshold of one step."""

    step: str
    loc: Loc
    """Where its number stands in the file."""
    name: str
    """`difficulty` or `learned` before a reply; the verifier's name after it."""
    kind: Kind
    value: float
    bound: StepPolicy = field(repr=False)
    """How the step is bound."""
    score: Any = field(default=None, repr=False)
    """The learned score that it compares with; None for another."""

    @property
    def place(self) -> str:
        """The place as messages name it."""
        return ".".join(map(str, self.loc))

    @property
    def cheap(self) -> str:
        """The tier that answers on the near side of the threshold."""
        return self.bound.cascade[0]

    @property
    def strong(self) -> str:
        """The tier that answers on the far side."""
        return self.bound.cascade[-1]


def dials_of(policy: Policy, written: Mapping[str, Any], steps: Sequence[str] = ()) -> list[Dial]:
    """Return the thresholds of a policy, those of a step's checks before those of its start.

    Args:
        policy: The policy.
        written: The data of its file: only a number that stands there can be replaced.
        steps: The steps that are looked at; all of the policy's where there are none.

    Raises:
        LangrouteError: The policy does not have one of the steps.
    """
    unknown = [step for step in steps if step not in policy.steps]
    if unknown:
        has = ", ".join(policy.steps) or "none"
        raise LangrouteError(f"the policy has no step {', '.join(unknown)}; it has {has}")
    found: list[Dial] = []
    for step in steps or policy.steps:
        found += _dials(step, policy.steps[step], written["steps"][step])
    return found


def _dials(step: str, bound: StepPolicy, written: Any) -> Iterator[Dial]:
    at: Loc = ("steps", step)
    checks = written.get("verify") if isinstance(written, Mapping) else None
    for number, verifier in enumerate(bound.verify):
        entry, where = (checks[number], (number,)) if isinstance(checks, list) else (checks, ())
        inside = _number_in(entry, verifier.name)
        minimum = minimum_of(verifier)
        if inside is not None and minimum is not None:
            score = verifier.model.score if verifier.name == "learned" else None  # type: ignore[attr-defined]  # it has
            loc = (*at, "verify", *where, *inside)
            yield Dial(step, loc, verifier.name, "verify", minimum, bound, score)
    route = bound.route
    if route.difficulty is not None:
        loc = (*at, "route", "difficulty", "threshold")
        yield Dial(step, loc, "difficulty", "route", route.difficulty.threshold, bound)
    if route.learned is not None:
        loc = (*at, "route", "learned", "threshold")
        yield Dial(step, loc, "learned", "route", route.learned.threshold, bound, route.learned.model.score)


def _number_in(entry: Any, name: str) -> Loc | None:
    """Return where inside a `verify` entry its minimum stands; None where it does not."""
    if not isinstance(entry, Mapping) or name not in entry:
        return None
    settings = entry[name]
    if isinstance(settings, Mapping):
        return (name, "min") if "min" in settings else None
    return (name,)


def minimum_of(verifier: Verifier) -> float | None:
    """Return the score that a verifier asks for; None for one that compares none."""
    minimum = getattr(verifier, "min", None)
    return float(minimum) if isinstance(minimum, float) else None


def passes(bound: StepPolicy, verdicts: Mapping[str, float], but: str = "") -> bool:
    """Return whether a reply with these scores passes a step's checks, one of them left out.

    A check that was not asked, since an earlier one had rejected, is no obstacle of its own.
    """
    for verifier in bound.verify:
        score = verdicts.get(verifier.name)
        if verifier.name == but or score is None:
            continue
        minimum = minimum_of(verifier)
        if score < (0.5 if minimum is None else minimum):
            return False
    return True
