"""The books of budgets: what stands in each account, what is reserved by whom, and who is taken to live.

Every account that a transaction touches is locked while it is read and changed, in the order of the
names, so that no two reservations can pass a limit together and nobody waits in a circle.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, column, delete, select, table, text, update

from langroute.accounts import Balance, Claim
from langroute.ledger.store import Store

__all__ = ["LEASE_S", "MOST_PICO", "RENEWED_EVERY_S", "Books", "Order"]

LEASE_S = 30.0
"""Seconds after which what a process reserved is free, if it has not been heard of. A process that was
only stopped for longer settles all the same; until then its reservations do not count."""

RENEWED_EVERY_S = 10.0

_KEPT_DAYS = 90
"""Days after its last use at which an account is deleted."""

MOST_PICO = 10**18
"""The most that one call can have cost, a million dollars: a database's integers end at nine of them."""

_RESERVATIONS = table(
    "langroute_reservations", *map(column, ("id", "account", "owner", "held_pico", "freed_pico"))
)
_BUDGETS = table("langroute_budgets", *map(column, ("account", "spent_pico", "held_pico")))
_OWNERS = table("langroute_owners", *map(column, ("owner", "until_ms")))

_OPEN = text(
    "INSERT INTO langroute_budgets (account, spent_pico, held_pico, used_on)"
    " VALUES (:account, 0, 0, :day) ON CONFLICT (account) DO NOTHING"
)
_BOOK = text(
    "UPDATE langroute_budgets SET spent_pico = :spent, held_pico = :held, used_on = :day"
    " WHERE account = :account"
)
_WRITE_DOWN = text(
    "INSERT INTO langroute_reservations (id, account, owner, held_pico, freed_pico)"
    " VALUES (:id, :account, :owner, :pico, 0)"
)
_FREE = text("UPDATE langroute_budgets SET held_pico = held_pico - :held WHERE account = :account")


@dataclass(eq=False, slots=True)
class Order:
    """What one thread wants of the store: to reserve in `claims`, or, without them, to settle."""

    id: str
    pico: int
    claims: Sequence[Claim] = ()
    refused: tuple[Claim, Balance] | None = None
    error: BaseException | None = None
    done: bool = False

    def rows(self, owner: str) -> list[dict[str, Any]]:
        """Return what is written down of the reservation."""
        return [
            {"id": self.id, "account": claim.account, "owner": owner, "pico": self.pico}
            for claim in self.claims
        ]

    def drawn(self, balances: dict[str, Balance]) -> bool:
        """Whether there is room for the reservation; the balances are changed where there is."""
        for claim in self.claims:
            balance = balances[claim.account]
            if sum(balance) + self.pico > claim.cap_pico:
                self.refused = claim, balance
                return False
        for claim in self.claims:
            spent, held = balances[claim.account]
            balances[claim.account] = Balance(spent, held + self.pico)
        return True


