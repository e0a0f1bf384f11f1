"""Whoever listens is told of every finished decision, and can never break the call it hears of."""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from langroute.decision import Decision

__all__ = ["BROKEN", "OBSERVERS", "Tally", "notify"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """A count that only grows."""

    count: int = 0


OBSERVERS: ContextVar[tuple[Callable[[Decision], None], ...]] = ContextVar("langroute_observers", default=())
"""Listeners of this context, and of the tasks and threads that copy it."""

BROKEN = Tally()
"""How often an observer of this process failed; the first time is logged as a warning."""


def notify(decision: Decision) -> None:
    """Tell every observer of this context about a finished decision."""
    for observer in OBSERVERS.get():
        try:
            observer(decision)
        except Exception:
            BROKEN.count += 1
            if BROKEN.count == 1:
                _log.warning("An observer of decisions failed; the call is not affected.", exc_info=True)
