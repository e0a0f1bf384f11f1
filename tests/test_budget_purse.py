"""A purse by itself: whose accounts a request draws on, what it refuses, what a store may do to it."""

import math
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from langroute.accounts import Balance, Claim, Hold, Memory, pico_of
from langroute.budget import Budget, Limit, Purse
from langroute.effects import run
from langroute.errors import BudgetExceeded, LedgerError

CALL = Limit("per_call_usd", "call", pico_of(4.0))
RUN = Limit("per_run_usd", "run", pico_of(6.0))
THREAD = Limit("per_thread_usd", "thread", pico_of(8.0))
DAY = Limit("per_day_usd", "day", pico_of(10.0))
TENANT = Limit("keys.tenant.per_day_usd", "key", pico_of(7.0), "tenant")

NOON_S = 1.5 * 86_400
"""Noon of 2 January 1970."""


def budget(*limits: Limit, store: Any = None) -> Budget:
    return Budget(limits, store, clock=lambda: NOON_S)


def purse(made: Budget, of_run: Any = None, thread: str | None = None, **metadata: Any) -> Purse:
    return made.purse(run=of_run, thread=thread, metadata=metadata)


def claims(made: Budget, thread: str | None = None, **metadata: Any) -> list[Claim]:
    return [claim for _, found in purse(made, thread=thread, **metadata).places for claim in found]


class Distant(Memory):
    """A store that must be waited for; `fails` is raised by whatever is asked of it."""

    blocking = True

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__()
        self.fails = fails
        self.asked_in: list[str] = []
        self.settled = threading.Event()

    def reserve(self, hold: Hold) -> Any:
        self._asked()
        return super().reserve(hold)

    def settle(self, hold: Hold, pico: int) -> None:
        self._asked()
        super().settle(hold, pico)

    def settle_soon(self, hold: Hold, pico: int) -> None:  # type: ignore[override]
        super().settle(hold, pico)
        self.settled.set()

    def balances(self, claims: Sequence[Claim]) -> list[Balance]:
        self._asked()
        return super().balances(claims)

    def _asked(self) -> None:
        self.asked_in.append(threading.current_thread().name)
        if self.fails is not None:
            raise self.fails


# Whose money ---------------------------------------------------------------------------------------------


def test_a_request_draws_on_its_thread_its_day_and_its_key_in_the_order_of_their_accounts() -> None:
    made = budget(CALL, TENANT, THREAD, DAY)
    assert claims(made, "t1", tenant="acme") == [
        Claim("per_day_usd", "day 1970-01-02", pico_of(10.0), None, "1970-01-02"),
        Claim("keys.tenant.per_day_usd", "key tenant=acme 1970-01-02", pico_of(7.0), "acme", "1970-01-02"),
        Claim("per_thread_usd", "thread t1", pico_of(8.0), "t1"),
    ]
    assert purse(made).per_call == CALL


def test_without_a_thread_or_a_value_there_is_no_thread_and_the_common_account_of_the_key() -> None:
    assert claims(budget(TENANT, THREAD)) == [
        Claim("keys.tenant.per_day_usd", "key tenant 1970-01-02", pico_of(7.0), None, "1970-01-02")
    ]
    assert claims(budget(TENANT), tenant=7)[0].owner == "7"
    assert purse(budget(CALL)).places == ()


def test_a_shadow_has_an_account_of_its_own_for_its_step_and_day() -> None:
    shadow = Limit("shadow.per_day_usd", "shadow", pico_of(1.0), "synthesis")
    account = "shadow synthesis 1970-01-02"
    assert claims(budget(shadow)) == [
        Claim("shadow.per_day_usd", account, pico_of(1.0), None, "1970-01-02"),
    ]


def test_a_run_has_an_account_in_this_process_before_the_store_is_asked() -> None:
    made, graph = budget(RUN, DAY), object()
    (own, own_claims), (store, _) = purse(made, graph).places
    assert own_claims == (Claim("per_run_usd", "run", pico_of(6.0)),)
    assert store is made.store
    assert purse(made, graph).places[0][0] is own
    assert purse(made, object()).places[0][0] is not own
    assert purse(made).places[0][0] is not purse(made).places[0][0]


