"""Processes that write to a ledger and read it, for the tests that kill them or run many side by side."""

import multiprocessing
import time
from functools import cache
from itertools import count
from typing import Any

from langroute import Ledger

__all__ = ["acknowledging", "processes", "reading", "writing"]

PRELOADED = ["scenes", "sqlalchemy", "langroute.ledger.ledger", "langroute.chat_model", "psycopg"]


@cache
def processes() -> Any:
    """Return what starts new processes: a server that has imported, and opened nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def acknowledging(url: str, told: Any) -> None:
    """Call a model that keeps its decisions before it replies, and tell each reply's id, until killed."""
    from scenes import routed

    model = routed(Ledger(url, writing="sync"))
    while True:
        told.send(model.invoke("Hi").response_metadata["langroute"]["call_id"])


def writing(url: str, seed: int, seconds: float, most: int, told: Any) -> None:
    """Hand decisions over for some seconds, and call a model that waits for its row; tell what was kept."""
    from scenes import routed, some

    ledger, sync, ids = Ledger(url), Ledger(url, writing="sync"), []
    entries, model, last_s = some(most, seed), routed(sync), time.monotonic() + seconds
    for entry in entries:
        ledger.keep(entry)
        ids.append(entry.made.id)
        if len(ids) % 10 == 0:
            ids.append(model.invoke("Hi").response_metadata["langroute"]["call_id"])
        if time.monotonic() > last_s:
            break
        time.sleep(0.001)
    assert ledger.close(120)
    told.send((ids, ledger.counts.dropped, ledger.counts.failures))


def reading(url: str, seconds: float, told: Any) -> None:
    """Read decisions and costs for some seconds; tell how many reads there were."""
    ledger, last_s = Ledger(url), time.monotonic() + seconds
    for number in count(1):
        newest = time.time() - 5
        assert sum(1 for _ in ledger.decisions(since_s=newest)) >= 0
        assert ledger.costs("step", since_s=newest) is not None
        if time.monotonic() > last_s:
            told.send(number)
            ledger.close()
            return