class Books:
    """The books in one store, as one process writes them; its caller has one thread in here at a time.

    Args:
        store: The database.
        owner: Under what name its reservations stand there.
        clock: Unix seconds, injected by tests; the database's own without it.
    """

    def __init__(self, store: Store, owner: str, clock: Callable[[], float] | None = None) -> None:
        self.owner = owner
        self._store = store
        self._clock = clock
        self._leased_until_s = self._looked_at_s = -LEASE_S

    def carry_out(self, orders: Sequence[Order]) -> None:
        """Reserve and settle in one transaction; what was settled before has no effect."""
        settled = {order.id: order.pico for order in orders if not order.claims}
        wanted = [order for order in orders if order.claims]
        mine = delete(_RESERVATIONS).where(_RESERVATIONS.c.id.in_(settled))
        columns = _RESERVATIONS.c.id, _RESERVATIONS.c.account, _RESERVATIONS.c.held_pico
        day = time.strftime("%Y-%m-%d", time.gmtime())
        with self._store.transaction() as connection:
            leased_until_s = self._lease(connection)
            held = connection.execute(mine.returning(*columns)).all() if settled else []
            if wanted:
                connection.execute(_WRITE_DOWN, [row for order in wanted for row in order.rows(self.owner)])
            named = {row[1] for row in held} | {claim.account for order in wanted for claim in order.claims}
            # From here others wait: what can be done before is, and all that is left is done at once.
            before = self._locked(connection, sorted(named), day)
            after = dict(before)
            for reservation, account, pico in held:
                balance = after[account]
                after[account] = Balance(balance.spent + settled[reservation], balance.held - pico)
            refused = [order.id for order in wanted if not order.drawn(after)]
            if refused:
                connection.execute(delete(_RESERVATIONS).where(_RESERVATIONS.c.id.in_(refused)))
            changed = [
                {"account": name, "spent": balance.spent, "held": balance.held, "day": day}
                for name, balance in after.items()
                if balance != before[name]
            ]
            if changed:
                connection.execute(_BOOK, changed)
        self._leased_until_s = leased_until_s

    def _locked(self, connection: Connection, names: Sequence[str], day: str) -> dict[str, Balance]:
        """Return what stands in accounts, locked until the commit; new ones are opened."""
        asked = select(_BUDGETS).order_by(_BUDGETS.c.account).with_for_update()
        found: dict[str, Balance] = {}
        while missing := [name for name in names if name not in found]:
            rows = connection.execute(asked.where(_BUDGETS.c.account.in_(missing)))
            found |= {name: Balance(spent, held) for name, spent, held in rows}
            if new := [{"account": name, "day": day} for name in missing if name not in found]:
                connection.execute(_OPEN, new)
        return found

    def balances(self, claims: Sequence[Claim]) -> list[Balance]:
        """Return what stands in each account."""
        asked = select(_BUDGETS).where(_BUDGETS.c.account.in_([claim.account for claim in claims]))
        with self._store.statements() as connection:
            found = {name: Balance(spent, held) for name, spent, held in connection.execute(asked)}
        return [found.get(claim.account, Balance()) for claim in claims]

    def free(self) -> bool:
        """Free what processes held that are dead, and return whether there was any.

        Their reservations stay, empty: a process that was only stopped for too long still settles by them.
        """
        alive = select(_OWNERS.c.owner).where(text(f"until_ms > {self._now_ms}"))
        lost = _RESERVATIONS.c.held_pico > 0, _RESERVATIONS.c.owner.not_in(alive)
        some = select(_RESERVATIONS.c.id).where(*lost).order_by(_RESERVATIONS.c.id)
        with self._store.statements() as connection:
            if connection.execute(some.limit(1)).first() is None:
                return False
        # Rows that are locked are being freed by another process; SQLite has no such clause, and no need.
        theirs = _RESERVATIONS.c.id.in_(some.with_for_update(skip_locked=True))
        freeing = (
            update(_RESERVATIONS)
            .where(theirs, _RESERVATIONS.c.held_pico > 0)
            .values(freed_pico=_RESERVATIONS.c.held_pico, held_pico=0)
            .returning(_RESERVATIONS.c.account, _RESERVATIONS.c.freed_pico)
        )
        with self._store.transaction() as connection:
            sums: dict[str, int] = {}
            for account, pico in connection.execute(freeing):
                sums[account] = sums.get(account, 0) + pico
            for account in sorted(sums):
                connection.execute(_FREE, {"account": account, "held": sums[account]})
        return True

    def may_free(self) -> bool:
        """Whether it is a while since the dead were looked for: where much is refused, not each time."""
        now_s = self._monotonic_s()
        if now_s - self._looked_at_s < 1.0:
            return False
        self._looked_at_s = now_s
        return True

    def renew(self) -> None:
        """Renew the lease on what is reserved here."""
        with self._store.transaction() as connection:
            leased_until_s = self._lease(connection, force=True)
        self._leased_until_s = leased_until_s

    def sweep(self) -> None:
        """Delete accounts that nobody has used for long, and what is left of the dead."""
        day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - _KEPT_DAYS * 86_400))
        old = text(f"until_ms < {self._now_ms} - 86400000")
        theirs = _RESERVATIONS.c.owner.in_(select(_OWNERS.c.owner).where(old))
        busy = select(_RESERVATIONS.c.owner)
        with self._store.transaction() as connection:
            connection.execute(
                text("DELETE FROM langroute_budgets WHERE used_on < :day AND held_pico = 0"), {"day": day}
            )
            connection.execute(delete(_RESERVATIONS).where(_RESERVATIONS.c.held_pico == 0, theirs))
            connection.execute(delete(_OWNERS).where(old, _OWNERS.c.owner.not_in(busy)))

    def _lease(self, connection: Connection, *, force: bool = False) -> float:
        """Renew the lease where it is due; return until when it runs, once the transaction commits."""
        now_s = self._monotonic_s()
        if not force and now_s < self._leased_until_s - LEASE_S + RENEWED_EVERY_S:
            return self._leased_until_s
        until = f"{self._now_ms} + {int(LEASE_S * 1000)}"
        connection.execute(
            text(
                f"INSERT INTO langroute_owners (owner, until_ms) VALUES (:owner, {until})"  # noqa: S608 - our own words
                f" ON CONFLICT (owner) DO UPDATE SET until_ms = {until}"
            ),
            {"owner": self.owner},
        )
        return now_s + LEASE_S

    def _monotonic_s(self) -> float:
        return self._clock() if self._clock else time.monotonic()

    @property
    def _now_ms(self) -> str:
        return self._store.now_ms if self._clock is None else str(int(self._clock() * 1000))
