"""A ledger of made decisions, for the report's tests."""

import dataclasses
from pathlib import Path

from langroute.ledger.records import FeedbackRecord
from langroute.ledger.rows import write
from langroute.ledger.store import open_store


def write_ledger(place: Path | str, made) -> str:
    """Write decisions and feedback to a SQLite file, or to the store at a URL; return the URL."""
    url = f"sqlite:///{place}" if isinstance(place, Path) else place
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
    about = {"given_at_s": 0.0, "source": "user", "comment": None, "propensity": None, **about}
    return FeedbackRecord(id=id, score=score, **about)
