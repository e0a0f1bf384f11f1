"""Budgets of several processes in one store: nothing is overspent, nothing lost, and the dead let go."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import fresh_url
from sqlalchemy import text

from langroute import RoutedChatModel
from langroute.accounts import Balance, Claim, Hold, pico_of
from langroute.budget import Budget, Limit
from langroute.effects import arun, run
from langroute.errors import BudgetExceeded, LedgerError
from langroute.ledger import Store, open_store
from langroute.ledger.books import LEASE_S
from langroute.ledger.budgets import Accounts, accounts
from langroute.testing import ScriptedChatModel

WORKER = Path(__file__).parents[1] / "processes" / "spending.py"
EVERYBODY = (Claim("per_day_usd", "day", 1_000),)


class Clock:
    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


KEPT: list[Accounts] = []


def process(store: Store, clock: Any = None) -> Accounts:
    """Return the accounts of another process."""
    KEPT.append(Accounts(store, clock))
    return KEPT[-1]


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    KEPT[:] = [accounts(opened)]
    yield opened
    for kept in KEPT:
        kept.open.clear()  # what a test left reserved: the keeper ends
    opened.close()


def held(kept: Accounts, pico: int, claims: Any = EVERYBODY) -> Hold:
    hold = Hold(kept, claims, pico)
    assert hold.reserve() is None
    return hold


def day(kept: Accounts) -> Balance:
    return kept.balances(EVERYBODY)[0]


# One process ---------------------------------------------------------------------------------------------


def test_what_is_reserved_counts_until_it_is_settled(store: Store) -> None:
    kept = accounts(store)
    first = held(kept, 600)
    assert Hold(kept, EVERYBODY, 401).reserve() == (EVERYBODY[0], Balance(0, 600))
    kept.settle(first, 250)
    assert day(kept) == Balance(250, 0)
    held(kept, 750)
    assert day(kept) == Balance(250, 750)


def test_money_is_held_in_all_accounts_or_in_none(store: Store) -> None:
    kept = accounts(store)
    claims = (*EVERYBODY, Claim("keys.tenant.per_day_usd", "key", 300))
    assert Hold(kept, claims, 301).reserve() == (claims[1], Balance())
    held(kept, 200, claims)
    assert Hold(kept, claims, 200).reserve() == (claims[1], Balance(0, 200))
    assert kept.balances(claims) == [Balance(0, 200), Balance(0, 200)]


def test_settling_twice_has_no_effect(store: Store) -> None:
    kept = accounts(store)
    hold = held(kept, 500)
    kept.settle(hold, 100)
    kept.settle(hold, 100)
    assert day(kept) == Balance(100, 0)


def test_a_call_that_cost_more_than_its_worst_case_is_settled_at_what_it_cost(store: Store) -> None:
    kept = accounts(store)
    kept.settle(held(kept, 900), 1_500)
    assert day(kept) == Balance(1_500, 0)
    assert Hold(kept, EVERYBODY, 0).reserve() is not None


def test_what_cannot_be_waited_for_is_settled_by_the_keeper(store: Store) -> None:
    kept = accounts(store)
    kept.settle_soon(held(kept, 500), 70)
    kept.finish()
    assert day(kept) == Balance(70, 0)


def test_the_keeper_ends_when_nothing_is_reserved(store: Store) -> None:
    kept = accounts(store)
    hold = held(kept, 500)
    keeper = kept.keeper
    assert keeper is not None
    assert keeper.is_alive()
    kept.settle(hold, 1)
    keeper.join(timeout=60)
    assert (keeper.is_alive(), kept.keeper, kept.open) == (False, None, set())


def test_names_of_every_kind_have_accounts_of_their_own(store: Store) -> None:
    budget = Budget([Limit("keys.user.per_day_usd", "key", pico_of(1.0), "user")], accounts(store))
    names = ["a", "A", "\x00", "é", "x" * 10_000, "x" * 10_001, "'; DROP TABLE langroute_budgets", None, ""]
    for number, name in enumerate(names, 1):
        run(run(purse_of(budget, name).reserve(0.5)).settle(number / 100))
    for number, name in enumerate(names, 1):
        ((_, balance),) = run(purse_of(budget, name).look()).left
        assert balance.spent == pico_of(number / 100)


def purse_of(budget: Budget, user: str | None) -> Any:
    return budget.purse(run=None, thread=None, metadata={} if user is None else {"user": user})


# The dead ------------------------------------------------------------------------------------------------


def test_what_a_dead_process_held_is_free_when_its_lease_is_over(store: Store) -> None:
    clock = Clock()
    dead, alive = process(store, clock), process(store, clock)
    held(dead, 900)
    clock.now_s += LEASE_S - 1
    assert Hold(alive, EVERYBODY, 200).reserve() is not None
    clock.now_s += 2
    held(alive, 200)
    assert day(alive) == Balance(0, 200)


def test_a_plan_sees_what_the_dead_held_as_free(store: Store) -> None:
    clock = Clock()
    dead, alive = process(store, clock), process(store, clock)
    held(dead, 900)
    assert day(alive) == Balance(0, 900)
    clock.now_s += LEASE_S + 1
    assert day(alive) == Balance()


def test_a_living_process_keeps_what_it_renews(store: Store) -> None:
    clock = Clock()
    busy, other = process(store, clock), process(store, clock)
    held(busy, 900)
    for _ in range(10):
        clock.now_s += LEASE_S / 2
        busy.books.renew()
        assert Hold(other, EVERYBODY, 200).reserve() is not None


def test_a_process_that_was_only_stopped_still_settles(store: Store) -> None:
    clock = Clock()
    stopped, other = process(store, clock), process(store, clock)
    hold = held(stopped, 900)
    clock.now_s += LEASE_S + 1
    assert other.books.free()
    assert not other.books.free()
    stopped.settle(hold, 300)
    stopped.settle(hold, 300)
    assert day(other) == Balance(300, 0)


def test_what_is_left_of_the_dead_is_swept(store: Store) -> None:
    clock = Clock()
    dead, alive = process(store, clock), process(store, clock)
    held(dead, 900)
    clock.now_s += LEASE_S + 1
    assert alive.books.free()
    held(alive, 10)
    clock.now_s += 90_000
    alive.books.renew()
    alive.books.sweep()
    with store.statements() as connection:
        owners = list(connection.scalars(text("SELECT owner FROM langroute_owners")))
        rows = list(connection.execute(text("SELECT owner, held_pico FROM langroute_reservations")))
    assert (owners, rows) == ([alive.books.owner], [(alive.books.owner, 10)])


def test_a_killed_process_holds_nothing_after_its_lease(database_url: str) -> None:
    worker = subprocess.Popen(
        [sys.executable, str(WORKER), "hold", database_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == f"held {pico_of(0.9)}\n"
        worker.kill()
    store = open_store(database_url)
    for later_s, free in ((LEASE_S / 2, False), (LEASE_S + 5, True)):
        kept = Accounts(store, lambda s=later_s: time.time() + s)  # type: ignore[misc]
        budget = Budget([Limit("per_day_usd", "day", pico_of(1.0))], kept)
        assert (run(budget.purse(run=None, thread=None, metadata={}).look()).refusal(0.5) is None) is free
    store.close()


# A store that fails --------------------------------------------------------------------------------------


def test_a_store_that_fails_refuses_calls_and_settles_when_it_is_back(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    kept = accounts(store)
    hold = held(kept, 500)
    with store.statements() as connection:
        connection.execute(text("ALTER TABLE langroute_budgets RENAME TO away"))
    with caplog.at_level(logging.WARNING, "langroute.ledger.budgets"):
        with pytest.raises(LedgerError, match="cannot be asked"):
            kept.settle(hold, 123)
        with pytest.raises(LedgerError):
            Hold(kept, EVERYBODY, 10).reserve()
        with pytest.raises(LedgerError):
            kept.balances(EVERYBODY)
    assert len([r for r in caplog.records if "calls are refused" in r.message]) == 1
    with store.statements() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO langroute_budgets"))
    for _ in range(4):
        kept.finish()
    assert (day(kept), kept.open) == (Balance(123, 0), set())


def test_a_call_whose_budget_cannot_be_asked_is_not_made(store: Store) -> None:
    small = ScriptedChatModel(name="small", reply="Good.")
    spec = {"model": small, "price": {"input": 1, "output": 2}}
    policy = {"tiers": {"small": {"models": [spec]}}, "budget": {"per_day_usd": 1.0}}
    model = RoutedChatModel(policy, ledger=store)
    model.invoke("When?")
    with store.statements() as connection:
        connection.execute(text("ALTER TABLE langroute_budgets RENAME TO away"))
    with pytest.raises(LedgerError, match="cannot be asked") as caught:
        model.invoke("When?")
    assert (len(small.calls), caught.value.decision.attempts[0].failure.kind) == (1, "budget")
    with store.statements() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO langroute_budgets"))
    accounts(store).finish()
    model.invoke("When?")


async def test_a_reservation_that_nobody_waits_for_any_more_is_given_back(store: Store) -> None:
    kept = accounts(store)
    budget = Budget([Limit("per_day_usd", "day", pico_of(1.0))], kept)
    ((_, claims),) = budget.purse(run=None, thread=None, metadata={}).places
    for _ in range(20):
        task = asyncio.create_task(arun(budget.purse(run=None, thread=None, metadata={}).reserve(0.9)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for thread in threading.enumerate():
        if thread.name == "langroute-io":
            await asyncio.to_thread(thread.join, 60)
    await asyncio.to_thread(kept.finish)
    assert kept.balances(claims) == [Balance()]


# Many processes ------------------------------------------------------------------------------------------


def spending(url: str, processes: int, threads: int, rounds: int) -> dict[str, int]:
    """Let processes spend together; what they were served, and what the store says of it."""
    calls = processes * threads * rounds
    day_usd, tenant_usd = calls * 0.005 * 0.6, calls * 0.005 * 0.17  # what is served would be 0.005 a call
    how = [str(threads), str(rounds)]
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), "spend", url, *how, str(seed), str(day_usd), str(tenant_usd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(processes)
    ]
    told: dict[str, int] = {}
    assert [worker.stdout.readline() for worker in workers if worker.stdout] == ["ready\n"] * processes
    began_s = time.monotonic()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        out, _ = worker.communicate(timeout=900)
        assert worker.returncode == 0
        for key, value in json.loads(out).items():
            told[key] = told.get(key, 0) + value
    took_s = time.monotonic() - began_s
    with open_store(url).statements() as connection:
        rows = {r[0]: (r[1], r[2]) for r in connection.execute(text("SELECT * FROM langroute_budgets"))}
        assert connection.scalar(text("SELECT count(*) FROM langroute_reservations")) == 0
    spent = {
        name.split()[0] + name.partition("=")[2].partition(" ")[0]: pico for name, (pico, _) in rows.items()
    }
    assert [held for _, held in rows.values()] == [0] * len(rows)
    assert spent["day"] == told["served"]
    assert {name[3:]: pico for name, pico in spent.items() if name.startswith("key")} == {
        tenant: told[tenant] for tenant in ("acme", "bolt", "core", "dyne")
    }
    assert told["served"] <= pico_of(day_usd)
    assert all(told[tenant] <= pico_of(tenant_usd) for tenant in ("acme", "bolt", "core", "dyne"))
    assert told["calls"] + told["refused"] + told.get("late", 0) == calls
    open_store(url).close()
    return {**told, "took_s": round(took_s), "day_pico": pico_of(day_usd)}


def test_processes_overspend_nothing_and_lose_nothing(database_url: str) -> None:
    told = spending(database_url, processes=2, threads=4, rounds=10)
    assert told["refused"] > 0


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("kind", "processes", "threads", "rounds"), [("postgresql", 8, 25, 100), ("sqlite", 4, 8, 50)]
)
def test_campaign_of_spending_processes(
    kind: str, processes: int, threads: int, rounds: int, tmp_path: Path
) -> None:
    with fresh_url(kind, tmp_path) as url:
        print(f"\n{kind}, {processes} x {threads} x {rounds}, seeds 0 to {processes - 1}:", end=" ")  # noqa: T201 - the campaign's figures
        print(spending(url, processes, threads, rounds))  # noqa: T201 - the campaign's figures


@pytest.mark.campaign
def test_campaign_of_a_killed_process(database_url: str) -> None:
    worker = subprocess.Popen(
        [sys.executable, str(WORKER), "hold", database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        time.sleep(12)  # it lives through a renewal
        worker.kill()
    died_s = time.monotonic()
    budget = Budget([Limit("per_day_usd", "day", pico_of(1.0))], accounts(open_store(database_url)))
    while True:
        try:
            run(run(budget.purse(run=None, thread=None, metadata={}).reserve(0.5)).settle(0.0))
            break
        except BudgetExceeded:
            assert time.monotonic() - died_s < 60
            time.sleep(0.5)
    print(f"\nkilled process, {database_url.partition(':')[0]}: free after {time.monotonic() - died_s:.1f} s")  # noqa: T201 - the campaign's figures
    open_store(database_url).close()
