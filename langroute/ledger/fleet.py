"""Circuit breakers of all processes: what one finds out, the others know within a second.

A thread a process and store writes down what opened, closed or was held here, reads what did so elsewhere,
and gets the probe of a half-open breaker for this process, which has it until it needs it no more or dies.
Calls ask their own breakers alone and never wait for it: where the database does not answer for `FRESH_S`,
each process goes on by itself.
"""

import hashlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4
from weakref import WeakSet

from langroute.health import Health
from langroute.ledger.breakers import HOT_S, Breakers, Row, Say, weighed
from langroute.ledger.store import OnePerStore, Store
from langroute.observe import Tally

__all__ = ["FRESH_S", "POLL_S", "Fleet", "Member", "fleet"]

_log = logging.getLogger(__name__)

POLL_S = 0.5
"""Seconds between two looks into the store: with the time that writing takes, what opens in one process is
known to all within a second. One look is one small query, 200 a second from 100 processes."""

FRESH_S = 3.0
"""Seconds for which what the store said last is gone by: six looks, so that a slow one changes nothing."""

_SWEPT_EVERY_S = 3600.0

_NAME_CHARS = 200
_PATIENCE_DOUBLES = 5
_LAST_WORDS_S = 1.0


@dataclass(eq=False, slots=True)
class _Link:
    """What a member knows of one of its breakers in the store."""

    row: Row
    """As it was read last."""
    seen_ms: int | None = None
    """The row's `changed_ms` that the breaker here has followed."""
    held_ms: int = 0
    mine: bool = False
    generation: int = 0
    used_at: float = -math.inf
    """When the probe was got or used last."""
    given_at: float = -math.inf
    """When it was given to another process, unused."""
    times_given: int = 0
    """How often that was so since it was used last. The process keeps it twice as long the next time: two
    that have few calls would else take it from each other for ever."""


class Member:
    """The breakers of one router, as one of those that share what they know.

    Args:
        fleet: The others.
        health: The breakers.
        identities: Each endpoint's `Endpoint.identity`, asked for once, when the first call is on its way.
    """

    def __init__(self, fleet: "Fleet", health: Health, identities: Mapping[str, Callable[[], str]]) -> None:
        self._fleet = fleet
        self._health = health
        self._identities = identities
        self._token = uuid4().hex
        self.be_born()

    def be_born(self) -> None:
        """Begin as a process of its own, which knows nothing yet: also in the child of a fork."""
        self._links: dict[str, _Link] | None = None
        self._health.on_change = self._changed
        self._health.await_use(self._used)

    def _changed(self, endpoint: str, _: Mapping[str, Any]) -> None:
        self._fleet.hear_of(self, endpoint)

    def _used(self) -> None:
        self._fleet.welcome(self)

    @property
    def name(self) -> str:
        """Under what name it has probes: another one in the child of a fork."""
        return f"{self._token}-{os.getpid()}"

    @property
    def links(self) -> dict[str, _Link]:
        """Its breakers' places in the store, by endpoint; without those whose credential cannot be told."""
        if self._links is None:
            self._links = {}
            for endpoint, identity in self._identities.items():
                with suppress(Exception):  # the call itself says what is wrong with the endpoint
                    key = hashlib.sha256(identity().encode()).hexdigest()
                    named = json.dumps(endpoint)[1:-1][:_NAME_CHARS]
                    self._links[endpoint] = _Link(Row(key, named))
        return self._links

    def says(self, endpoint: str, *, news: bool, now: float) -> Say:
        """Return what there is to say of a breaker."""
        link, circuit = self.links[endpoint], self._health.circuit(endpoint)
        if circuit.probing or circuit.generation != link.generation:
            link.used_at, link.generation, link.times_given = now, circuit.generation, 0
        hot = circuit.asked_s < HOT_S < now - link.given_at
        patience_s = HOT_S * 2 ** min(link.times_given, _PATIENCE_DOUBLES)
        return Say(self.name, circuit, news, link.seen_ms, hot, now - link.used_at, patience_s)

    def hears(self, endpoint: str, row: Row | None, now_ms: int, now: float) -> None:
        """Follow what stands in the store."""
        link = self.links[endpoint]
        if row is None:
            link.row, link.mine = Row(link.row.id, link.row.endpoint), False
            self._health.bar(endpoint, 0.0)
            return
        if row.changed_ms != link.seen_ms:
            self._follow(endpoint, row, now_ms, first=link.seen_ms is None)
            link.seen_ms = row.changed_ms
        if row.held_until_ms != link.held_ms:
            link.held_ms = row.held_until_ms
            self._health.hold(endpoint, (row.held_until_ms - now_ms) / 1000)
        mine = row.probe_by == self.name and row.probe_until_ms > now_ms
        if mine and not link.mine:
            link.used_at = now
        elif link.mine and not mine and row.changed_ms == link.row.changed_ms:
            link.given_at, link.times_given = now, link.times_given + 1
        link.row, link.mine = row, mine
        self._health.bar(endpoint, 0.0 if mine or not row.is_open else FRESH_S)

    def _follow(self, endpoint: str, row: Row, now_ms: int, *, first: bool) -> None:
        if not row.is_open:
            self._health.close(endpoint)
        elif not (first and row.stale(now_ms)):
            # At least a moment, with which one that is half open elsewhere is so here.
            wait_s = max(row.open_until_ms - now_ms, 1) / 1000
            self._health.adopt(endpoint, wait_s, f"{row.cause}, in another process", row.times_opened)


