"""Whom it is no use to call for now: a circuit breaker an endpoint, shared by all threads and event loops.

A breaker is closed (calls go), open (none goes), half open (one call, the probe, finds out), or held
(the provider said when to come back). A call takes a ticket when it starts and hands it in with its
outcome when it has *ended*, a stream with its last chunk. The ticket tells a probe from a call that
started before the breaker opened, whose outcome says nothing any more.

Keyed by endpoint name: in one router a name stands for one credential. Where routers share what they
know, the key is `Endpoint.identity`, name and a digest of the credential: a key that is refused, or out
of quota, must not close the endpoint to those who call it with another. Two endpoints with one key share
no verdict: rights and quotas differ by model, and to find a bad key out twice costs one refused call.
"""

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

__all__ = ["NO_TICKET", "Health", "Obstacle"]

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

NO_TICKET = -1
"""Ticket of a call whose outcome is not counted: made all the same as a step's last, or to another model."""

_MENDED_BY_A_PERSON = frozenset({"auth", "not_found", "permission", "quota"})

_NOT_ITS_FAULT = frozenset({"content_filter", "context_overflow", "invalid_request", "refusal"})
"""Kinds of failure that tell of the request, not of the endpoint; neither good nor bad."""


class Obstacle(NamedTuple):
    """Why an endpoint is not to be called now."""

    reason: str
    wait_s: float
    """Seconds until it may be called; 0 where its probe is under way."""


@dataclass(eq=False, slots=True)
class _Breaker:
    """One endpoint's breaker; everything but `calm` and `generation` is touched under the lock alone."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    calm: bool = True
    """Neither open nor held. Read without the lock: a stale True lets one more call go, as one in flight."""
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
        return None

    def enter(self, now: float, lease_s: float) -> int | Obstacle:
        """Return the ticket of a call, of the probe where the breaker is half open, or what is in the way."""
        obstacle = self.obstacle(now)
        if obstacle is not None:
            return obstacle
        if self.is_open:
            self.generation += 1
            self.probe_until = now + lease_s
        else:
            self.calm = True
        return self.generation

    def leave(self) -> None:
        """Free the probe's place, where there is one."""
        if self.is_open:
            self.generation += 1
            self.probe_until = -math.inf

    def succeed(self, now: float) -> bool:
        """Count a good call; return whether the breaker closed."""
        if not self.is_open:
            self._note(now, failed=False)
            self.row.clear()
            return False
        self.leave()
        self.good_probes += 1
        if self.good_probes < GOOD_PROBES:
            return False
        self.is_open, self.calm, self.closed_at = False, self.held_until <= now, now
        return True

    def fail(self, now: float, kind: str, jitter: float) -> bool:
        """Count a failure; return whether the breaker opened."""
        if not self.is_open and now - self.closed_at > OPEN_AT_MOST_S:
            self.times_opened = 0
        if kind in _MENDED_BY_A_PERSON:
            self.open(now, LONG_S * jitter, f"a failure that a person must mend ({kind})")
        elif self.is_open:
            self.open(now, self._next_s * jitter, f"its probe failed ({kind})")
        else:
            self._note(now, failed=True)
            self.row.append(kind)
            cause = self._too_many()
            if cause is None:
                return False
            self.open(now, self._next_s * jitter, cause)
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

    def _note(self, now: float, *, failed: bool) -> None:
        self.outcomes.append((now, failed))
        self.failures += failed
        self.prune(now)

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


