"""An admitted call sets aside what it may cost, and frees its place where it does not start."""

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from langroute.accounts import Balance, Hold, Memory, pico_of
from langroute.admission import BUDGET, Admission, Refused, pay
from langroute.budget import Budget, Limit
from langroute.cascade import Call
from langroute.effects import run
from langroute.endpoints import Endpoint
from langroute.errors import LedgerError
from langroute.health import Health
from langroute.policy import ModelSpec
from langroute.request import Request
from langroute.testing import ScriptedChatModel

A = "small-a"
CALL = Call("small", A, "fallback")


class Failing(Memory):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def reserve(self, hold: Hold) -> Any:
        raise self.error


def probing() -> Admission:
    """Return the admission of a probe: while it holds its place nobody else is let in."""
    health = Health([A], clock=lambda: 1_000.0)
    health.adopt(A, 1e-9, "x")
    health._clock = lambda: 1_001.0
    ticket = health.admit(A)
    assert isinstance(ticket, int)
    assert not isinstance(health.admit(A), int)
    return Admission(health, A, ticket)


def paid(
    admission: Admission,
    store: Any = None,
    limit_usd: float | None = 1.0,
    input_price: float = 0.0,
    told: tuple[HumanMessage, ...] = (),
) -> Any:
    spec = {"model": ScriptedChatModel(reply="Yes."), "price": {"input": input_price, "output": 4.0}}
    budget = Budget([Limit("per_day_usd", "day", pico_of(limit_usd or 0.0))], store)
    purse = None if limit_usd is None else budget.purse(run=None, thread=None, metadata={})
    request = Request((HumanMessage("When?"),), purse=purse)
    endpoint = Endpoint(ModelSpec.model_validate(spec), "small", A)
    return run(pay(admission, request, CALL, endpoint, told or request.messages, 500))


def test_without_a_budget_nothing_is_set_aside() -> None:
    admission = probing()
    assert paid(admission, limit_usd=None) is admission
    assert admission.reservation is None


def test_the_worst_case_is_set_aside() -> None:
    admission = probing()
    assert paid(admission) is admission
    assert admission.reservation is not None
    assert admission.reservation.pico == pico_of(0.016)


def test_what_is_set_aside_counts_the_prompt_that_is_sent() -> None:
    own, longer = paid(probing(), input_price=1.0), (HumanMessage("When?"), HumanMessage("Mend it. " * 40))
    repair = paid(probing(), input_price=1.0, told=longer)
    # 360 more characters, 4 a token, and the message around them; half as much again for safety.
    assert repair.reservation.pico - own.reservation.pico >= pico_of(1.5 * 360 / 4 * 1e-6)


@pytest.mark.parametrize(
    ("store", "limit_usd", "message"),
    [
        (None, 0.01, "0.016000 USD would pass per_day_usd, 0.010000 left"),
        (Failing(LedgerError("the disk is full")), 1.0, "the disk is full"),
    ],
)
def test_what_is_refused_costs_nothing_and_frees_its_place(
    store: Any, limit_usd: float, message: str
) -> None:
    admission = probing()
    refused = paid(admission, store, limit_usd)
    assert isinstance(refused, Refused)
    assert str(refused.error) == message
    attempt = refused.attempt
    assert (attempt.tier, attempt.endpoint, attempt.why, attempt.outcome) == (
        "small",
        A,
        "fallback",
        "failed",
    )
    assert (attempt.cost_usd, attempt.failure.kind, attempt.failure.message) == (0.0, BUDGET, message)
    assert attempt.failure.remedy == "next_endpoint"
    assert isinstance(admission.breakers.admit(A), int)


def test_a_call_that_is_interrupted_while_it_pays_frees_its_place() -> None:
    admission = probing()
    with pytest.raises(KeyboardInterrupt):
        paid(admission, Failing(KeyboardInterrupt()))
    assert isinstance(admission.breakers.admit(A), int)


def test_a_bill_that_cannot_be_made_leaves_nothing_held() -> None:
    admission = paid(probing())
    with pytest.raises(ZeroDivisionError):
        run(admission.settle(lambda: 1 / 0))
    purse = admission.reservation.budget.purse(run=None, thread=None, metadata={})
    ((_, balance),) = run(purse.look()).left
    assert balance == Balance(admission.reservation.pico, 0)
