"""Every error that langroute raises of its own, drawn as a tree.

    LangrouteError
    ├── PolicyError (also ValueError)        a policy that cannot work, found when it is loaded
    ├── EndpointError                        a model that cannot be built: a missing key, a missing package
    ├── NoEndpointAvailable                  nothing of a step's plan may be called for this request
    │   └── BudgetExceeded                   what is left of a budget is less than any of its calls may cost
    ├── ApprovalRequired                     the policy wants a person's word, and this door cannot ask
    ├── AllAttemptsFailed (also ExceptionGroup)   every attempt failed or was rejected; all are inside
    ├── FailedCall                           one call that failed or was refused, as a member of that group
    ├── RejectedReply                        one reply that a verifier rejected, as a member of that group
    ├── PartialStream                        a provider died after part of its reply had been shown
    └── LedgerError                          a store that cannot be opened: its URL, its driver, its age

Beside them stand the faults that langroute itself finds in a call; each is one attempt's failure:

    CallFault
    ├── AbandonedCalls                       too many late calls are still running on the endpoint
    ├── BrokenArguments                      a tool call's arguments are no JSON, and too long to be mended
    ├── DoubledReply                         every piece of the stream came twice
    ├── ForeignReply                         a continuation that does not begin where the reply broke off
    ├── FunctionFault                        a function that stands before the models raised
    ├── MixedReply                           a stream holds pieces of two replies
    ├── NoReply                              what the model gave is no message of an assistant
    ├── OversizeReply                        the reply is longer than any model's
    ├── RedirectedCall                       the server pointed to another address; it was not followed
    └── RefusedReply                         the model refused in its stream

A caller's own fault (a plain 400) and what steers the host (an interrupt, a cancellation) are
never wrapped: the original error is raised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

__all__ = [
    "AbandonedCalls",
    "AllAttemptsFailed",
    "ApprovalRequired",
    "BrokenArguments",
    "BudgetExceeded",
    "CallFault",
    "DoubledReply",
    "EndpointError",
    "FailedCall",
    "ForeignReply",
    "FunctionFault",
    "LangrouteError",
    "LedgerError",
    "MixedReply",
    "NoEndpointAvailable",
    "NoReply",
    "OversizeReply",
    "PartialStream",
    "PolicyError",
    "PolicyProblem",
    "RedirectedCall",
    "RefusedReply",
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


class BudgetExceeded(NoEndpointAvailable):
    """What is left of a budget is less than the call may cost, so that it was not made."""

    def __init__(
        self,
        message: str,
        budget: str,
        *,
        needed_usd: float | None = None,
        limit_usd: float | None = None,
        spent_usd: float | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message)
        self.budget = budget
        """The limit as the policy names it: `per_day_usd`, `keys.tenant.per_day_usd`; `price` if unknown."""
        self.needed_usd = needed_usd
        """USD that the call may cost."""
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        """USD spent or reserved by then; None for `per_call_usd`, where nothing adds up."""
        self.key = key
        """The thread, or the value of the key, whose budget it is; None where it is everybody's."""


class LedgerError(LangrouteError):
    """A store that cannot be opened or asked; the message says which and why, and holds no password."""


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
    """A call that an open circuit refused, or that failed in a graph's earlier node, its error not kept."""


class AllAttemptsFailed(LangrouteError, ExceptionGroup[Exception]):
    """Every attempt of a step failed or was rejected; the group holds one exception an attempt, in order."""

    def __str__(self) -> str:
        """Return what happened and, an attempt a line, why: bounded, and without a key."""
        attempts = self.decision.attempts if self.decision is not None else ()
        return "\n".join([self.message, *(f"  {attempt.account}" for attempt in attempts)])

    def __repr__(self) -> str:
        """Return the class and the message alone: the errors inside may quote keys and prompts."""
        return f"{type(self).__name__}({self.message!r}, {len(self.exceptions)} inside)"

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

    def __repr__(self) -> str:
        """Return the class and the message alone, without the reply's text."""
        return f"{type(self).__name__}({str(self)!r})"


class CallFault(Exception):
    """A fault of one call that langroute found itself; what to do about it is the cascade's business."""

    kind = "bad_response"
    """One of the kinds in `langroute.failures`."""


class FunctionFault(CallFault):
    """A function that stands before a step's models raised, or returned what is no answer."""

    kind = "unknown"


class AbandonedCalls(CallFault):
    """The endpoint was not called, because too many late calls are still running on it."""

    kind = "overloaded"


class BrokenArguments(CallFault):
    """The arguments of a tool call are no JSON, and too long for LangChain to mend them in time."""


class DoubledReply(CallFault):
    """Every piece of the stream came twice: what was shown is not what the model said."""


class MixedReply(CallFault):
    """A stream holds pieces of two replies, or goes on after the end of its own."""


class RefusedReply(CallFault):
    """The model refused in its stream, which LangChain does not tell."""

    kind = "refusal"


class NoReply(CallFault):
    """What a model gave is no message of an assistant: nothing, text alone, another role's message."""


class ForeignReply(CallFault):
    """A continuation that does not begin where the reply broke off; nothing of it was shown."""


class OversizeReply(CallFault):
    """The reply is longer than any model's; no more of it was read."""


class RedirectedCall(CallFault):
    """The server sent the call to another address: it was not followed, and no model was reached."""

    kind = "connection"
