"""The answer store: a provider's reply is committed before a graph's node returns, and read before a call.

LangGraph writes a checkpoint when a node has returned. A process that is killed between the reply and
that write calls again when it is resumed, and pays again; a graph alone cannot close that window.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.messages import messages_from_dict, messages_to_dict
from pydantic_core import to_jsonable_python
from sqlalchemy import column, delete, select, table, text

from langroute.effects import Flow, beside
from langroute.ledger.store import Store

__all__ = ["Answers", "Place"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_KEPT_S = 7 * 24 * 3600.0
"""Seconds for which replies are kept: a run that was killed is resumed within a working week, or never;
a longer life would only make the store a second archive of what the models said."""

_SWEPT_EVERY_S = 60.0
_SWEPT_ROWS, _SWEPT_TIMES = 500, 100
"""Old rows deleted in one statement, and statements in one sweep: no writer waits long, none falls behind."""

_PATIENCE_S = 10.0
"""Seconds after which a store that hangs is given up for this call."""

_ROWS = table("langroute_answers", column("id"), column("thread"), column("kept_at_s"), column("reply"))
_KEEP = text(
    "INSERT INTO langroute_answers (id, thread, kept_at_s, reply)"
    " VALUES (:id, :thread, :kept_at_s, :reply) ON CONFLICT (id) DO NOTHING"
)


class Answers:
    """The replies of one store."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.sweeper: threading.Thread | None = None
        """The thread that deletes old rows, from the first reply that is kept."""
        self._clock = clock
        self._sweep_at_s = 0.0

    def place(self, config: Mapping[str, Any], step: str, attempt: int) -> "Place | None":
        """Return where the reply of an attempt stands; None in a run without a thread, which nobody resumes.

        Args:
            config: The node's config. Its `checkpoint_ns` holds the task ids of the node and of the graphs
                around it; LangGraph derives them from the checkpoint, the node and, under `Send`, the
                packet's index, so a resumed run finds its own and a second visit to the node has others.
            step: The step of the policy.
            attempt: How many attempts the step has made before.
        """
        told = config.get("configurable") or {}
        if told.get("thread_id") is None:
            return None
        thread, task = str(told["thread_id"]), str(told.get("checkpoint_ns", ""))
        # Digested, because an id may be longer than an index allows, or hold what a database refuses.
        key = hashlib.sha256(json.dumps([thread, task, step, attempt]).encode()).hexdigest()
        return Place(self, key, json.dumps(thread)[1:-1])

    def find(self, key: str) -> dict[str, Any] | None:
        """Return the reply kept under `key`, as `langroute.saved` has it; None where there is none."""
        with self.store.statements() as connection:
            written = connection.scalar(select(_ROWS.c.reply).where(_ROWS.c.id == key))
        return None if written is None else _read(written)

    def keep(self, key: str, thread: str, pending: Mapping[str, Any]) -> None:
        """Commit a reply; one that is there already stays."""
        now_s, reply = self._clock(), _written(pending)
        with self.store.statements() as connection:
            connection.execute(_KEEP, {"id": key, "thread": thread, "kept_at_s": now_s, "reply": reply})
        if now_s >= self._sweep_at_s:
            self._sweep_at_s = now_s + _SWEPT_EVERY_S
            self.sweeper = threading.Thread(target=self._sweep, name="langroute-sweep", daemon=True)
            self.sweeper.start()

    def failed(self) -> None:
        """Count a failure of the store, inside the `except` that caught it."""
        self.store.failures.count += 1
        if self.store.failures.count == 1:
            _log.warning(
                "The answer store %s failed; calls go on, and a reply that it does not hold is paid for again"
                " when a killed run is resumed.",
                self.store.name,
                exc_info=True,
            )

    def _sweep(self) -> None:
        """Delete what is older than a week, in small statements; what is left waits for the next sweep."""
        old = select(_ROWS.c.id).where(_ROWS.c.kept_at_s < self._clock() - _KEPT_S)
        # Locked rows are another process's sweep: they are skipped (SQLite has no such clause, and no need).
        some = old.order_by(_ROWS.c.kept_at_s).limit(_SWEPT_ROWS).with_for_update(skip_locked=True)
        try:
            for _ in range(_SWEPT_TIMES):
                with self.store.statements() as connection:
                    deleted = connection.execute(delete(_ROWS).where(_ROWS.c.id.in_(some))).rowcount
                if deleted < _SWEPT_ROWS:
                    break
        except Exception:
            self.failed()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reply of one attempt stands in the store; finding and keeping it never breaks a call."""

    answers: Answers
    key: str
    thread: str
    """The thread's id as JSON writes it, for a person who deletes a thread's replies."""

    def find(self, restored: Callable[[Mapping[str, Any]], T]) -> Flow[T | None]:
        """Return what `restored` makes of the reply that is kept here, None where there is none."""

        def work() -> T | None:
            pending = self.answers.find(self.key)
            return None if pending is None else restored(pending)

        found: T | None = yield from self._tried(work)
        return found

    def keep(self, pending: Mapping[str, Any]) -> Flow[None]:
        """Commit a reply, as `Saved.answered` has it."""
        yield from self._tried(lambda: self.answers.keep(self.key, self.thread, pending))

    def _tried(self, work: Callable[[], Any]) -> Flow[Any]:
        """Do `work` beside the running loop, if there is one; a failure is counted and gives None."""
        try:
            return (yield beside(work, _PATIENCE_S))
        except Exception:
            self.answers.failed()
            return None


def _written(pending: Mapping[str, Any]) -> str:
    """Return a reply as JSON; every character that is not ASCII is escaped, NUL among them."""
    reply = pending["reply"]
    [message] = messages_to_dict([reply["message"]])
    # `json` writes the infinite log probabilities that pydantic's own JSON would turn into null.
    return json.dumps({**pending, "reply": {**reply, "message": message}}, default=to_jsonable_python)


def _read(written: str) -> dict[str, Any]:
    pending: dict[str, Any] = json.loads(written)
    [pending["reply"]["message"]] = messages_from_dict([pending["reply"]["message"]])
    return pending
