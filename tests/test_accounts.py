"""The store in memory, and what is held in it: what stands in each account after whatever was done."""

from typing import Any

import pytest

from langroute.accounts import Balance, Claim, Hold, Memory, pico_of

EVERYBODY = Claim("per_day_usd", "day 1", 10, None, "1")


def hold(memory: Memory, pico: int, *claims: Claim) -> Hold:
    """Return money that was set aside."""
    made = Hold(memory, claims or (EVERYBODY,), pico)
    assert made.reserve() is None
    return made


def spend(memory: Memory, account: str, day: str | None = None) -> None:
    """Spend 1 of 1,000 from an account: of a thread, or of a day."""
    memory.settle(hold(memory, 1, Claim("", account, 1_000, None, day)), 1)


def spent(memory: Memory, *accounts: str) -> list[int]:
    found = memory.balances([Claim("", account, 1_000) for account in accounts])
    assert [balance.held for balance in found] == [0] * len(found)
    return [balance.spent for balance in found]


def few(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """Return a store that remembers three threads."""
    monkeypatch.setattr("langroute.accounts._MOST_ACCOUNTS", 3)
    return Memory()


@pytest.mark.parametrize(
    ("usd", "nearest", "above"),
    [(0.0, 0, 0), (1e-12, 1, 1), (1.4e-12, 1, 2), (1.6e-12, 2, 2), (1.0, 10**12, 10**12)],
)
def test_dollars_are_whole_pico_dollars_the_nearest_or_the_next_above(
    usd: float, nearest: int, above: int
) -> None:
    assert (pico_of(usd), pico_of(usd, up=True)) == (nearest, above)


# Reserved, settled ---------------------------------------------------------------------------------------


def test_an_account_is_drawn_on_to_its_cap_and_not_beyond() -> None:
    memory = Memory()
    first = hold(memory, 4)
    assert Hold(memory, [EVERYBODY], 7).reserve() == (EVERYBODY, Balance(0, 4))
    memory.settle(first, 3)
    assert Hold(memory, [EVERYBODY], 8).reserve() == (EVERYBODY, Balance(3, 0))
    hold(memory, 7)
    assert memory.balances([EVERYBODY]) == [Balance(3, 7)]


def test_what_does_not_fit_one_account_is_held_in_none() -> None:
    memory, tight = Memory(), Claim("per_thread_usd", "thread t", 4, "t")
    refused = Hold(memory, [EVERYBODY, tight], 5)
    assert refused.reserve() == (tight, Balance())
    assert not refused.reserved
    assert memory.balances([EVERYBODY, tight]) == [Balance(), Balance()]
    hold(memory, 4, EVERYBODY, tight)
    assert memory.balances([EVERYBODY, tight]) == [Balance(0, 4), Balance(0, 4)]


def test_what_one_call_cost_leaves_what_another_holds() -> None:
    memory = Memory()
    first, second = hold(memory, 2), hold(memory, 3)
    memory.settle(first, 1)
    assert memory.balances([EVERYBODY]) == [Balance(1, 3)]
    memory.settle_soon(second, 7)
    assert memory.balances([EVERYBODY]) == [Balance(8, 0)]


# What is forgotten ---------------------------------------------------------------------------------------


def test_a_day_that_is_over_is_forgotten_when_there_are_too_many_accounts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = few(monkeypatch)
    for account, day in (("day 1", "1"), ("day 2", "2"), ("a", None)):
        spend(memory, account, day)
    assert spent(memory, "day 1", "day 2", "a") == [1, 1, 1]
    spend(memory, "tenant of 2", "2")
    assert spent(memory, "day 1", "day 2", "a", "tenant of 2") == [0, 1, 1, 1]


def test_what_is_held_or_of_no_known_day_outlives_its_day(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = few(monkeypatch)
    under_way = hold(memory, 5)
    spend(memory, "tenant of 1", "1")
    for thread in "abcd":
        spend(memory, thread)  # threads tell no day
    assert spent(memory, "tenant of 1") == [1]
    for number in range(4):
        spend(memory, f"tenant {number} of 2", "2")
    assert spent(memory, "tenant of 1") == [0]
    assert memory.balances(under_way.claims) == [Balance(0, 5)]


def test_the_threads_unused_for_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = few(monkeypatch)
    for thread in ("a", "b", "c", "d", "e", "f", "g"):
        spend(memory, thread)
    assert spent(memory, *"abcdefg") == [1] * 7  # they are looked for after as many again as are remembered
    spend(memory, "a")
    spend(memory, "h")
    assert spent(memory, *"abcdefgh") == [2, 0, 0, 0, 0, 1, 1, 1]


def test_few_threads_are_all_remembered_beside_many_of_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = few(monkeypatch)
    spend(memory, "a")
    for number in range(20):
        spend(memory, f"tenant {number}", "1")
    assert spent(memory, "a", "tenant 0", "tenant 19") == [1, 1, 1]


def test_a_thread_whose_call_is_under_way_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = few(monkeypatch)
    under_way = hold(memory, 5, Claim("", "a", 1_000))
    for number in range(20):
        spend(memory, f"thread {number}")
    assert memory.balances(under_way.claims) == [Balance(0, 5)]


# Holds ---------------------------------------------------------------------------------------------------


class Distant(Memory):
    """A store that must be waited for, and says who settled what."""

    blocking = True

    def __init__(self) -> None:
        super().__init__()
        self.settled: list[tuple[Hold, int]] = []

    def settle_soon(self, hold: Hold, pico: int) -> None:  # type: ignore[override]
        self.settled.append((hold, pico))
        self.settle(hold, pico)


def test_a_hold_has_a_name_of_its_own_where_other_processes_see_it() -> None:
    named = {Hold(Distant(), [EVERYBODY], 1).id for _ in range(10)}
    assert {len(name) for name in named} == {32}
    assert len(named) == 10
    assert Hold(Memory(), [EVERYBODY], 1).id == ""


@pytest.mark.parametrize("first", ["reserve", "give_up"])
def test_what_is_given_up_is_given_back_once_whichever_came_first(first: str) -> None:
    store = Distant()
    made = Hold(store, [EVERYBODY], 4)
    steps: list[Any] = [made.reserve, made.give_up]
    for step in steps if first == "reserve" else reversed(steps):
        assert step() is None
    assert store.settled == [(made, 0)]
    assert store.balances([EVERYBODY]) == [Balance()]


def test_what_was_refused_is_not_given_back() -> None:
    store = Distant()
    made = Hold(store, [EVERYBODY], 11)
    assert made.reserve() == (EVERYBODY, Balance())
    made.give_up()
    late = Hold(store, [EVERYBODY], 11)
    late.give_up()
    assert late.reserve() == (EVERYBODY, Balance())
    assert store.settled == []
