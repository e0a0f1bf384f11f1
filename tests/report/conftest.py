"""What the report's tests share: decisions made once, their figures, and one browser."""

import dataclasses
from pathlib import Path

import pytest
from made_decisions import decisions

from langroute.ledger.records import FeedbackRecord
from langroute.ledger.rows import write
from langroute.ledger.store import open_store
from langroute.report.figures import Figures


@pytest.fixture(scope="session")
def made():
    """Four thousand decisions with their labels, oldest first."""
    return list(decisions(4_000))


@pytest.fixture(scope="session")
def data(made):
    """What they come to."""
    figures = Figures("made.db")
    for record, label in made:
        figures.add(record, label)
    return figures.data()


def write_ledger(path: Path, made) -> str:
    """Write decisions and feedback to a SQLite file; return its URL."""
    url = f"sqlite:///{path}"
    store = open_store(url)
    rows = []
    for number, (record, label) in enumerate(made):
        attempts = [dataclasses.replace(attempt, decision=record.id) for attempt in record.attempts]
        rows.append(dataclasses.replace(record, attempts=tuple(attempts)))
        if label is not None:
            rows.append(feedback(f"f{number}", label, decision=record.id))
        if len(rows) >= 2_000:
            _write(store, rows)
    _write(store, rows)
    return url


def _write(store, rows) -> None:
    with store.transaction() as connection:
        write(connection, rows)
    rows.clear()


def feedback(id, score, **about):
    about = {"decision": None, "run": None, "thread": None, **about}
    return FeedbackRecord(id=id, given_at_s=0.0, score=score, source="user", comment=None, **about)


@pytest.fixture(scope="session")
def ledger(made, tmp_path_factory):
    """The URL of a ledger that holds them."""
    return write_ledger(tmp_path_factory.mktemp("ledger") / "made.db", made)
