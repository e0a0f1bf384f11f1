"""One model call made for a step, and what became of it: the records on which `next_move` decides.

They are made of plain JSON types, so that a checkpoint or a log can hold them, and know nothing of LangChain.
"""

from dataclasses import dataclass
from typing import Literal

from langroute.cost import CostBasis, Spend, Usage
from langroute.records import maker

__all__ = [
    "ANSWERED",
    "FUNCTION",
    "Attempt",
    "Failure",
    "Outcome",
    "Verdict",
    "Why",
    "is_function",
    "made_attempt",
    "made_verdict",
]

FUNCTION = "function:"
"""What the name of an endpoint begins with that is a plain function, and no other's does."""

ANSWERED = "answered"
"""Under which name a function that has no answer is rejected."""


def is_function(endpoint: str) -> bool:
    """Whether the endpoint of this name is a plain function, and no model."""
    return endpoint.startswith(FUNCTION)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's answer about one reply."""

    verifier: str
    accepted: bool
    reason: str
    """One sentence; a repair passes it on to the model."""
    score: float | None = None
    """How good the reply is in [0, 1], where the verifier can say."""
    usable: bool = True
    """False for a reply that may never be returned, not even as the best there is."""
    unsure: bool = False
    """True where the check itself failed: nothing was found wrong, so there is nothing to repair."""
    spend: tuple[Spend, ...] = ()
    """Calls the verifier made to reach its verdict."""
    blames_input: bool = False
    """True where what was found missing is missing in the step's input: no model could mend the reply."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call failed and what to do about it."""

    kind: str
    """One of the kinds in `langroute.failures`, e.g. `timeout`, `rate_limit`, `context_overflow`."""
    remedy: Literal["next_endpoint", "larger_context", "stop", "continue", "raise"]
    """`stop`: the request is at fault; `raise`: part of the reply was shown, so none may replace it;
    `continue`: likewise, and another endpoint may go on from there."""
    message: str
    usable: bool = False
    """True where a reply came all the same (refused, cut at its token limit) and may be returned flagged."""
    retry_after_s: float | None = None
    """Seconds after which the provider wants to be called again; None where it did not say."""


Why = Literal["start", "escalation", "fallback", "repair", "retry", "continuation"]
"""`retry`: the same endpoint once more, after the short wait that it asked for; `continuation`: another goes
on with a reply that broke off after part of it was shown."""
Outcome = Literal["accepted", "rejected", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One model call made for a step, and what became of it."""

    tier: str
    endpoint: str
    why: Why
    outcome: Outcome
    verdicts: tuple[Verdict, ...] = ()
    failure: Failure | None = None
    model: str | None = None
    """The model's name as the provider reports it."""
    usage: Usage | None = None
    cost_usd: float | None = None
    """USD of this call without its verdicts' own; 0 where the provider did no work, None where unknown."""
    cost_basis: CostBasis = "unknown"
    latency_s: float = 0.0
    """Seconds of the model's call."""
    judged_s: float = 0.0
    """Seconds that the verifiers took."""
    first_token_s: float | None = None
    """Seconds to the first content of a streamed reply."""
    began_at_s: float | None = None
    """When the call began, in seconds since 1970; None where that was not kept."""
    finish_reasons: tuple[str, ...] = ()
    """Why the reply ended, in the provider's words, lower case."""

    @property
    def merit(self) -> tuple[int, float]:
        """How good a rejected reply still is: checks passed, then the score of the worst check."""
        scores = [v.score if v.score is not None else float(v.accepted) for v in self.verdicts]
        return sum(verdict.accepted for verdict in self.verdicts), min(scores, default=1.0)

    @property
    def unsure(self) -> bool:
        """Whether nothing was found wrong: what rejected the reply is only that it could not be checked."""
        return self.outcome == "rejected" and all(v.accepted or v.unsure for v in self.verdicts)

    @property
    def blames_input(self) -> bool:
        """Whether a verdict that rejected the reply says that its input is at fault."""
        return self.outcome == "rejected" and any(v.blames_input for v in self.verdicts if not v.accepted)

    @property
    def broke_off(self) -> bool:
        """Whether part of a reply was shown that another endpoint may go on with, this one having failed."""
        if self.failure is None:
            return False
        return self.failure.remedy == "continue" or self.why == "continuation"

    @property
    def usable(self) -> bool:
        """Whether the reply may be returned, should nothing better come."""
        came = self.outcome in ("accepted", "rejected") or (self.failure is not None and self.failure.usable)
        return came and all(verdict.usable for verdict in self.verdicts)

    @property
    def declined(self) -> bool:
        """Whether a function had no answer: then no reply was rejected."""
        return is_function(self.endpoint) and any(v.verifier == ANSWERED for v in self.verdicts)

    @property
    def findings(self) -> tuple[str, ...]:
        """What the verifiers found wrong, one sentence each."""
        return tuple(f"{v.verifier}: {v.reason}" for v in self.verdicts if not v.accepted)

    @property
    def account(self) -> str:
        """What became of an attempt that gave nothing, in one line: its failure, or what was found wrong."""
        if self.failure is not None:
            return f"{self.endpoint}: {self.failure.kind}: {self.failure.message}"
        return f"{self.endpoint}: {'; '.join(self.findings)}"


made_attempt, made_verdict = maker(Attempt), maker(Verdict)
