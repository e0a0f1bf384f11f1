"""A call's way past its endpoint's circuit and its budget: whether it may start, and what its end says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage

from langroute.budget import Reservation
from langroute.cascade import Attempt, Call, Failure, Plan, next_move
from langroute.effects import Flow
from langroute.endpoints import Endpoint, from_cache
from langroute.errors import BudgetExceeded, FailedCall, LedgerError
from langroute.health import NO_TICKET, Health
from langroute.records import maker
from langroute.request import Request
from langroute.spending import worst_usd

__all__ = [
    "BUDGET",
    "CIRCUIT_OPEN",
    "UNCALLED",
    "Admission",
    "Refused",
    "admit",
    "called",
    "pay",
    "penniless",
]

BUDGET = "budget"
"""Kind of failure of an attempt that made no call, because its worst case fitted into a budget no more."""

CIRCUIT_OPEN = "circuit_open"
"""Kind of failure of an attempt that made no call, because its endpoint's circuit was open by then."""

UNCALLED = (BUDGET, CIRCUIT_OPEN)
"""Kinds of failure of attempts that made no call."""


@dataclass(slots=True)
class Admission:
    """A call that was let in; it says once how it ended."""

    breakers: Health
    endpoint: str
    ticket: int
    reservation: Reservation | None = None
    """What was set aside for it; None without a budget."""

    def served(self, message: AIMessage) -> None:
        """Count a whole reply, unless LangChain's cache gave it; how good it is, verifiers judge."""
        if from_cache(message):
            self.breakers.released(self.endpoint, self.ticket)
        else:
            self.breakers.succeeded(self.endpoint, self.ticket)

    def settle(self, cost_usd: Callable[[], float | None]) -> Flow[None]:
        """Spend what the call cost out of what was set aside for it; asked for where something was."""
        if self.reservation is None:
            return
        try:
            spent_usd = cost_usd()
        except BaseException:
            self.reservation.settle_soon(None)  # nothing stays held
            raise
        yield from self.reservation.settle(spent_usd)

    def settle_soon(self, cost_usd: float | None) -> None:
        """As `settle`, where nothing can be waited for."""
        if self.reservation is not None:
            self.reservation.settle_soon(cost_usd)

    def failed(self, failure: Failure | None) -> None:
        """Count a failure, unless it is none of the endpoint's: a caller's fault, a cancellation (None)."""
        if failure is None or failure.remedy == "stop":
            self.breakers.released(self.endpoint, self.ticket)
        elif failure.usable:
            self.breakers.succeeded(self.endpoint, self.ticket)
        else:
            self.breakers.failed(self.endpoint, self.ticket, failure.kind, failure.retry_after_s)


_made_admission = maker(Admission)


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that was not let in: the attempt that stands for it, and the error that tells of it."""

    attempt: Attempt
    error: Exception


def admit(
    breakers: Health,
    request: Request,
    plan: Plan,
    attempts: Sequence[Attempt],
    call: Call,
    endpoint: Endpoint,
) -> "Admission | Refused":
    """Return the admission of a call, or its refusal where it may not start any more.

    A plan may be older than the opening of a circuit. What is refused costs nothing and reaches nobody; where
    no other call could follow nothing is refused, for the last endpoint of a plan is always called.
    """
    # The caller swapped the model whose health is known, or there is none: a function has no circuit.
    if "model" in request.kwargs or endpoint.is_function:
        return Admission(breakers, call.endpoint, NO_TICKET)
    ticket = breakers.admit(call.endpoint, endpoint.timeout_s)
    if isinstance(ticket, int):
        return _made_admission(breakers, call.endpoint, ticket)
    failure = Failure(CIRCUIT_OPEN, "next_endpoint", ticket.reason)
    refused = Attempt(call.tier, call.endpoint, call.why, "failed", failure=failure, cost_usd=0.0)
    if isinstance(next_move(plan, [*attempts, refused]), Call):
        return Refused(refused, FailedCall(refused.account))
    return Admission(breakers, call.endpoint, NO_TICKET)


def pay(
    admission: Admission,
    request: Request,
    call: Call,
    endpoint: Endpoint,
    messages: Sequence[BaseMessage],
    output_tokens: int,
) -> "Flow[Admission | Refused]":
    """Set aside what an admitted call may cost; return its refusal where it may not.

    A plan may be older than what others have spent since. What is refused costs nothing, reaches nobody and
    says nothing of health.

    Args:
        admission: How the call was let in; it is given the reservation.
        request: The request; without a purse nothing is set aside.
        call: The call.
        endpoint: Whom it goes to.
        messages: Its prompt: longer than the request's own in a repair, changed for a provider.
        output_tokens: The step's `expected_output_tokens`.
    """
    if request.purse is None:
        return admission
    try:
        prompt = None if messages is request.messages else messages
        worst = worst_usd(endpoint, request, output_tokens, prompt)
        admission.reservation = yield from request.purse.reserve(worst)
    except (BudgetExceeded, LedgerError) as error:
        admission.failed(None)
        failure = Failure(BUDGET, "next_endpoint", str(error))
        attempt = Attempt(call.tier, call.endpoint, call.why, "failed", failure=failure, cost_usd=0.0)
        return Refused(attempt, error)
    except BaseException:
        admission.failed(None)
        raise
    return admission


def called(attempt: Attempt) -> bool:
    """Whether an attempt made a call: what a circuit or a budget refused is on no bill and in no count."""
    return attempt.failure is None or attempt.failure.kind not in UNCALLED


def penniless(attempts: Sequence[Attempt]) -> bool:
    """Whether money alone was in the way of every attempt."""
    return all(attempt.failure is not None and attempt.failure.kind == BUDGET for attempt in attempts)
