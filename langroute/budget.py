"""What may be spent: a call reserves its worst case before it starts, and settles what it cost when it ended.

    purse = budget.purse(run=..., thread=..., metadata=...)   # whose money a request spends
    reservation = yield from purse.reserve(worst_usd)         # or BudgetExceeded: the call does not start
    ...                                                       # the call
    yield from reservation.settle(cost_usd)                   # None: nobody knows, so the worst case it is

What is reserved counts as spent until it is settled, so that calls side by side cannot pass a limit
together. Money is counted in whole pico-dollars (1e-12 USD): a token of the cheapest model is tens of
thousands of them, so that a million roundings together are less than a micro-dollar.

A run is one process's, so its account lives here; threads, days and keys stand in a `Store`: in this
process (`Memory`), or in a database (`langroute.ledger.budgets`).
"""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal, cast

from langroute.accounts import PICO, Balance, Claim, Hold, Memory, Store, made_claim, pico_of
from langroute.effects import Flow, beside
from langroute.errors import BudgetExceeded, LedgerError
from langroute.records import maker

__all__ = ["Budget", "Limit", "Purse", "Reservation", "Room"]

_DAY_S = 86_400

_PATIENCE_S = 10.0
"""Seconds after which a store that hangs is given up: the call is refused, for nobody knows what is left."""

_MOST_RUNS = 10_000
"""Runs that are remembered, the longest unused are forgotten; as many under way at once would be a lot."""

_LONGEST_NAME = 200
"""Characters of a thread's id or a key's value that a store is given; a longer one is digested."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a policy."""

    name: str
    """How the policy calls it: `per_day_usd`, `keys.tenant.per_day_usd`."""
    scope: Literal["call", "run", "thread", "day", "key", "shadow"]
    cap_pico: int
    key: str = ""
    """Key of the config's metadata whose value owns the account, where the scope is a key; of a shadow its
    step."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a request may still spend, as it was when its plan was made."""

    per_call: Limit | None
    left: Sequence[tuple[Claim, Balance]]

    def refusal(self, worst_usd: float | None) -> BudgetExceeded | None:
        """Return why a call that may cost so much would not start; None where it would. None is unknown."""
        if worst_usd is None:
            return BudgetExceeded("its price is unknown, so that no budget can hold it", "price")
        pico = pico_of(worst_usd, up=True)
        if self.per_call is not None and pico > self.per_call.cap_pico:
            cap = self.per_call.cap_pico
            message = f"{_usd(pico)} USD would pass {self.per_call.name} of {_usd(cap)}"
            return BudgetExceeded(message, self.per_call.name, needed_usd=worst_usd, limit_usd=cap / PICO)
        tight = ((claim, balance) for claim, balance in self.left if sum(balance) + pico > claim.cap_pico)
        found = next(tight, None)
        return None if found is None else _exceeded(*found, pico)