@pytest.mark.parametrize(
    ("name", "account"),
    [
        ("a" * 200, "thread " + "a" * 200),
        ("two\nlines", "thread two\\nlines"),
        ("köln", "thread k\\u00f6ln"),
    ],
)
def test_a_name_is_printable_and_no_longer_than_an_index_allows(name: str, account: str) -> None:
    (claim,) = claims(budget(THREAD), name)
    assert claim.owner == name
    assert claim.account == account


def test_long_names_have_an_account_each_even_where_they_are_no_text() -> None:
    names = ["a" * 201, "a" * 202, "\ud800" * 201, "b" * 300]
    accounts = [claims(budget(THREAD), name)[0].account for name in names]
    assert {len(account) for account in accounts} == {len("thread ") + 64}
    assert len(set(accounts)) == 4
    assert claims(budget(THREAD), names[0])[0].account == accounts[0]


# Refusals ------------------------------------------------------------------------------------------------


def refusal(made: Budget, usd: float | None, **asked: Any) -> BudgetExceeded:
    """Return why a call is refused, which the plan's look says in the same words as the reservation."""
    spends = purse(made, **asked)
    seen = run(spends.look()).refusal(usd)
    with pytest.raises(BudgetExceeded) as caught:
        run(spends.reserve(usd))
    assert str(seen) == str(caught.value)
    return caught.value


def figures(error: BudgetExceeded) -> tuple[Any, ...]:
    return error.budget, error.needed_usd, error.limit_usd, error.spent_usd, error.key


def test_a_call_above_the_limit_of_one_call_is_refused_with_both_figures() -> None:
    error = refusal(budget(CALL), 4.5)
    assert str(error) == "4.500000 USD would pass per_call_usd of 4.000000"
    assert figures(error) == ("per_call_usd", 4.5, 4.0, None, None)
    assert run(purse(budget(CALL)).reserve(4.0)).pico == pico_of(4.0)


def test_a_call_of_unknown_price_is_refused() -> None:
    error = refusal(budget(DAY), None)
    assert str(error) == "its price is unknown, so that no budget can hold it"
    assert figures(error) == ("price", None, None, None, None)


def test_a_call_beyond_what_is_left_is_refused_with_what_is_left_and_whose_it_is() -> None:
    made = budget(TENANT)
    run(run(purse(made, tenant="x" * 99).reserve(2.0)).settle(1.5))
    run(purse(made, tenant="x" * 99).reserve(4.0))
    error = refusal(made, 3.25, tenant="x" * 99)
    assert str(error) == f"3.250000 USD would pass keys.tenant.per_day_usd of {'x' * 60}, 1.500000 left"
    assert figures(error) == ("keys.tenant.per_day_usd", 3.25, 7.0, 5.5, "x" * 99)
    run(purse(made, tenant="x" * 99).reserve(1.5))
    run(purse(made, tenant="other").reserve(7.0))


def test_an_account_that_was_overrun_has_nothing_left_and_not_less() -> None:
    made = budget(DAY)
    run(run(purse(made).reserve(1.0)).settle(12.0))
    assert str(refusal(made, 0.5)) == "0.500000 USD would pass per_day_usd, 0.000000 left"
    assert (made.overruns, made.overrun_usd) == (1, pytest.approx(11.0))


def test_what_one_place_refuses_is_given_back_to_the_others() -> None:
    made, graph = budget(RUN, TENANT, DAY), object()
    run(purse(made, tenant="acme").reserve(4.0))
    spends = purse(made, graph, tenant="acme")
    with pytest.raises(BudgetExceeded, match=r"of acme, 3\.000000 left"):
        run(spends.reserve(4.0))
    held = {claim.account: balance.held for claim, balance in run(spends.look()).left}
    assert held == {
        "run": 0,
        "day 1970-01-02": pico_of(4.0),
        "key tenant=acme 1970-01-02": pico_of(4.0),
    }


# Settled -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("soon", [False, True])
@pytest.mark.parametrize("store", [Memory, Distant])
def test_a_call_is_settled_once_in_every_place(store: Any, soon: Any) -> None:
    made, graph = budget(RUN, DAY, store=store()), object()
    spends = purse(made, graph)
    reservation = run(spends.reserve(3.0))
    assert reservation.pico == pico_of(3.0)
    assert [tuple(balance) for _, balance in run(spends.look()).left] == [(0, pico_of(3.0))] * 2
    for usd in (1.25, 2.0):
        reservation.settle_soon(usd) if soon else run(reservation.settle(usd))
    assert [tuple(balance) for _, balance in run(spends.look()).left] == [(pico_of(1.25), 0)] * 2
    assert (made.overruns, made.overrun_usd) == (0, 0.0)


