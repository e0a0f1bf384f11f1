"""Many processes on one ledger, and processes that are killed: samples of campaigns."""

import random
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from databases import fresh_url
from processes.ledgers import acknowledging, processes, reading, writing
from sqlalchemy import text

from langroute import Ledger
from langroute.ledger import open_store

PATIENCE_S = 240.0


def started(work: Any, *args: Any) -> tuple[Any, Any]:
    ours, theirs = processes().Pipe(duplex=False)
    process = processes().Process(target=work, args=(*args, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def kept_ids(url: str) -> Counter[str]:
    with closing(open_store(url)) as store, store.statements() as connection:
        if not store.postgres:
            assert list(connection.scalars(text("PRAGMA integrity_check"))) == ["ok"]
        return Counter(connection.scalars(text("SELECT id FROM langroute_decisions")))


def killed(url: str, drawn: random.Random) -> list[str]:
    """Kill a writing process at a moment, and return what it had acknowledged by then."""
    process, told = started(acknowledging, url)
    acknowledged = [told.recv()]
    time.sleep(drawn.uniform(0, 0.05))
    process.kill()
    process.join(PATIENCE_S)
    try:
        while True:
            acknowledged.append(told.recv())
    except EOFError:
        return acknowledged


@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("sqlite", 5),
        ("postgresql", 3),
        pytest.param("sqlite", 1_000, marks=pytest.mark.campaign),
        pytest.param("postgresql", 200, marks=pytest.mark.campaign),
    ],
)
def test_what_was_acknowledged_survives_kill_9(kind: str, kills: int, tmp_path: Path) -> None:
    drawn = random.Random(20)  # noqa: S311 - a test must be repeatable
    with fresh_url(kind, tmp_path) as url:
        Ledger(url).close()
        acknowledged = [each for _ in range(kills) for each in killed(url, drawn)]
        kept = kept_ids(url)
    print(f"{kind}, seed 20: {kills} kills, {len(acknowledged)} acknowledged, {len(kept)} kept")  # noqa: T201 - a campaign tells its figures
    assert set(acknowledged) <= kept.keys()


@pytest.mark.parametrize(
    ("kind", "writers", "readers", "seconds", "most"),
    [
        ("sqlite", 3, 2, 3.0, 300),
        ("postgresql", 3, 1, 3.0, 300),
        pytest.param("sqlite", 8, 4, 60.0, 20_000, marks=pytest.mark.campaign),
        pytest.param("postgresql", 8, 2, 30.0, 10_000, marks=pytest.mark.campaign),
    ],
)
def test_writers_and_readers_side_by_side_keep_every_row_once(
    kind: str, writers: int, readers: int, seconds: float, most: int, tmp_path: Path
) -> None:
    with fresh_url(kind, tmp_path) as url:
        Ledger(url).close()
        working = [started(writing, url, seed, seconds, most) for seed in range(writers)]
        watching = [started(reading, url, seconds) for _ in range(readers)]
        written = [told.recv() for _, told in working]  # a process that raised closes its end: EOFError
        reads = sum(told.recv() for _, told in watching)
        for process, _ in (*working, *watching):
            process.join(PATIENCE_S)
            assert process.exitcode == 0
        kept = kept_ids(url)
    expected = Counter(each for ids, _, _ in written for each in ids)
    late = sum(failures for _, _, failures in written)
    print(f"{kind}: {writers} writers, {readers} readers, {seconds:g} s: {kept.total()} decisions,")  # noqa: T201 - a campaign tells its figures
    print(f"  {reads} reads; writes that the background writer tried again: {late}")  # noqa: T201 - as above
    assert kept == expected
    assert [dropped for _, dropped, _ in written] == [0] * writers