class Budget:
    """The limits of a policy over a store; one a router.

    Args:
        limits: What the policy says.
        store: Where the accounts of threads, days and keys stand; in this process without one.
        clock: Unix seconds, for the day; injected by tests.
    """

    def __init__(
        self, limits: Sequence[Limit], store: Store | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.limits = tuple(limits)
        self.store = Memory() if store is None else store
        self.overruns = 0
        """Calls of this process that cost more than their worst case: they are settled at what they cost."""
        self.overrun_usd = 0.0
        """USD by which they did, in all."""
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[int, tuple[Any, Memory]] = {}
        self._per_call = next((limit for limit in limits if limit.scope == "call"), None)
        self._per_run = next((limit for limit in limits if limit.scope == "run"), None)
        self._shared = [limit for limit in limits if limit.scope not in ("call", "run")]

    def purse(self, *, run: Any, thread: str | None, metadata: Mapping[str, Any]) -> "Purse":
        """Return what one request spends from.

        Args:
            run: What all calls of a run have in common, kept alive here; None for a run of one call.
            thread: Id of the conversation, where there is one.
            metadata: The config's metadata, which says whose call it is. Calls that do not say it share one
                account: leaving a key out is no way around its limit.
        """
        day = _day(int(self._clock() // _DAY_S))
        claims = []
        for limit in self._shared:
            if limit.scope == "day":
                claims.append(made_claim(limit.name, f"day {day}", limit.cap_pico, None, day))
            elif limit.scope == "shadow":
                account = f"shadow {_named(limit.key)} {day}"
                claims.append(made_claim(limit.name, account, limit.cap_pico, None, day))
            elif limit.scope == "thread" and thread is not None:
                claims.append(made_claim(limit.name, f"thread {_named(thread)}", limit.cap_pico, thread))
            elif limit.scope == "key":
                said = metadata.get(limit.key)
                owner, name = (None, "") if said is None else (str(said), f"={_named(str(said))}")
                account = f"key {limit.key}{name} {day}"
                claims.append(made_claim(limit.name, account, limit.cap_pico, owner, day))
        places: list[tuple[Store, Sequence[Claim]]] = []
        if self._per_run is not None:
            places.append((self._run(run), (made_claim(self._per_run.name, "run", self._per_run.cap_pico),)))
        if claims:
            places.append((self.store, tuple(sorted(claims, key=lambda claim: claim.account))))
        return _made_purse(self, self._per_call, tuple(places))

    def count_overrun(self, pico: int) -> None:
        """Count a call that cost so much more than its worst case."""
        with self._lock:
            self.overruns += 1
            self.overrun_usd += pico / PICO

    def _run(self, run: Any) -> Memory:
        """Return the account of a run."""
        if run is None:
            return Memory()
        with self._lock:
            known = self._runs.pop(id(run), None) or (run, Memory())  # kept alive, or its id would be reused
            self._runs[id(run)] = known
            if len(self._runs) > _MOST_RUNS:
                del self._runs[next(iter(self._runs))]
        return known[1]


@dataclass(frozen=True, slots=True)
class Purse:
    """Whose money one request spends: its run's, its thread's, its day's, its keys'."""

    budget: Budget
    per_call: Limit | None
    places: tuple[tuple[Store, Sequence[Claim]], ...]

    def look(self) -> Flow[Room]:
        """Return what is left; a store that cannot say is taken to have enough, until money is reserved."""
        left: list[tuple[Claim, Balance]] = []
        for store, claims in self.places:
            with suppress(LedgerError):
                found = yield from _done(store, lambda s=store, c=claims: s.balances(c))  # type: ignore[misc]  # bound now
                left.extend(zip(claims, found, strict=True))
        return _made_room(self.per_call, left)

    def reserve(self, worst_usd: float | None) -> Flow["Reservation"]:
        """Set aside what a call may cost, everywhere or nowhere; None is unknown, and refused.

        Raises:
            BudgetExceeded: It does not fit.
            LedgerError: The store does not answer, so that nobody knows whether it fits.
        """
        refusal = Room(self.per_call, ()).refusal(worst_usd)
        if refusal is not None:
            raise refusal
        pico = pico_of(cast("float", worst_usd), up=True)
        reservation = Reservation(self.budget, pico)
        try:
            for store, claims in self.places:
                hold = Hold(store, claims, pico)
                reservation.holds.append(hold)
                _fits((yield from _done(store, hold.reserve)), pico)
        except BaseException:
            for hold in reservation.holds:
                hold.give_up()
            raise
        return reservation


_made_room, _made_purse = maker(Room), maker(Purse)


@dataclass(eq=False, slots=True)
class Reservation:
    """What one call has set aside; it is settled once."""

    budget: Budget
    pico: int
    holds: list[Hold] = field(default_factory=list)
    _settled: bool = False

    def settle(self, cost_usd: float | None) -> Flow[None]:
        """Spend what the call cost; None is unknown, and counts as the worst case. It never fails."""
        pico = self._spend(cost_usd)
        if pico is not None:
            for hold in self.holds:
                with suppress(LedgerError):  # the store goes on trying by itself
                    yield from _done(hold.store, lambda h=hold: h.store.settle(h, pico))  # type: ignore[misc]  # bound now

    def settle_soon(self, cost_usd: float | None) -> None:
        """As `settle`, where nothing can be waited for: the caller has gone."""
        pico = self._spend(cost_usd)
        if pico is not None:
            for hold in self.holds:
                hold.store.settle_soon(hold, pico)

    def _spend(self, cost_usd: float | None) -> int | None:
        """Return what is to be settled, None where it is."""
        if self._settled:
            return None
        self._settled = True
        # What is no amount, NaN or negative, is unknown too: money is never given back for it.
        pico = pico_of(cost_usd) if cost_usd is not None and 0 <= cost_usd < math.inf else self.pico
        if pico > self.pico:
            self.budget.count_overrun(pico - self.pico)
        return pico


@lru_cache(maxsize=4)
def _day(number: int) -> str:
    """Return the UTC day that began so many days after 1970, as `2026-11-22`."""
    return (date(1970, 1, 1) + timedelta(number)).isoformat()


def _done(store: Store, work: Callable[[], Any]) -> Flow[Any]:
    """Do `work`, beside the running loop where the store waits for something.

    Raises:
        LedgerError: The store failed, or is late.
    """
    if not store.blocking:
        return work()
    try:
        return (yield beside(work, _PATIENCE_S))
    except LedgerError:
        raise
    except Exception as error:
        raise LedgerError(f"the budget cannot be asked: {type(error).__name__}") from error


def _fits(refused: tuple[Claim, Balance] | None, pico: int) -> None:
    if refused is not None:
        raise _exceeded(*refused, pico)


def _exceeded(claim: Claim, balance: Balance, pico: int) -> BudgetExceeded:
    whose = "" if claim.owner is None else f" of {claim.owner[:60]}"
    left = max(claim.cap_pico - sum(balance), 0)
    return BudgetExceeded(
        f"{_usd(pico)} USD would pass {claim.limit}{whose}, {_usd(left)} left",
        claim.limit,
        needed_usd=pico / PICO,
        limit_usd=claim.cap_pico / PICO,
        spent_usd=sum(balance) / PICO,
        key=claim.owner,
    )


def _named(name: str) -> str:
    """Return a name as a database takes it: printable, and no longer than an index allows."""
    written = json.dumps(name)[1:-1]
    return written if len(written) <= _LONGEST_NAME else sha256(name.encode("utf-8", "replace")).hexdigest()


def _usd(pico: int) -> str:
    return f"{pico / PICO:.6f}"
