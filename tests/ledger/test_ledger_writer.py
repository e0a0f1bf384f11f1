"""Writing: what the background writer and `sync` promise when all is well, and when the store is not."""

import asyncio
import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from databases import on_server
from scenes import GOOD, Made, routed, some
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from synthetic import decisions

from langroute import Ledger
from langroute.ledger.rows import write
from langroute.ledger.store import Store, open_store
from langroute.ledger.writer import Writer, writer
from langroute.testing import capture_decisions

PATIENCE_S = 60.0


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    yield opened
    opened.close()


def ids(store: Store) -> list[str]:
    with store.statements() as connection:
        return list(connection.scalars(text("SELECT id FROM langroute_decisions ORDER BY decided_at_s")))


def attempts_of(store: Store) -> int:
    with store.statements() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM langroute_attempts")) or 0)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("langroute.ledger.writer")]


# When all is well ----------------------------------------------------------------------------------------


def test_what_is_handed_over_is_written_once_and_in_order(store: Store) -> None:
    entries, background = some(2_500), Writer(store)
    for entry in entries:
        background.put(entry)
    assert background.flush(PATIENCE_S)
    assert ids(store) == [entry.made.id for entry in entries]
    assert attempts_of(store) == sum(entry.rows - 1 for entry in entries)
    assert (background.counts.written, background.counts.waiting) == (2_500, 0)
    assert background.close()


def test_decision_that_a_resumed_run_finishes_again_stands_once_and_keeps_its_cancelled_attempt(
    store: Store,
) -> None:
    [entry] = some(1, seed=11)
    first = replace(entry.made.attempts[0], outcome="cancelled", returned=0, mark=7)
    cancelled = replace(entry.made, outcome="cancelled", attempts=(first,))
    background = Writer(store)
    for record in (cancelled, entry.made, entry.made):
        background.put(Made(record))
        background.flush(PATIENCE_S)
    background.close()
    [kept] = Ledger(store).decisions()
    assert kept.outcome == entry.made.outcome
    assert len(kept.attempts) == len(entry.made.attempts) + 1
    assert kept.cost_usd == pytest.approx(entry.made.cost_usd + first.cost_usd)


