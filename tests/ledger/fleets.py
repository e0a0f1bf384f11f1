"""Processes that share their breakers, without processes: each is a `Health` and a `Fleet` of its own."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from langroute.health import Health
from langroute.ledger import Store
from langroute.ledger.breakers import Row, Say, weighed
from langroute.ledger.fleet import POLL_S, Fleet

__all__ = ["A", "Clock", "Memory", "Process", "World"]

A = "small-a"


class Clock:
    """The database's seconds, which pass when they are told to."""

    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


class Memory:
    """The table without a database; it can be taken away."""

    def __init__(self, clock: Clock) -> None:
        self.rows: dict[str, Row] = {}
        self.gone = False
        self.written = 0
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens while the next reader reads."""
        self._clock = clock

    @property
    def _now_ms(self) -> int:
        if self.gone:
            raise OSError("the database is gone")
        return int(self._clock() * 1000)

    def read(self, ids: set[str]) -> tuple[dict[str, Row], int]:
        now_ms = self._now_ms
        found = {key: self.rows[key] for key in ids if key in self.rows}
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return found, now_ms if found else 0

    def tell(self, said: Sequence[tuple[Row, Say]]) -> list[int | None]:
        now_ms, made = self._now_ms, []
        for known, say in said:
            old = self.rows.get(known.id, Row(known.id, known.endpoint))
            new = self.rows[known.id] = weighed(old, say, now_ms)
            self.written += new != old
            made.append(new.changed_ms if new.changed_ms != old.changed_ms else None)
        return made

    def sweep(self) -> None:
        pass


class Process:
    """One of those that share a store; it looks into it when it is told to."""

    def __init__(self, store: Any, clock: Clock, ahead_s: float = 0.0, identity: str = A) -> None:
        self.health = Health([A], clock=lambda: clock() + ahead_s, rng=lambda: 0.0)
        named = SimpleNamespace(before_close=[], name="memory", now_ms="0")
        self.fleet = Fleet(store if isinstance(store, Store) else named, clock)  # type: ignore[arg-type]
        if isinstance(store, Memory):
            self.fleet._breakers = store  # type: ignore[assignment]
        self.fleet.end()  # no thread: the test says when
        self.member = self.fleet.join(self.health, {A: lambda: identity})
        self.fleet.welcome(self.member)

    def starts(self) -> int | None:
        """Return the ticket of a call, None where it goes elsewhere."""
        if self.health.obstacle(A) is not None:
            return None
        ticket = self.health.admit(A)
        return ticket if isinstance(ticket, int) else None

    def calls(self, kind: str | None = None, **told: Any) -> bool:
        """Make a call, good or of this kind of failure; return whether it reached the endpoint."""
        ticket = self.starts()
        if ticket is None:
            return False
        if kind is None:
            self.health.succeeded(A, ticket)
        else:
            self.health.failed(A, ticket, kind, **told)
        return True

    def fails(self, times: int = 5) -> None:
        """Open the breaker here."""
        for _ in range(times):
            assert self.calls("timeout")

    @property
    def state(self) -> str:
        return str(self.health.state(A)["state"])


class World:
    """Some processes on one store and clock."""

    def __init__(self, store: Store | None = None, processes: int = 3) -> None:
        self.clock = Clock()
        self.memory = Memory(self.clock)
        self.store: Any = self.memory if store is None else store
        self.processes = [Process(self.store, self.clock) for _ in range(processes)]
        self.look()

    def look(self) -> None:
        """Let every process look into the store once."""
        took_part = [process.fleet.round() for process in self.processes]
        assert all(took_part)

    def passes(self, seconds: float) -> None:
        """Let time pass, with every process looking as often as it does."""
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            self.clock.now_s = min(self.clock.now_s + POLL_S, until_s)
            self.look()

    @property
    def states(self) -> list[str]:
        return [process.state for process in self.processes]