class Health:
    """The breakers of one router's endpoints; safe from any thread and any event loop.

    Args:
        endpoints: Names of the endpoints.
        clock: Monotonic seconds.
        rng: Random numbers in [0, 1), for the jitter of open times.
        on_change: Is told name and state of an endpoint whose breaker opened, closed or is held, in the
            thread of the call that made it so: it must neither wait nor raise. With `adopt` at the other
            end, it is how processes share what they know.
    """

    def __init__(
        self,
        endpoints: Iterable[str],
        *,
        clock: Callable[[], float] = time.perf_counter,
        rng: Callable[[], float] = random.random,
        on_change: Callable[[str, dict[str, Any]], None] | None = None,
    ) -> None:
        self._breakers = {name: _Breaker() for name in endpoints}
        self._clock = clock
        self._rng = rng
        self.on_change = on_change

    def obstacle(self, endpoint: str) -> Obstacle | None:
        """Return what is in the way of a call now; None where it may go. Takes no place: it is for plans."""
        breaker = self._breakers[endpoint]
        if breaker.calm:
            return None
        with breaker.lock:
            return breaker.obstacle(self._clock())

    def admit(self, endpoint: str, limit_s: float | None = None) -> int | Obstacle:
        """Return the ticket of a call that starts now, or what is in its way.

        While the breaker is half open one caller gets a ticket, and with it the probe's place.

        Args:
            endpoint: Whom the call goes to.
            limit_s: Seconds the call may take; a probe that may take longer than `PROBE_S` is waited for.
        """
        breaker = self._breakers[endpoint]
        ticket = breaker.generation  # before `calm`: where it opens in between, the ticket is an old one
        if breaker.calm:
            return ticket
        with breaker.lock:
            return breaker.enter(self._clock(), max(PROBE_S, limit_s or 0.0))

    def succeeded(self, endpoint: str, ticket: int) -> None:
        """Count a call that gave a whole reply, good or bad: judging replies is the verifiers' work."""
        breaker = self._breakers[endpoint]
        with breaker.lock:
            closed = ticket == breaker.generation and breaker.succeed(self._clock())
        if closed:
            self._tell(endpoint)

    def failed(self, endpoint: str, ticket: int, kind: str, retry_after_s: float | None = None) -> None:
        """Count a call that failed, unless the fault is the request's own.

        Args:
            endpoint: Whom the call went to.
            ticket: What `admit` gave.
            kind: One of the kinds in `langroute.failures`.
            retry_after_s: Seconds after which the provider says to come back; more than `PATIENCE_S` hold the
                endpoint until then, whatever the ticket.
        """
        breaker = self._breakers[endpoint]
        jitter = 1 - JITTER * self._rng()
        with breaker.lock:
            now = self._clock()
            changed = False
            if retry_after_s is not None and retry_after_s > PATIENCE_S:
                changed = breaker.hold(now + min(retry_after_s, HELD_AT_MOST_S))
            if ticket == breaker.generation:
                if kind in _NOT_ITS_FAULT:
                    breaker.leave()
                else:
                    changed = breaker.fail(now, kind, jitter) or changed
        if changed:
            self._tell(endpoint)

    def released(self, endpoint: str, ticket: int) -> None:
        """Hand in the ticket of a call that says nothing of the endpoint: cancelled, interrupted, cached."""
        breaker = self._breakers[endpoint]
        with breaker.lock:
            if ticket == breaker.generation:
                breaker.leave()

    def adopt(self, endpoint: str, wait_s: float, reason: str) -> None:
        """Open an endpoint's breaker on another process's word, for as long as that one has it open.

        Each process probes for itself when the time is over. What is open for longer here stays so.
        """
        breaker = self._breakers[endpoint]
        with breaker.lock:
            now = self._clock()
            if now + wait_s > max(now, breaker.open_until):
                breaker.open(now, wait_s, reason)

    def state(self, endpoint: str) -> dict[str, Any]:
        """Return what is known of an endpoint, as plain JSON types.

        `state` (closed, open, half_open or held), `reason` (None where a call may go), `wait_s`,
        `times_opened` (without a long time closed in between), and of the last 30 s how many calls ended
        `good` and `failed`.
        """
        breaker = self._breakers[endpoint]
        with breaker.lock:
            return breaker.state(self._clock())

    def _tell(self, endpoint: str) -> None:
        if self.on_change is not None:
            self.on_change(endpoint, self.state(endpoint))


def _listed(kinds: Iterable[str]) -> str:
    return ", ".join(sorted(set(kinds)))