class Fleet:
    """The members in this process, and the thread that speaks for them; made by `fleet`.

    Args:
        store: The database.
        clock: Unix seconds, for the database's clock and this process's, injected by tests.
    """

    def __init__(self, store: Store, clock: Callable[[], float] | None = None) -> None:
        self.failures = Tally()
        """How often the store failed; the first time is logged."""
        self._store = store
        self._clock = clock or time.monotonic
        self._breakers = Breakers(store, clock)
        self.members: WeakSet[Member] = WeakSet()
        """Those that had a call."""
        store.before_close.append(self.end)
        self.be_born()

    def be_born(self) -> None:
        """Begin as a process of its own, without its thread: also in the child of a fork."""
        self.thread: threading.Thread | None = None
        self._news: set[tuple[Member, str]] = set()
        self._woken = self._ended = False
        self._condition = threading.Condition()
        self._ahead_ms = 0
        """How far the database's clock is ahead of this process's."""
        self._sweep_at = self._clock()

    def join(self, health: Health, identities: Mapping[str, Callable[[], str]]) -> Member:
        """Let a router's breakers share what they know, from its first call on."""
        return Member(self, health, identities)

    # In the threads of calls --------------------------------------------------------------------------

    def welcome(self, member: Member) -> None:
        """Take part for a member whose first call is on its way."""
        with self._condition:
            self.members.add(member)
            self._wake()

    def hear_of(self, member: Member, endpoint: str) -> None:
        """Note that a breaker opened, closed or was held here, to be written down at once."""
        with self._condition:
            self._news.add((member, endpoint))
            self._wake()

    def _wake(self) -> None:
        self._woken = True
        self._condition.notify_all()
        if self.thread is None and not self._ended:
            thread = threading.Thread(target=self._living, name="langroute-breakers", daemon=True)
            with suppress(RuntimeError):  # no more threads: the next change tries again
                thread.start()
                self.thread = thread

    # In its own thread --------------------------------------------------------------------------------

    def _living(self) -> None:
        while True:
            with self._condition:
                self._woken = False
            self.round()
            with self._condition:
                if self._ended or not (self.members or self._news):
                    self.thread = None
                    return
                self._condition.wait_for(lambda: self._woken or self._ended, POLL_S)

    def round(self) -> bool:
        """Say what there is to say and hear what others said; return whether the store took part.

        Raises:
            Nothing: what fails is counted, warned of once, and tried again in the next round.
        """
        with self._condition:
            members = {*self.members, *(member for member, _ in self._news)}
            news, self._news = self._news, set()
        try:
            self._say(members, news)
            self._hear(members)
            if self._clock() >= self._sweep_at:
                self._sweep_at = self._clock() + _SWEPT_EVERY_S
                self._breakers.sweep()
        except Exception:
            with self._condition:
                self._news |= news
            self._failed()
            return False
        return True

    def _say(self, members: set[Member], news: set[tuple[Member, str]]) -> None:
        """Write down what changes a row, as far as is known here: mostly nothing does."""
        now = self._clock()
        now_ms = int(now * 1000) + self._ahead_ms
        said: list[tuple[_Link, Say]] = []
        for member in members:
            for endpoint, link in member.links.items():
                say = member.says(endpoint, news=(member, endpoint) in news, now=now)
                if weighed(link.row, say, now_ms) != link.row:
                    said.append((link, say))
        if said:
            made = self._breakers.tell([(link.row, say) for link, say in said])
            for (link, _), changed_ms in zip(said, made, strict=True):
                link.seen_ms = changed_ms if changed_ms is not None else link.seen_ms

    def _hear(self, members: set[Member]) -> None:
        """Read what stands in the store, and let each member follow it."""
        places = [(member, *place) for member in members for place in member.links.items()]
        rows, now_ms = self._breakers.read({link.row.id for _, _, link in places})
        now = self._clock()
        self._ahead_ms = now_ms - int(now * 1000)
        with self._condition:
            news = set(self._news)  # of what changed here meanwhile, the next round speaks first
        for member, endpoint, link in places:
            if (member, endpoint) not in news:
                member.hears(endpoint, rows.get(link.row.id), now_ms, now)

    def _failed(self) -> None:
        self.failures.count += 1
        if self.failures.count == 1:
            _log.warning(
                "The circuit breakers in %s cannot be shared for now: each process goes on with its own.",
                self._store.name,
                exc_info=True,
            )

    def end(self) -> None:
        """End the thread, and wait for what it is at for `_LAST_WORDS_S`."""
        with self._condition:
            self._ended = True
            thread = self.thread
            self._condition.notify_all()
        if thread is not None:
            thread.join(_LAST_WORDS_S)


def _be_born(found: Fleet) -> None:
    members, found.members = list(found.members), WeakSet()
    found.be_born()
    for member in members:
        member.be_born()


_FLEETS = OnePerStore(Fleet, born=_be_born, end=Fleet.end)


def fleet(store: Store) -> Fleet:
    """Return those who share a store; the same object for the same store."""
    return _FLEETS.of(store)
