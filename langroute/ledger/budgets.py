"""Budgets of all processes: accounts in the store, and what living processes have reserved in them.

A process has a lease on what it reserved, and renews it while it has calls under way. What a process
held that died is free when its lease is over: the next one that finds no room looks for such. Threads
of one process share a transaction, since a busy account has one writer at a time anyway.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from uuid import uuid4

from sqlalchemy.exc import SQLAlchemyError

from langroute.accounts import Balance, Claim, Hold
from langroute.errors import LedgerError
from langroute.ledger.books import MOST_PICO, RENEWED_EVERY_S, Books, Order
from langroute.ledger.store import OnePerStore, Store

__all__ = ["Accounts", "accounts"]

_log = logging.getLogger(__name__)

_SWEPT_EVERY_S = 3600.0

_AT_ONCE = 100
"""Orders of waiting threads that one transaction carries out: the accounts are locked no longer for it."""

_LAST_WORDS_S = 5.0
"""Seconds that a program's end waits for what is not settled yet."""


class Accounts:
    """A `langroute.accounts.Store` in a database; one a store and process, made by `accounts`.

    Args:
        store: The database.
        clock: Unix seconds, injected by tests; the database's own without it.
    """

    blocking = True

    def __init__(self, store: Store, clock: Callable[[], float] | None = None) -> None:
        self.store = store
        self._clock = clock
        self.be_born()

    def be_born(self) -> None:
        """Begin as a process of its own, with nothing reserved: also in the child of a fork."""
        self.books = Books(self.store, f"{os.getpid()}-{uuid4().hex}", self._clock)
        self.open: set[str] = set()
        """Reservations that are not settled."""
        self.keeper: threading.Thread | None = None
        """The thread that renews the lease, while something is reserved."""
        self._late: dict[str, int] = {}
        self._swept_at_s = -_SWEPT_EVERY_S
        self._news = threading.Condition()
        self._queue: deque[Order] = deque()
        self._turn = threading.Lock()

    # What `langroute.budget` asks for -----------------------------------------------------------------

    def reserve(self, hold: Hold) -> tuple[Claim, Balance] | None:
        """Hold the money in all accounts or in none; where there is no room, what the dead held is freed."""
        self._opened(hold.id)
        try:
            refused = self._done(Order(hold.id, hold.pico, hold.claims))
            if refused is not None and self.books.may_free() and self._freed():
                refused = self._done(Order(hold.id, hold.pico, hold.claims))
        except SQLAlchemyError as error:
            self.settle_soon(hold, 0)  # it may have been committed all the same
            raise self._failed(error) from None
        if refused is not None:
            self._closed(hold.id)
        return refused

    def settle(self, hold: Hold, pico: int) -> None:
        """Turn what is held into what was spent, once; a store that fails is asked again until it does."""
        try:
            self._settle(hold.id, pico)
        except SQLAlchemyError as error:
            self.settle_soon(hold, pico)
            raise self._failed(error) from None

    def settle_soon(self, hold: Hold, pico: int) -> None:
        """Leave the settling to the keeper."""
        with self._news:
            self._late[hold.id] = pico
            self.open.add(hold.id)
            self._keep()
            self._news.notify_all()

    def balances(self, claims: Sequence[Claim]) -> list[Balance]:
        """Return what stands in each account; what the dead held is freed where it matters."""
        try:
            found = self.books.balances(claims)
            if any(balance.held for balance in found) and self.books.may_free() and self._freed():
                return self.books.balances(claims)
        except SQLAlchemyError as error:
            raise self._failed(error) from None
        return found

    # The threads' turns -------------------------------------------------------------------------------

    def _freed(self) -> bool:
        with self._turn:
            return self.books.free()

    def _settle(self, reservation: str, pico: int) -> None:
        self._done(Order(reservation, min(pico, MOST_PICO)))
        self._closed(reservation)

    def _done(self, order: Order) -> tuple[Claim, Balance] | None:
        """Have an order carried out; whoever's turn it is does it for all who wait, in one transaction."""
        self._queue.append(order)
        with self._turn:
            while not order.done:
                orders = [self._queue.popleft() for _ in range(min(len(self._queue), _AT_ONCE))]
                try:
                    self.books.carry_out(orders)
                except BaseException as error:
                    for other in orders:
                        other.error = error
                    if not isinstance(error, SQLAlchemyError):
                        raise
                finally:
                    for other in orders:
                        other.done = True
        if order.error is not None:
            raise order.error
        return order.refused

    # The keeper ---------------------------------------------------------------------------------------

    def _opened(self, reservation: str) -> None:
        with self._news:
            self.open.add(reservation)
            self._keep()

    def _closed(self, reservation: str) -> None:
        with self._news:
            self.open.discard(reservation)
            self._late.pop(reservation, None)
            if not self.open:
                self._news.notify_all()

    def _keep(self) -> None:
        """Start the keeper where there is none; called with the condition held."""
        if self.keeper is None:
            self.keeper = threading.Thread(target=self._keeping, name="langroute-budget", daemon=True)
            self.keeper.start()

    def _keeping(self) -> None:
        """Renew the lease and settle what is late, until nothing is reserved any more."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._late or not self.open, RENEWED_EVERY_S)
                if not self.open:
                    self.keeper = None
                    return
                late = dict(self._late)
            if not self._tended(late):
                time.sleep(1.0)  # the store is down: the next try is not worth more haste

    def _tended(self, late: dict[str, int]) -> bool:
        """Settle what is late and renew the lease; return whether the store took it."""
        try:
            for reservation, pico in late.items():
                self._settle(reservation, pico)
            if not late:
                with self._turn:
                    self.books.renew()
                if time.monotonic() - self._swept_at_s > _SWEPT_EVERY_S:
                    self._swept_at_s = time.monotonic()
                    with self._turn:
                        self.books.sweep()
        except SQLAlchemyError as error:
            self._failed(error)
            return False
        return True

    def finish(self) -> None:
        """Wait, at a program's end, until what is late is settled, or for `_LAST_WORDS_S`."""
        with self._news:
            self._news.wait_for(lambda: not self._late, _LAST_WORDS_S)

    def _failed(self, error: Exception) -> LedgerError:
        """Count a failure of the store, and return what its caller is told."""
        self.store.failures.count += 1
        if self.store.failures.count == 1:
            _log.warning(
                "The budgets in %s cannot be asked; calls are refused.", self.store.name, exc_info=error
            )
        return LedgerError(f"the budgets in {self.store.name} cannot be asked: {type(error).__name__}")


_ACCOUNTS = OnePerStore(Accounts, born=Accounts.be_born, end=Accounts.finish)


def accounts(store: Store) -> Accounts:
    """Return the accounts in a store; the same object for the same store."""
    return _ACCOUNTS.of(store)
