"""Breakers that processes share: what opens, closes and is held for all, and who has the probe."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fleets import A, Process, World
from langchain_core.exceptions import ModelTimeoutError
from sqlalchemy import event, text

from langroute import RoutedChatModel
from langroute.breaker import GOOD_PROBES
from langroute.ledger import Store, open_store
from langroute.ledger.breakers import HOT_S, LEASE_S
from langroute.ledger.fleet import FRESH_S, POLL_S
from langroute.testing import ScriptedChatModel

AFTER = "after 5 failures in a row (timeout)"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def stored(store: Store) -> World:
    """Three processes on either database in turn."""
    return World(store)


@pytest.fixture
def world() -> World:
    """The same with a table in memory: what is weighed there is the same."""
    return World()


def rows(store: Store) -> list[Any]:
    with store.statements() as connection:
        return list(connection.execute(text("SELECT * FROM langroute_breakers ORDER BY endpoint")))


# Opening, closing, holding -------------------------------------------------------------------------------


def test_what_opens_in_one_process_is_open_in_all_for_as_long(stored: World) -> None:
    world = stored
    first, second, third = world.processes
    first.fails()
    first.fleet.round()
    world.clock.now_s += 10.0
    world.look()
    assert [process.calls() for process in world.processes] == [False] * 3
    assert first.health.state(A)["reason"] == f"circuit open for 20 s more {AFTER}"
    for other in (second, third):
        told = other.health.state(A)
        assert told["reason"] == f"circuit open for 20 s more {AFTER}, in another process"
        assert (told["wait_s"], told["times_opened"]) == (pytest.approx(20.0, abs=0.01), 1)


def test_clocks_that_differ_by_days_change_nothing() -> None:
    world = World(processes=0)
    world.processes = [Process(world.memory, world.clock, ahead_s) for ahead_s in (0.0, 1e6, -9e5)]
    world.look()
    world.processes[1].fails()
    world.look()
    world.look()
    waits = [process.health.state(A)["wait_s"] for process in world.processes]
    assert waits == [pytest.approx(30.0, abs=0.01)] * 3
    world.passes(29.0)
    assert world.states == ["open"] * 3


def test_of_openings_at_once_the_longest_holds_and_counts_once(world: World) -> None:
    first, second, _ = world.processes
    first.fails()
    second.calls("auth")
    world.look()
    world.look()
    for process in world.processes:
        told = process.health.state(A)
        assert (told["wait_s"], told["times_opened"]) == (pytest.approx(600.0, abs=0.01), 1)
    assert "a failure that a person must mend (auth)" in world.processes[0].health.state(A)["reason"]


def test_calls_in_flight_elsewhere_change_nothing_any_more(world: World) -> None:
    first, second, _ = world.processes
    flying = [second.starts() for _ in range(5)]
    first.fails()
    world.look()
    for ticket in flying:
        assert ticket is not None
        second.health.failed(A, ticket, "timeout")
    world.look()
    assert second.health.state(A)["times_opened"] == 1


def test_what_opens_while_the_store_is_read_is_not_closed_by_older_news(world: World) -> None:
    first, second, _ = world.processes
    first.fails()
    first.fleet.round()
    world.clock.now_s += 31.0
    first.fleet.round()
    assert (first.calls(), first.calls()) == (True, True)
    first.fleet.round()
    world.memory.meanwhile = second.fails
    second.fleet.round()
    assert second.state == "open"
    world.look()
    world.look()
    assert world.states == ["open"] * 3


def test_two_good_probes_of_one_process_close_it_for_all(stored: World) -> None:
    world = stored
    world.processes[0].fails()
    world.passes(31.0)
    probing = world.processes[0]
    assert [process.calls() for process in world.processes] == [True, False, False]
    assert world.states == ["half_open"] * 3
    assert probing.calls()
    assert probing.state == "closed"
    world.look()
    world.look()
    assert world.states == ["closed"] * 3
    assert [process.calls() for process in world.processes] == [True] * 3


def test_a_bad_probe_opens_it_again_for_all_and_for_longer(stored: World) -> None:
    world = stored
    world.processes[0].fails()
    world.passes(31.0)
    assert world.processes[0].calls("server")
    world.look()
    for process in world.processes:
        told = process.health.state(A)
        assert (told["state"], told["times_opened"]) == ("open", 2)
        assert 59 < told["wait_s"] <= 60


def test_a_wait_that_a_provider_asked_for_is_kept_by_all(stored: World) -> None:
    world = stored
    assert world.processes[0].calls("rate_limit", retry_after_s=40.0)
    world.look()
    assert world.states == ["held"] * 3
    world.passes(39.0)
    assert world.states == ["held"] * 3
    world.passes(1.5)
    assert world.states == ["closed"] * 3
    assert [process.calls() for process in world.processes] == [True] * 3


def test_endpoints_with_other_credentials_share_nothing() -> None:
    world = World(processes=1)
    world.processes.append(Process(world.memory, world.clock, identity="small-a@another-key"))
    world.look()
    world.processes[0].calls("auth")
    world.look()
    assert world.states == ["open", "closed"]


# The probe -----------------------------------------------------------------------------------------------


def probing(world: World) -> list[bool]:
    """Let every process start a call; the tickets are never handed in."""
    return [process.starts() is not None for process in world.processes]


def asked(world: World) -> None:
    for process in world.processes:
        process.starts()


def test_of_processes_that_all_have_calls_one_probes(world: World) -> None:
    world.processes[2].fails()
    world.look()
    tried = []
    for _ in range(200):
        world.clock.now_s += POLL_S / 3
        world.look()
        tried.append(sum(probing(world)))
    assert sum(tried) == 1


def test_a_lone_process_probes_with_its_first_call() -> None:
    world = World(processes=1)
    world.processes[0].fails()
    world.passes(3_000.0)
    assert world.processes[0].calls()


def test_the_probe_of_a_process_that_died_is_free_after_its_lease(stored: World) -> None:
    world = stored
    first, second, third = world.processes
    first.fails()
    world.passes(31.0)
    assert first.starts() is not None
    world.look()
    world.processes = [second, third]
    waited_s = 0.0
    while not any(probing(world)):
        world.passes(POLL_S)
        waited_s += POLL_S
    assert LEASE_S - 2 * POLL_S <= waited_s <= LEASE_S + 2 * POLL_S
    assert sum(probing(world)) == 0, "the other one stays out"


def test_a_long_probe_keeps_its_place(world: World) -> None:
    first = world.processes[0]
    first.fails()
    world.passes(31.0)
    ticket = first.starts()
    for _ in range(300):
        world.passes(POLL_S)
        assert not any(probing(world))
    assert ticket is not None
    first.health.succeeded(A, ticket)
    assert first.calls()
    world.look()
    world.look()
    assert world.states == ["closed"] * 3


def test_a_process_without_calls_lets_those_probe_that_have_some(world: World) -> None:
    first, second, _ = world.processes
    first.fails()
    world.passes(31.0)
    waited_s = 0.0
    while not second.calls():
        world.passes(POLL_S)
        waited_s += POLL_S
        assert waited_s < 2 * HOT_S
    assert second.calls()
    world.look()
    world.look()
    assert world.states == ["closed"] * 3


@pytest.mark.parametrize("every_s", [3.0, 10.0, 45.0])
def test_processes_with_few_calls_probe_in_the_end(world: World, every_s: float) -> None:
    first, second, _ = world.processes
    first.fails()
    world.passes(25.0)
    good = 0
    for _ in range(10):
        good += first.calls()
        world.passes(every_s / 2)
        good += second.calls()
        world.passes(every_s / 2)
    assert good >= GOOD_PROBES
    assert world.states == ["closed"] * 3


def test_an_idle_process_that_has_the_probe_seldom_writes() -> None:
    world = World(processes=1)
    world.processes[0].fails()
    world.passes(100.0)
    before = world.memory.written
    world.passes(600.0)
    assert 600 / 60 <= world.memory.written - before <= 600 / 15
    assert world.processes[0].calls()


# Those who come later, and those who are gone ------------------------------------------------------------


@pytest.mark.parametrize(("after_s", "state"), [(10.0, "open"), (35.0, "half_open"), (40_000.0, "closed")])
def test_a_new_process_begins_with_what_is_known_unless_it_is_long_ago(
    world: World, after_s: float, state: str
) -> None:
    world.processes[0].fails()
    world.look()
    world.processes = []
    world.clock.now_s += after_s
    late = Process(world.store, world.clock)
    late.fleet.round()
    world.clock.now_s += 0.01
    assert late.state == state


def test_a_process_that_was_cut_off_learns_what_it_missed(world: World) -> None:
    first, second, third = world.processes
    first.fails()
    world.look()
    world.processes = [first, second]
    world.passes(31.0)
    assert first.calls()
    assert first.calls()
    world.look()
    third.fleet.round()
    assert third.state == "closed"


def test_rows_that_nothing_happens_to_are_swept(stored: World) -> None:
    stored.processes[0].fails()
    stored.passes(31.0)
    assert (stored.processes[0].calls(), stored.processes[0].calls()) == (True, True)
    stored.look()
    assert [row.is_open for row in rows(stored.store)] == [0]
    stored.clock.now_s += 80_000
    stored.look()
    assert len(rows(stored.store)) == 1
    stored.clock.now_s += 10_000
    stored.look()
    assert rows(stored.store) == []
    stored.processes[0].fails()
    stored.look()
    stored.look()
    assert stored.states == ["open"] * 3


def test_a_row_tells_a_person_the_endpoint_and_nobody_the_credential(store: Store) -> None:
    world = World(store, 0)
    world.processes = [Process(store, world.clock, identity="a\x00b@sk-secret")]
    world.look()
    world.processes[0].fails()
    world.look()
    (row,) = rows(store)
    assert row.endpoint == A
    assert len(row.id) == 64
    assert "sk-secret" not in json.dumps(list(row))


# A database that fails -----------------------------------------------------------------------------------


def away(store: Store) -> Callable[[], None]:
    """Take the table away; return what brings it back."""
    with store.statements() as connection:
        connection.execute(text("ALTER TABLE langroute_breakers RENAME TO away"))

    def back() -> None:
        with store.statements() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO langroute_breakers"))

    return back


def test_without_the_database_each_process_goes_on_by_itself(
    stored: World, caplog: pytest.LogCaptureFixture
) -> None:
    world = stored
    first, second, third = world.processes
    first.fails()
    world.passes(20.0)
    back = away(world.store)
    with caplog.at_level(logging.WARNING, "langroute.ledger.fleet"):
        for _ in range(20):
            assert not any(process.fleet.round() for process in world.processes)
            world.clock.now_s += POLL_S
    assert world.clock.now_s - 1_000_000 > 20.0 + FRESH_S
    assert len([r for r in caplog.records if "goes on with its own" in r.message]) == 3, "once each"
    world.clock.now_s += 1.0
    assert [process.calls("server" if process is third else None) for process in world.processes] == [
        True
    ] * 3
    assert [first.calls(), second.calls()] == [True, True]
    assert world.states == ["closed", "closed", "open"]
    back()
    world.look()
    world.look()
    assert world.states == ["open"] * 3, "what opened last is known to all again"


def test_what_closed_while_the_database_was_away_is_closed_for_all(world: World) -> None:
    first = world.processes[0]
    first.fails()
    world.passes(31.0)
    world.memory.gone = True
    assert not first.fleet.round()
    assert (first.calls(), first.calls(), first.state) == (True, True, "closed")
    assert not first.fleet.round()
    world.memory.gone = False
    world.look()
    world.look()
    assert world.states == ["closed"] * 3


# Calls ---------------------------------------------------------------------------------------------------


def routed(store: Store | None, reply: Any = "Good.") -> RoutedChatModel:
    down = ScriptedChatModel(name="down", reply=ModelTimeoutError("timed out"))
    models = [
        {"model": down, "name": "down"},
        {"model": ScriptedChatModel(name="up", reply=reply), "name": "up"},
    ]
    return RoutedChatModel({"tiers": {"small": {"models": models}}}, ledger=store)


def test_a_call_sends_no_statement(store: Store) -> None:
    model = routed(store)
    threads: set[str] = set()
    event.listen(
        store._engine, "before_cursor_execute", lambda *_: threads.add(threading.current_thread().name)
    )
    until_s = time.monotonic() + 3 * POLL_S
    while time.monotonic() < until_s:
        model.invoke("When?")
    assert "langroute-breakers" in threads
    assert threading.current_thread().name not in threads
    assert [row.is_open for row in rows(store)] == [1]


def test_without_a_ledger_there_is_no_thread_and_no_bookkeeping() -> None:
    before = set(threading.enumerate())
    model = routed(None)
    for _ in range(7):
        model.invoke("When?")
    assert set(threading.enumerate()) <= before
    assert (model.router.breakers.on_change, model.router.breakers._on_use) == (None, None)


def test_the_thread_ends_with_the_models_and_with_the_store(store: Store) -> None:
    from langroute.ledger.fleet import fleet

    model = routed(store)
    assert fleet(store).thread is None, "nothing is asked before the first call"
    model.invoke("When?")
    thread = fleet(store).thread
    assert thread is not None
    store.close()
    model.invoke("When?")
    thread.join(timeout=20)
    assert (thread.is_alive(), fleet(store).thread) == (False, None)
