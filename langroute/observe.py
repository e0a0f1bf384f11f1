"""Whoever listens is told of every finished decision, and can never break the call it hears of."""

import logging
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass

from langroute.decision import Decision

__all__ = ["BROKEN", "LISTENERS", "OBSERVERS", "Scene", "Tally", "notify", "publish", "surroundings"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """A count that only grows."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known of a decision beside its record: whose names they are, and where it was made. No text."""

    policy: str
    """Digest of the policy."""
    steps: frozenset[str]
    """The steps that the policy names, and `default`; a caller may say others."""
    models: Mapping[str, tuple[str, str]]
    """Endpoint to LangChain's name of its provider, "" where unknown, and the provider's of its model."""
    swapped: str | None
    """The model that the caller asked for in place of the endpoints' own; None where they answer."""
    thread: str | None
    """Id of the conversation's thread; None without one."""


OBSERVERS: ContextVar[tuple[Callable[[Decision], None], ...]] = ContextVar("langroute_observers", default=())
"""Listeners of this context, and of the tasks and threads that copy it."""

LISTENERS: list[Callable[[Decision, Scene], None]] = []
"""Listeners of the whole process; each is called in the context in which its step began."""

BROKEN = Tally()
"""How often an observer of this process failed; the first time is logged as a warning."""


def notify(decision: Decision) -> None:
    """Tell every observer of this context about a finished decision."""
    for observer in OBSERVERS.get():
        try:
            observer(decision)
        except Exception:
            _count_broken()


def surroundings() -> Context | None:
    """Return the context in which a step begins, None where no listener will want it."""
    return copy_context() if LISTENERS else None


def publish(decision: Decision, scene: Scene, context: Context | None) -> None:
    """Tell every listener of the process about a finished decision, in the context of its beginning.

    Where a stream is left early, it ends in whatever context drops it.
    """
    for listener in tuple(LISTENERS):
        try:
            if context is None:
                listener(decision, scene)
            else:
                context.copy().run(listener, decision, scene)
        except Exception:
            _count_broken()


def _count_broken() -> None:
    """Count a failure, inside the `except` that caught it."""
    BROKEN.count += 1
    if BROKEN.count == 1:
        _log.warning("An observer of decisions failed; the call is not affected.", exc_info=True)
