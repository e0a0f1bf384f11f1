"""One endpoint's circuit breaker: what opens it, for how long, who may probe, and what closes it.

A breaker is closed (calls go), open (none goes), half open (one call, the probe, finds out), or held
(the provider said when to come back). It knows no clock, no chance and no other process: all is told.
"""

import math
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

__all__ = [
    "HELD_AT_MOST_S",
    "JITTER",
    "NOT_ITS_FAULT",
    "PATIENCE_S",
    "PROBE_S",
    "Breaker",
    "Circuit",
    "Obstacle",
]

IN_A_ROW = 5
"""Failures in a row that open a breaker, however long they took."""

AT_LEAST = 10
"""Outcomes within the window below which no share of failures opens a breaker."""

SHARE = 0.5
"""Share of failures in the window from which on a breaker opens."""

WINDOW_S = 30.0

OPEN_S = 30.0
"""Seconds a breaker is open the first time; the nth time n times as long."""

OPEN_AT_MOST_S = 300.0
"""Longest open time; a breaker that stayed closed as long starts counting from one again."""

LONG_S = 600.0
"""Open time after a fault that a person must mend: a key, a right, a deployment, a bill. Twice the longest
ordinary one, since it takes minutes at best; not more, for a probe is a refused call and costs nothing."""

JITTER = 0.1
"""Share by which an open time may be shorter, so that not every process probes at the same moment."""

GOOD_PROBES = 2
"""Probes that must succeed, one after the other, before the breaker closes."""

PROBE_S = 300.0
"""Seconds after which a probe that was never heard of again is given up: its caller vanished, or forked.
No shorter, since a slow probe must not become two at once; a cancelled one frees its place at once."""

PATIENCE_S = 2.0
"""A provider that asks for a longer wait (Retry-After) is left alone until then."""

HELD_AT_MOST_S = 3_600.0
"""Longest wait that a provider is believed; a wrong header may not remove an endpoint for good."""

_MENDED_BY_A_PERSON = frozenset({"auth", "not_found", "permission", "quota"})

NOT_ITS_FAULT = frozenset({"content_filter", "context_overflow", "invalid_request", "refusal"})
"""Kinds of failure that tell of the request, not of the endpoint; neither good nor bad."""


class Obstacle(NamedTuple):
    """Why an endpoint is not to be called now."""

    reason: str
    wait_s: float
    """Seconds until it may be called; 0 where its probe is under way."""


class Circuit(NamedTuple):
    """One breaker as other processes have to know it; seconds from now, below 0 where they are over."""

    is_open: bool
    """Open or half open."""
    open_s: float
    held_s: float
    asked_s: float
    """Seconds since a call last wanted it while it was open; infinite where none did."""
    probing: bool
    generation: int
    """Goes up when it opens or closes, and with each probe."""
    times_opened: int
    cause: str


