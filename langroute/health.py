"""Whom it is no use to call for now: a circuit breaker an endpoint, shared by all threads and event loops.

A call takes a ticket when it starts and hands it in with its outcome when it has *ended*, a stream with
its last chunk. The ticket tells a probe from a call that started before the breaker opened, whose
outcome says nothing any more.

Keyed by endpoint name: in one router a name stands for one credential. Where routers share what they
know, the key is `Endpoint.identity`, name and a digest of the credential: a key that is refused, or out
of quota, must not close the endpoint to those who call it with another. Two endpoints with one key share
no verdict: rights and quotas differ by model, and to find a bad key out twice costs one refused call.
"""

import random
import time
from collections.abc import Callable, Iterable
from typing import Any

from langroute.breaker import (
    HELD_AT_MOST_S,
    JITTER,
    NOT_ITS_FAULT,
    PATIENCE_S,
    PROBE_S,
    Breaker,
    Circuit,
    Obstacle,
)

__all__ = ["NO_TICKET", "Circuit", "Health", "Obstacle"]

NO_TICKET = -1
"""Ticket of a call whose outcome is not counted: made all the same as a step's last, or to another model."""


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
        self._breakers = {name: Breaker() for name in endpoints}
        self._clock = clock
        self._rng = rng
        self.on_change = on_change
        self._on_use: Callable[[], None] | None = None

    def await_use(self, on_use: Callable[[], None]) -> None:
        """Have `on_use` called, in the caller's thread, when an endpoint is next considered for a call."""
        self._on_use = on_use
        for breaker in self._breakers.values():
            breaker.calm = False

    def share(self, endpoint: str, other: "Health") -> None:
        """Know of an endpoint, from now on, what another router's breakers know; before any call."""
        self._breakers[endpoint] = other._breakers[endpoint]  # noqa: SLF001 - its own kind

    def obstacle(self, endpoint: str) -> Obstacle | None:
        """Return what is in the way of a call now; None where it may go. Takes no place: it is for plans."""
        breaker = self._breakers[endpoint]
        if breaker.calm:
            return None
        on_use, self._on_use = self._on_use, None
        if on_use is not None:
            on_use()
        with breaker.lock:
            return breaker.ask(self._clock())

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
                if kind in NOT_ITS_FAULT:
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

    # What other processes know -----------------------------------------------------------------------

    def circuit(self, endpoint: str) -> Circuit:
        """Return what other processes have to know of an endpoint."""
        breaker = self._breakers[endpoint]
        with breaker.lock:
            return breaker.circuit(self._clock())

    def adopt(self, endpoint: str, wait_s: float, reason: str, times_opened: int = 1) -> None:
        """Open an endpoint's breaker on another process's word, for as long as that one has it open.

        Each process probes for itself when the time is over, unless it is barred. What is open for longer
        here stays so.
        """
        breaker = self._breakers[endpoint]
        with breaker.lock:
            now = self._clock()
            if now + wait_s > max(now, breaker.open_until):
                breaker.open(now, wait_s, reason)
                breaker.times_opened = times_opened

    def close(self, endpoint: str) -> None:
        """Close an endpoint's breaker on another process's word."""
        breaker = self._breakers[endpoint]
        with breaker.lock:
            if breaker.is_open:
                breaker.leave()
                breaker.close(self._clock())

    def hold(self, endpoint: str, wait_s: float) -> None:
        """Hold an endpoint on another process's word; what is held for longer here stays so."""
        breaker = self._breakers[endpoint]
        with breaker.lock:
            breaker.hold(self._clock() + wait_s)

    def bar(self, endpoint: str, for_s: float) -> None:
        """Let no probe start for so many seconds, since another process may have it; with 0 let one."""
        breaker = self._breakers[endpoint]
        with breaker.lock:
            breaker.barred_until = self._clock() + for_s

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
