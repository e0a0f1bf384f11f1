"""Accounts and what is held in them: the store that a budget rests on, and the one in memory."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import uuid4

from langroute.records import maker

__all__ = ["PICO", "Balance", "Claim", "Hold", "Memory", "Store", "made_claim", "pico_of"]

PICO = 10**12
"""Pico-dollars in a dollar."""

_MOST_ACCOUNTS = 100_000
"""Threads that `Memory` remembers; beyond them the longest unused is forgotten, and begins at 0 again."""


def pico_of(usd: float, up: bool = False) -> int:  # noqa: FBT001, FBT002 - one flag of one small function
    """Return USD as whole pico-dollars: the nearest, or with `up` the next above."""
    return math.ceil(usd * PICO) if up else round(usd * PICO)


@dataclass(frozen=True, slots=True)
class Claim:
    """An account that a call draws on, and how much may be drawn from it in all."""

    limit: str
    account: str
    cap_pico: int
    owner: str | None = None
    """The thread or the key's value whose account it is; None where it is everybody's."""
    day: str | None = None
    """The UTC day it is for, as `2026-11-22`; None where it is for longer."""


class Balance(NamedTuple):
    """What stands in an account, in pico-dollars."""

    spent: int = 0
    held: int = 0


made_claim = maker(Claim)

_UNUSED = Balance(), None


class Store(Protocol):
    """Where accounts stand; every method is safe from any thread."""

    blocking: bool
    """Whether its methods wait for a network or a disk."""

    def reserve(self, hold: "Hold") -> tuple[Claim, Balance] | None:
        """Hold `hold.pico` in all of `hold.claims`, or in none; return the claim that is in the way."""
        ...

    def settle(self, hold: "Hold", pico: int) -> None:
        """Turn what is held into what was spent; a second time has no effect."""
        ...

    def settle_soon(self, hold: "Hold", pico: int) -> None:
        """As `settle`, without making anybody wait."""
        ...

    def balances(self, claims: Sequence[Claim]) -> list[Balance]:
        """Return what stands in each account."""
        ...


class Memory:
    """Accounts of one process."""

    blocking = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[str, tuple[Balance, str | None]] = {}
        self._prune_at = _MOST_ACCOUNTS

    def reserve(self, hold: "Hold") -> tuple[Claim, Balance] | None:
        """Hold the money in all accounts or in none."""
        with self._lock:
            found = [self._balance(claim) for claim in hold.claims]
            for claim, balance in zip(hold.claims, found, strict=True):
                if balance.spent + balance.held + hold.pico > claim.cap_pico:
                    return claim, balance
            for claim, balance in zip(hold.claims, found, strict=True):
                self._accounts.pop(claim.account, None)  # the account used last stands last
                self._accounts[claim.account] = Balance(balance.spent, balance.held + hold.pico), claim.day
            if len(self._accounts) > self._prune_at:
                self._prune(hold.claims)
        return None

    def settle(self, hold: "Hold", pico: int) -> None:
        """Turn what is held into what was spent."""
        with self._lock:
            for claim in hold.claims:
                balance = self._balance(claim)
                self._accounts[claim.account] = (
                    Balance(balance.spent + pico, balance.held - hold.pico),
                    claim.day,
                )

    settle_soon = settle

    def balances(self, claims: Sequence[Claim]) -> list[Balance]:
        """Return what stands in each account."""
        with self._lock:
            return [self._balance(claim) for claim in claims]

    def _balance(self, claim: Claim) -> Balance:
        return self._accounts.get(claim.account, _UNUSED)[0]

    def _prune(self, claims: Sequence[Claim]) -> None:
        """Forget accounts of days that are over, and the threads that were not used for longest."""
        today = next((claim.day for claim in claims if claim.day is not None), None)
        kept = {
            name: (balance, day)
            for name, (balance, day) in self._accounts.items()
            if balance.held or day is None or today is None or day >= today
        }
        threads = [name for name, (balance, day) in kept.items() if day is None and not balance.held]
        for name in threads[: max(len(threads) - _MOST_ACCOUNTS, 0)]:
            del kept[name]
        self._accounts = kept
        self._prune_at = len(kept) + _MOST_ACCOUNTS


@dataclass(eq=False, slots=True)
class Hold:
    """Money that is set aside for one call, in one store."""

    store: Store
    claims: Sequence[Claim]
    pico: int
    id: str = ""
    """Its name in a store of other processes; made where there is one."""
    reserved: bool = False
    unwanted: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.store.blocking:
            self.id = uuid4().hex

    def reserve(self) -> tuple[Claim, Balance] | None:
        """Set the money aside; where nobody waits for it any more it is given back at once."""
        refused = self.store.reserve(self)
        with self._lock:
            self.reserved = refused is None
            given_back = self.reserved and self.unwanted
        if given_back:
            self.store.settle_soon(self, 0)
        return refused

    def give_up(self) -> None:
        """Want the money no more: its call does not start."""
        with self._lock:
            self.unwanted = True
            held = self.reserved
        if held:
            self.store.settle_soon(self, 0)