@pytest.mark.parametrize("usd", [None, -1.0, math.nan, math.inf])
def test_a_call_that_cost_nobody_knows_what_is_settled_at_its_worst_case(usd: float | None) -> None:
    made = budget(DAY)
    for _ in range(2):
        run(run(purse(made).reserve(1.5)).settle(usd))
    ((_, balance),) = run(purse(made).look()).left
    assert balance == Balance(pico_of(3.0), 0)
    assert made.overruns == 0


def test_calls_that_cost_more_than_their_worst_case_are_counted_with_what_they_did() -> None:
    made = budget(DAY)
    for usd in (1.0, 1.5, 2.25):
        run(run(purse(made).reserve(1.0)).settle(usd))
    assert (made.overruns, made.overrun_usd) == (2, pytest.approx(1.75))


def test_a_part_of_a_pico_dollar_is_reserved_whole() -> None:
    made = Budget([Limit("per_day_usd", "day", 1)])
    assert run(purse(made).reserve(0.2e-12)).pico == 1
    assert run(purse(Budget([Limit("per_call_usd", "call", 1)])).look()).refusal(1.2e-12) is not None


# Stores that must be waited for --------------------------------------------------------------------------


def test_a_store_that_blocks_is_asked_beside_the_caller_and_one_in_memory_at_once() -> None:
    store = Distant()
    made = budget(DAY, store=store)
    run(run(purse(made).reserve(1.0)).settle(1.0))
    assert len(store.asked_in) == 2
    assert threading.current_thread().name not in store.asked_in
    waiting = purse(made).reserve(1.0)
    assert next(waiting).timeout_s == 10.0
    waiting.close()
    with pytest.raises(StopIteration):
        next(purse(budget(DAY)).reserve(1.0))


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (ValueError("secret"), "the budget cannot be asked: ValueError"),
        (LedgerError("the disk is full"), "the disk is full"),
    ],
)
def test_a_store_that_fails_refuses_the_call_by_type(fails: Exception, message: str) -> None:
    made, graph = budget(RUN, DAY, store=Distant(fails)), object()
    with pytest.raises(LedgerError) as caught:
        run(purse(made, graph).reserve(1.0))
    assert str(caught.value) == message
    assert caught.value is fails or caught.value.__cause__ is fails
    ((claim, balance),) = run(purse(made, graph).look()).left  # what the store says nothing of has room
    assert (claim.limit, balance) == ("per_run_usd", Balance())


def test_a_store_that_fails_when_a_call_is_settled_fails_no_call() -> None:
    store = Distant()
    made, graph = budget(RUN, DAY, store=store), object()
    reservation = run(purse(made, graph).reserve(1.0))
    store.fails = LedgerError("the disk is full")
    run(reservation.settle(0.5))
    ((_, balance),) = run(purse(made, graph).look()).left
    assert balance == Balance(pico_of(0.5), 0)


def test_money_that_a_store_reserves_too_late_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langroute.budget._PATIENCE_S", 0.05)
    answers = threading.Event()

    class Late(Distant):
        def reserve(self, hold: Hold) -> Any:
            answers.wait(10)
            return super().reserve(hold)

    store = Late()
    with pytest.raises(LedgerError, match=r"^the budget cannot be asked: TimeoutError$"):
        run(purse(budget(DAY, store=store)).reserve(1.0))
    answers.set()
    assert store.settled.wait(10)
    assert store.balances(claims(budget(DAY))) == [Balance()]


def test_a_call_that_ends_while_its_store_is_asked_holds_nothing() -> None:
    store = Distant()
    made, graph = budget(RUN, DAY, store=store), object()
    waiting = purse(made, graph).reserve(1.0)
    effect = next(waiting)
    waiting.close()
    effect.perform()
    assert store.settled.wait(10)
    assert [balance for _, balance in run(purse(made, graph).look()).left] == [Balance(), Balance()]
