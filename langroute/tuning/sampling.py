"""A fair sample of many, in one pass."""

import random
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Sample"]

T = TypeVar("T")


class Sample(Generic[T]):
    """As many as fit, each of those offered with the same chance (Vitter 1985, algorithm R); seeded."""

    def __init__(self, most: int) -> None:
        """Start empty; `most` are kept."""
        self.kept: list[T] = []
        self._most, self._offered = most, 0
        self._dice = random.Random(0)  # noqa: S311 - no secret, and the same ledger gives the same sample

    def offer(self, make: Callable[[], T]) -> None:
        """Keep, with its chance, what `make` returns; it is called for those alone that are kept."""
        self._offered += 1
        if len(self.kept) < self._most:
            self.kept.append(make())
        elif (place := self._dice.randrange(self._offered)) < self._most:
            self.kept[place] = make()
