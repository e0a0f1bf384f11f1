"""Real processes that share their breakers: one opens, one probes, all know.

More rounds, with figures: `pytest -m campaign -s tests/ledger/test_ledger_fleets.py`.
"""

import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from databases import fresh_url

from langroute.ledger.breakers import LEASE_S
from langroute.ledger.fleet import FRESH_S

WORKER = Path(__file__).parents[1] / "processes" / "sharing.py"
OPEN_S = 1.2
PATIENCE_S = 60.0
"""Seconds after which something is taken never to happen: the machine may be very busy."""


class Worker:
    """One process, which does what it is told."""

    def __init__(self, url: str, folder: Path, *how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), url, str(folder), str(OPEN_S), *how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def told(self, what: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    @property
    def state(self) -> str:
        return str(self.told("state")["state"])

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class Fleet:
    """Some processes, and what reached their primary."""

    def __init__(self, url: str, folder: Path, processes: int, *how: str) -> None:
        self.url, self.folder = url, folder
        self.workers = [Worker(url, folder, *how) for _ in range(processes)]
        for worker in self.workers:
            worker.ready()

    def all(self, what: str) -> list[Any]:
        return [worker.told(what) for worker in self.workers]

    @contextmanager
    def being(self, what: str) -> Iterator[None]:
        """Let the primary be `down`, or `hang`."""
        (self.folder / what).touch()
        yield
        (self.folder / what).unlink(missing_ok=True)

    def calls(self, what: str = "began") -> list[tuple[int, float, float]]:
        """Return process, beginning and end of the primary's calls since the last `forget`."""
        if not (self.folder / "calls").exists():
            return []
        lines = [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
        return [tuple(line[1:]) for line in lines if line[0] == what]

    def forget(self) -> None:
        (self.folder / "calls").unlink(missing_ok=True)

    def states(self) -> list[str]:
        return [worker.state for worker in self.workers]

    def end(self) -> None:
        for worker in self.workers:
            worker.end()


def until(claim: Callable[[], bool]) -> float:
    """Wait until something holds, and return after how many seconds."""
    began_s = time.monotonic()
    while not claim():
        assert time.monotonic() - began_s < PATIENCE_S
        time.sleep(0.02)
    return time.monotonic() - began_s


@contextmanager
def fleet(url: str, folder: Path, processes: int, *how: str) -> Iterator[Fleet]:
    with ExitStack() as stack:
        started = Fleet(url, folder, processes, *how)
        stack.callback(started.end)
        started.forget()
        yield started


def one_at_a_time(calls: list[tuple[int, float, float]]) -> bool:
    ordered = sorted(calls, key=lambda call: call[1])
    return all(first[2] <= second[1] for first, second in pairwise(ordered))


# One opens, one probes, all know -------------------------------------------------------------------------


def opened_and_closed(together: Fleet) -> tuple[float, float]:
    """Open in one process under everybody's traffic, mend; return the seconds until all knew of either."""
    with together.being("down"):
        together.workers[0].told("calls 5")
        known_s = until(lambda: "closed" not in together.states())
        reached = len(together.calls())
        assert reached == 5, "nobody else called it"
        before = together.workers[0].told("state")["times_opened"]
        together.all("on")
        until(lambda: together.workers[0].told("state")["times_opened"] > before)
        probes = together.calls("ended")[5:]
        assert 1 <= len(probes) <= 2, "one opened it again, another may have come to its time since"
        assert one_at_a_time(probes)
    open_s = max(told["wait_s"] for told in together.all("state"))
    closed_s = until(lambda: together.states() == ["closed"] * len(together.workers))
    together.all("off")
    return known_s, closed_s - open_s


@pytest.mark.parametrize(("kind", "processes"), [("sqlite", 2), ("postgresql", 4)])
def test_one_process_opens_one_probes_and_all_are_back_in_time(
    kind: str, processes: int, tmp_path: Path
) -> None:
    with fresh_url(kind, tmp_path) as url, fleet(url, tmp_path, processes) as together:
        told = [opened_and_closed(together)]
        if told[0][0] > 1.0 or told[0][1] > 5.0:  # measured again before it is called slow
            together.forget()
            told.append(opened_and_closed(together))
        assert min(known_s for known_s, _ in told) < 1.0
        assert min(late_s for _, late_s in told) < 5.0


@pytest.mark.campaign
@pytest.mark.parametrize("processes", [2, 4])
def test_campaign_of_openings_and_closings(database_url: str, tmp_path: Path, processes: int) -> None:
    told = []
    with fleet(database_url, tmp_path, processes) as together:
        for _ in range(10):
            told.append(opened_and_closed(together))
            together.forget()
    known, late = (sorted(figures) for figures in zip(*told, strict=True))
    kind = database_url.partition(":")[0]
    print(f"\n{kind}, {processes} processes, 10 rounds, median and most:")  # noqa: T201 - the campaign's figures
    print(f"open for all after {known[5]:.2f} and {known[-1]:.2f} s")  # noqa: T201
    print(f"closed for all {late[5]:.2f} and {late[-1]:.2f} s after the open time")  # noqa: T201
    assert known[5] < 1.0
    assert late[5] < 5.0


def test_the_probe_of_a_process_that_is_killed_is_free_after_its_lease(
    database_url: str, tmp_path: Path
) -> None:
    with fleet(database_url, tmp_path, 2) as together:
        with together.being("down"):
            together.workers[0].told("calls 5")
        until(lambda: "closed" not in together.states())
        together.forget()
        with together.being("hang"):
            together.all("on")
            until(lambda: together.calls() != [])
            time.sleep(LEASE_S)  # it lives through a renewal, and stays the only one
            ((probing, _, _),) = together.calls()
            os.kill(probing, signal.SIGKILL)
        killed_s = time.monotonic()
        (survivor,) = [worker for worker in together.workers if worker.process.pid != probing]
        until(lambda: survivor.state == "closed")
        after_s = together.calls()[1][1] - killed_s
        assert LEASE_S / 2 < after_s < 4 * LEASE_S


def test_the_child_of_a_fork_shares_as_a_process_of_its_own(database_url: str, tmp_path: Path) -> None:
    with fleet(database_url, tmp_path, 1, "fork") as forked, fleet(database_url, tmp_path, 1) as other:
        with other.being("down"):
            forked.all("calls 1")
            other.all("calls 5")
            until(lambda: forked.states() != ["closed"])
        other.all("on")
        until(lambda: forked.states() == ["closed"])


# A database that is gone ---------------------------------------------------------------------------------


class Proxy:
    """A way to the server that can be cut."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", 5432)) as server:
            while self._open.is_set():
                for side in select.select([client, server], [], [], 0.05)[0]:
                    if not (data := side.recv(65_536)):
                        return
                    (server if side is client else client).sendall(data)

    @contextmanager
    def cut(self) -> Iterator[None]:
        self._open.clear()
        yield
        self._open.set()

    def close(self) -> None:
        self._open.clear()
        self._listener.close()


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Keep everybody else from writing (SQLite), or from the table (PostgreSQL)."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")
    else:
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE langroute_breakers IN ACCESS EXCLUSIVE MODE")
            yield
            connection.rollback()


def by_itself(together: Fleet, gone: Any) -> None:
    """Take the database away and bring it back: no call waits for it, and afterwards all know again."""
    first, second = together.workers
    with together.being("down"), gone:
        first.told("calls 5")
        time.sleep(FRESH_S)
        assert first.state != second.state == "closed"
        second.told("calls 5")
        assert second.state == "open"
        assert together.all("calls 20") != []
    together.all("on")
    until(lambda: together.states() == ["closed"] * 2)
    together.all("off")
    assert max(together.all("slowest")) < 2.0
    with together.being("down"):
        first.told("calls 5")
        until(lambda: "closed" not in together.states())


def test_a_database_that_is_locked_keeps_no_call_and_is_taken_up_again(
    database_url: str, tmp_path: Path
) -> None:
    with fleet(database_url, tmp_path, 2) as together:
        by_itself(together, locked(database_url))


def test_a_database_that_is_killed_keeps_no_call_and_is_taken_up_again(tmp_path: Path) -> None:
    with (
        fresh_url("postgresql", tmp_path) as url,
        closing(Proxy()) as proxy,
        fleet(url.replace(":5432", f":{proxy.port}"), tmp_path, 2) as together,
    ):
        by_itself(together, proxy.cut())