def test_routers_of_one_store_share_one_writing_thread(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a.db") as ledger, Ledger(tmp_path / "a.db") as same:
        for kept_in in (ledger, same, f"sqlite:///{tmp_path / 'a.db'}"):
            routed(kept_in).invoke("Hi")
        assert writer(ledger.store) is writer(same.store)
        ours = [t for t in threading.enumerate() if t.name == "langroute-ledger" and t.is_alive()]
        assert len([t for t in ours if t is writer(ledger.store).thread]) == 1
        assert ledger.flush(PATIENCE_S)
        assert len(list(same.decisions())) == 3


def test_ledger_that_was_closed_writes_on_when_there_is_more(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.db")
    model = routed(ledger)
    model.invoke("Hi")
    assert ledger.close()
    model.invoke("Hi")
    assert ledger.flush(PATIENCE_S)
    assert len(list(ledger.decisions())) == 2
    ledger.close()


ENDING = """
import sys
sys.path[:0] = sys.argv[2:]
from scenes import routed
routed(sys.argv[1]).invoke("Hi")
"""


def test_interpreter_that_ends_writes_what_waits(database_url: str) -> None:
    run_alone(ENDING, database_url)
    with Ledger(database_url) as ledger:
        assert len(list(ledger.decisions())) == 1


FORKING = """
import os, sys
sys.path[:0] = sys.argv[2:]
from langroute import Ledger
from scenes import some
from langroute.ledger.writer import writer
ledger = Ledger(sys.argv[1])
before, child, parent = some(30)[:10], some(30)[10:20], some(30)[20:]
for entry in before: writer(ledger.store).put(entry)
pid = os.fork()
for entry in (parent if pid else child): writer(ledger.store).put(entry)
assert ledger.close(30)
if pid: assert os.waitpid(pid, 0)[1] == 0
else: os._exit(0)
"""


def test_both_sides_of_a_fork_write_what_is_theirs_once(database_url: str) -> None:
    run_alone(FORKING, database_url)
    with Ledger(database_url) as ledger:
        assert [record.id for record in ledger.decisions()] == [entry.made.id for entry in some(30)]


def run_alone(code: str, database_url: str) -> None:
    here = Path(__file__).parent
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, database_url, str(here)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr


# When the store is not -----------------------------------------------------------------------------------


@contextmanager
def failing(store: Store, every: int) -> Iterator[None]:
    """Let every so-many-th write fail as with a server that goes away."""
    count = 0

    def fail(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal count
        if "INSERT INTO langroute_decisions" in statement:
            count += 1
            if count % every == 0:
                raise OperationalError(statement, {}, ConnectionResetError("gone"))

    event.listen(store._engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(store._engine, "before_cursor_execute", fail)


@pytest.mark.parametrize("every", [2, 3, 5])
@pytest.mark.parametrize("writing", ["sync", "async"])
def test_store_that_fails_every_nth_write_loses_no_reply_and_no_row(
    writing: Any, every: int, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(database_url, writing=writing)
    model = routed(ledger)
    with caplog.at_level(logging.WARNING), failing(ledger.store, every):
        for _ in range(12):
            assert model.invoke("Hi").text == GOOD
            if writing == "async":
                ledger.flush(PATIENCE_S)
        assert ledger.flush(PATIENCE_S)
    assert len(list(ledger.decisions())) == 12
    assert ledger.counts.dropped == 0
    assert ledger.counts.failures > 0
    assert len(warnings_in(caplog)) == 1
    ledger.close()


def test_server_that_ends_every_connection_loses_no_row(tmp_path: Path) -> None:
    from databases import fresh_url

    with fresh_url("postgresql", tmp_path) as url:
        name = url.rpartition("%3D")[2]
        ledger = Ledger(f"{url}&application_name={name}")
        model = routed(ledger)
        for _ in range(3):
            model.invoke("Hi")
            assert ledger.flush(PATIENCE_S)
            on_server(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"  # noqa: S608 - our own name
            )
        model.invoke("Hi")
        assert ledger.flush(PATIENCE_S)
        assert len(list(ledger.decisions())) == 4
        ledger.close()


def short_of_patience(store: Store) -> None:
    """Let SQLite wait for a lock for a moment only; for connections that are opened from now on."""

    def hurry(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=20")

    event.listen(store._engine, "connect", hurry)
    store._engine.dispose()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.mark.parametrize("writing", ["sync", "async"])
def test_locked_file_delays_rows_and_loses_none(
    writing: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(tmp_path / "a.db", writing=writing)
    short_of_patience(ledger.store)
    model = routed(ledger)
    with caplog.at_level(logging.WARNING), locked(tmp_path / "a.db"):
        for _ in range(5):
            assert model.invoke("Hi").text == GOOD
        assert not ledger.flush(0.3)
        assert list(ledger.decisions()) == []
    assert ledger.flush(PATIENCE_S)
    assert len(list(ledger.decisions())) == 5
    assert ["database is locked" in said for said in warnings_in(caplog)] == [True]
    ledger.close()


def test_full_disk_drops_exactly_what_is_counted_and_no_reply(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(tmp_path / "a.db")
    pages = sqlite3.connect(tmp_path / "a.db").execute("PRAGMA page_count").fetchone()[0]

    def fill_up(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages + 40}")

    event.listen(ledger.store._engine, "connect", fill_up)
    ledger.store._engine.dispose()
    entries, put = some(400, seed=2), writer(ledger.store).put
    with caplog.at_level(logging.WARNING):
        for at in range(0, 400, 20):
            for entry in entries[at : at + 20]:
                put(entry)
            ledger.flush(0.05)
        assert not ledger.close(1.0)
    kept = set(ids(ledger.store))
    lost = [entry for entry in entries if entry.made.id not in kept]
    assert 0 < len(lost) < 400
    assert (ledger.counts.dropped, ledger.counts.written) == (len(lost), len(kept))
    assert ledger.counts.rows_dropped == sum(entry.rows for entry in lost)
    assert ["disk is full" in said for said in warnings_in(caplog)] == [True]
    ledger.store.close()


def test_queue_that_is_full_drops_what_comes_then_and_counts_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'a.db'}")
    short_of_patience(store)
    background, entries = Writer(store, most_entries=10), some(30)
    with caplog.at_level(logging.WARNING), locked(tmp_path / "a.db"):
        background.put(entries[0])
        wait_until(
            lambda: background.counts.failures > 0
        )  # the first is out of the queue and cannot be written
        for entry in entries[1:]:
            background.put(entry)
        assert background.counts.dropped == 19
        assert background.counts.rows_dropped == sum(entry.rows for entry in entries[11:])
    assert background.flush(PATIENCE_S)
    assert ids(store) == [entry.made.id for entry in entries[:11]]
    assert len(warnings_in(caplog)) == 1
    background.close()
    store.close()


def test_prompts_that_wait_are_bounded_in_size(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'a.db'}")
    short_of_patience(store)
    background, entries = Writer(store, most_chars=1_000), some(12)
    with locked(tmp_path / "a.db"):
        background.put(entries[0])
        wait_until(lambda: background.counts.failures > 0)
        for entry in entries[1:]:
            background.put(replace(entry, chars=300))
        assert background.counts.dropped == 8
    assert background.flush(PATIENCE_S)
    background.close()
    store.close()


def test_row_at_fault_is_dropped_alone(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    good, background = some(6), Writer(store)
    impossible = Made(replace(some(7)[6].made, step=None))
    unmade = Made(replace(some(8)[7].made))
    object.__setattr__(unmade, "record", lambda: 1 / 0)
    with caplog.at_level(logging.WARNING):
        for entry in (*good[:3], impossible, unmade, *good[3:]):
            background.put(entry)
        assert background.flush(PATIENCE_S)
    assert ids(store) == [entry.made.id for entry in good]
    assert background.counts.dropped == 2
    assert background.counts.rows_dropped == impossible.rows + unmade.rows
    assert len(warnings_in(caplog)) == 1
    background.close()


async def test_event_loop_runs_on_while_sync_waits_for_a_lock(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.db", writing="sync")
    model = routed(ledger)
    with locked(tmp_path / "a.db"):
        call = asyncio.create_task(model.ainvoke("Hi"))
        ticks = 0
        while ticks < 20:
            await asyncio.sleep(0.005)
            ticks += 1
        assert not call.done()  # the row is not there yet, and the loop has run on
    assert (await call).text == GOOD
    assert len(list(ledger.decisions())) == 1
    ledger.close()


def test_sync_row_is_there_when_the_reply_is(database_url: str) -> None:
    with Ledger(database_url, writing="sync") as ledger:
        model = routed(ledger)
        for number in range(1, 4):
            model.invoke("Hi")
            assert len(ids(ledger.store)) == number


def test_what_no_writing_is_called_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="write 'async' or 'sync'"):
        Ledger(tmp_path / "a.db", writing="later")  # type: ignore[arg-type]


def wait_until(holds: Any) -> None:
    last_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < last_s
        time.sleep(0.01)


def test_handing_over_takes_less_than_10_us_of_the_callers_time(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a.db") as ledger:
        model = routed(ledger)
        with capture_decisions() as captured:
            reply = model.invoke("Hi")
        request, keep = model.prepare("Hi")._request, model.router.keeper.keep
        taken = []
        for _ in range(20):
            began = time.thread_time_ns()
            for _ in range(100):
                keep(request, {}, captured[0], reply)
            taken.append((time.thread_time_ns() - began) / 100)
        assert min(taken) < 10_000


def test_a_large_batch_with_decisions_that_are_there_already_is_written_whole(database_url: str) -> None:
    made = list(decisions(400, seed=9))
    again = [replace(record, outcome="stopped") for record in made[:200]]
    with Ledger(database_url) as ledger:
        for some in (made[:200], [*again, *made[200:]]):
            with ledger.store.transaction() as connection:
                write(connection, some)
        found = {record.id: record for record in ledger.decisions()}
    assert len(found) == 400
    assert all(found[record.id].outcome == "stopped" for record in again)
    assert [len(found[record.id].attempts) for record in made] == [len(record.attempts) for record in made]


def test_large_batches_are_read_back_as_small_ones_are(database_url: str) -> None:
    odd = [replace(made, step_reason='tab\t\\N\n"\u2028é\x00', difficulty=inf) for made in decisions(200)]
    with Ledger(database_url) as ledger:
        with ledger.store.transaction() as connection:
            write(connection, odd)
        large = list(ledger.decisions())
        for record in odd:
            with ledger.store.transaction() as connection:
                write(connection, [record])
        assert list(ledger.decisions()) == large
    assert {record.difficulty for record in large} == {None}
    assert {record.step_reason for record in large} == {'tab\t\\N\n"\u2028é\ufffd'}