@dataclass(eq=False, slots=True)
class Breaker:
    """One endpoint's breaker; everything but `calm` and `generation` is touched under the lock alone."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    calm: bool = True
    """Neither open nor held, and nobody waits for its first use. Read without the lock: a stale True lets one
    more call go, as one in flight."""
    generation: int = 0
    """Number of the ticket that counts now; goes up when the breaker opens or closes, and with each probe."""
    outcomes: deque[tuple[float, bool]] = field(default_factory=deque)
    """(when, whether it failed) of the calls that ended within the window, oldest first."""
    failures: int = 0
    """How many of `outcomes` failed."""
    row: list[str] = field(default_factory=list)
    """Kinds of the failures since the last good call."""
    is_open: bool = False
    """Open or half open."""
    open_until: float = -math.inf
    held_until: float = -math.inf
    probe_until: float = -math.inf
    """Until when the probe that is under way holds its place."""
    barred_until: float = -math.inf
    """Until when another process has the probe, as far as is known."""
    asked_at: float = -math.inf
    """When a call last wanted it while it was open."""
    good_probes: int = 0
    times_opened: int = 0
    closed_at: float = -math.inf
    cause: str = ""
    """Why it opened last."""

    def obstacle(self, now: float) -> Obstacle | None:
        """Return what is in the way of a call; None where one may go, as a probe or otherwise."""
        if self.is_open and self.open_until > max(now, self.held_until):
            wait_s = self.open_until - now
            return Obstacle(f"circuit open for {math.ceil(wait_s)} s more after {self.cause}", wait_s)
        if self.held_until > now:
            wait_s = self.held_until - now
            return Obstacle(f"held for {math.ceil(wait_s)} s more, as its provider asked", wait_s)
        if self.is_open and self.probe_until > now:
            return Obstacle(f"circuit half open after {self.cause}: its probe is under way", 0.0)
        if self.is_open and self.barred_until > now:
            return Obstacle(f"circuit half open after {self.cause}: one process at a time may probe", 0.0)
        return None

    def ask(self, now: float) -> Obstacle | None:
        """Return what is in the way of a call, and remember that there was one."""
        obstacle = self.obstacle(now)
        if self.is_open:
            self.asked_at = now
        else:
            self.calm = obstacle is None
        return obstacle

    def enter(self, now: float, lease_s: float) -> int | Obstacle:
        """Return the ticket of a call, of the probe where the breaker is half open, or what is in the way."""
        obstacle = self.ask(now)
        if obstacle is not None:
            return obstacle
        if self.is_open:
            self.generation += 1
            self.probe_until = now + lease_s
        return self.generation

    def leave(self) -> None:
        """Free the probe's place, where there is one."""
        if self.is_open:
            self.generation += 1
            self.probe_until = -math.inf

    def succeed(self, now: float) -> bool:
        """Count a good call; return whether the breaker closed."""
        if not self.is_open:
            outcomes = self.outcomes
            outcomes.append((now, False))
            if outcomes[0][0] <= now - WINDOW_S:
                self.prune(now)
            if self.row:
                self.row.clear()
            return False
        self.leave()
        self.good_probes += 1
        if self.good_probes < GOOD_PROBES:
            return False
        self.close(now)
        return True

    def close(self, now: float) -> None:
        """Close; calls go on, unless it is held."""
        self.is_open, self.calm, self.closed_at = False, self.held_until <= now, now

    def fail(self, now: float, kind: str, jitter: float) -> bool:
        """Count a failure; return whether the breaker opened."""
        if not self.is_open and now - self.closed_at > OPEN_AT_MOST_S:
            self.times_opened = 0
        if kind in _MENDED_BY_A_PERSON:
            self.open(now, LONG_S * jitter, f"a failure that a person must mend ({kind})")
        elif self.is_open:
            self.open(now, self._next_s * jitter, f"its probe failed ({kind})")
        else:
            self.outcomes.append((now, True))
            self.failures += 1
            self.prune(now)
            self.row.append(kind)
            cause = self._too_many()
            if cause is None:
                return False
            self.open(now, self._next_s * jitter, cause)
        self.asked_at = now
        return True

    def open(self, now: float, for_s: float, cause: str) -> None:
        """Open for so many seconds; whatever was counted so far is done with."""
        self.is_open, self.calm = True, False
        self.open_until, self.probe_until = now + for_s, -math.inf
        self.cause = cause
        self.times_opened += 1
        self.generation += 1
        self.good_probes = self.failures = 0
        self.outcomes.clear()
        self.row.clear()

    def hold(self, until: float) -> bool:
        """Hold until then, or longer where it is held already; return whether that is news."""
        if until <= self.held_until:
            return False
        self.held_until, self.calm = until, False
        return True

    def prune(self, now: float) -> None:
        """Forget what ended before the window."""
        while self.outcomes and self.outcomes[0][0] <= now - WINDOW_S:
            self.failures -= self.outcomes.popleft()[1]

    def _too_many(self) -> str | None:
        if len(self.row) >= IN_A_ROW:
            return f"{len(self.row)} failures in a row ({_listed(self.row)})"
        if len(self.outcomes) >= AT_LEAST and self.failures >= SHARE * len(self.outcomes):
            many = f"{self.failures} of {len(self.outcomes)} calls failed in {WINDOW_S:g} s"
            return f"{many}, the last: {self.row[-1]}"
        return None

    @property
    def _next_s(self) -> float:
        """Seconds for which it would open now, without jitter."""
        return min(OPEN_S * (self.times_opened + 1), OPEN_AT_MOST_S)

    def circuit(self, now: float) -> Circuit:
        """Return what other processes have to know."""
        until = self.open_until - now, self.held_until - now, now - self.asked_at
        probing = self.is_open and self.probe_until > now
        return Circuit(self.is_open, *until, probing, self.generation, self.times_opened, self.cause)

    def state(self, now: float) -> dict[str, Any]:
        """Return what there is to see, as plain JSON types."""
        self.prune(now)
        obstacle = self.obstacle(now)
        name: Literal["closed", "open", "half_open", "held"] = "held" if obstacle else "closed"
        if self.is_open:
            name = "open" if obstacle and obstacle.wait_s else "half_open"
        return {
            "state": name,
            "reason": obstacle and obstacle.reason,
            "wait_s": obstacle.wait_s if obstacle else 0.0,
            "times_opened": self.times_opened,
            "good": len(self.outcomes) - self.failures,
            "failed": self.failures,
        }


def _listed(kinds: Iterable[str]) -> str:
    return ", ".join(sorted(set(kinds)))
