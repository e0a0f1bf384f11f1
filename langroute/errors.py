"""Every error that langroute raises of its own, drawn as a tree.

    LangrouteError
    ├── PolicyError (also ValueError)        a policy that cannot work, found when it is loaded
    ├── EndpointError                        a model that cannot be built: a missing key, a missing package
    ├── NoEndpointAvailable                  nothing of a step's plan may be called for this request
    ├── ApprovalRequired                     the policy wants a person's word, and this door cannot ask
    ├── AllAttemptsFailed (also ExceptionGroup)   every attempt failed or was rejected; all are inside
    ├── FailedCall                           one call that failed, as a member of that group in a graph
    ├── RejectedReply                        one reply that a verifier rejected, as a member of that group
    └── PartialStream                        a provider died after part of its reply had been shown

A caller's own fault (a plain 400) and what steers the host (an interrupt, a cancellation) are
never wrapped: the original error is raised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

__all__ = [
    "AllAttemptsFailed",
    "ApprovalRequired",
    "EndpointError",
    "FailedCall",
    "LangrouteError",
    "NoEndpointAvailable",
    "PartialStream",
    "PolicyError",
    "PolicyProblem",
    "RejectedReply",
]


class LangrouteError(Exception):
    """Base of every error that langroute raises of its own."""

    decision: Any = None
    """The `langroute.decision.Decision` that ended with the error: what was planned and tried."""


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """One thing that is wrong with a policy, and what to do about it."""

    path: str
    """Key path, dotted, list items by index: `tiers.small.models[0].price.input`; "" for the whole file."""
    value: str
    """The offending value, shortened; "" where there is none."""
    message: str
    """What is wrong."""
    remedy: str
    """What to do."""

    def __str__(self) -> str:
        where = self.path or "(the whole policy)"
        value = f" = {self.value}" if self.value else ""
        return f"{where}{value}: {self.message}. {self.remedy}"


class PolicyError(LangrouteError, ValueError):
    """A policy that cannot work; `problems` lists everything that was found, not only the first."""

    def __init__(self, problems: Sequence[PolicyProblem], source: str = "policy") -> None:
        self.problems = tuple(problems)
        self.source = source
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{source} cannot be used:\n{lines}")


class EndpointError(LangrouteError):
    """A model that cannot be built; the message names the endpoint, what it lacks, and the remedy."""


class NoEndpointAvailable(LangrouteError):
    """No endpoint of the step may be called for this request; the message lists why each was passed over."""


class ApprovalRequired(LangrouteError):
    """The policy wants a person's word before the next call, and a bare chat model cannot ask."""

    def __init__(self, message: str, ask: Any) -> None:
        super().__init__(message, ask)
        self.ask = ask
        """The `langroute.cascade.Ask` that could not be put to a person."""

    def __str__(self) -> str:
        return str(self.args[0])


class RejectedReply(LangrouteError):
    """A reply that came and was rejected by the step's verifiers."""


class FailedCall(LangrouteError):
    """A call that failed in an earlier node of a graph: kind and message of its error, which is not kept."""


class AllAttemptsFailed(LangrouteError, ExceptionGroup[Exception]):
    """Every attempt of a step failed or was rejected; the group holds one exception an attempt, in order."""

    def __str__(self) -> str:
        """Return what happened and, an attempt a line, why: bounded, and without a key."""
        attempts = self.decision.attempts if self.decision is not None else ()
        return "\n".join([self.message, *(f"  {attempt.account}" for attempt in attempts)])

    def derive(self, excs: Sequence[Exception], /) -> Self:  # type: ignore[override]  # holds Exceptions only
        """Return a group of the same class, so that `except*` keeps the type."""
        derived = type(self)(self.message, excs)
        derived.decision = self.decision
        return derived


class PartialStream(LangrouteError):
    """A provider died after part of its reply had been shown; `__cause__` is the provider's error."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message, text)
        self.text = text
        """What the caller has seen so far."""

    def __str__(self) -> str:
        return str(self.args[0])
