"""As many of a stream of any length as memory is meant for, each with the same chance."""

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from operator import itemgetter
from typing import Generic, TypeVar

import numpy as np

from langroute.chance import place
from langroute.tuning.features import Features
from langroute.tuning.outcomes import Outcome

__all__ = ["Sample", "sampled_queries"]

T = TypeVar("T")

_TOLD_EVERY = 1_000


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


def sampled_queries(
    outcomes: Iterable[Outcome], most: int, progress: Callable[[int], None] = lambda _: None
) -> list[Outcome]:
    """Return the outcomes of at most `most` queries, in the order in which they came.

    Those whose digests come first are kept: a sample that is uniform over queries, the same on every machine
    and in every order of the rows, and that holds every outcome of its queries. In memory are never more than
    these; outcomes of a query that have the same prompt share one.

    Args:
        outcomes: The stream; read once.
        most: How many queries to keep.
        progress: Told now and then, and at the end, how many outcomes are read.

    Raises:
        ValueError: `most` is less than 1.
    """
    if most < 1:
        raise ValueError(f"at most {most} queries leave nothing to learn from: give at least 1")
    kept: dict[str, list[tuple[int, Outcome]]] = {}
    largest: list[tuple[float, str]] = []  # a heap of the kept, the last place first
    count = 0
    for count, outcome in enumerate(outcomes, 1):
        found = kept.get(outcome.query)
        if found is not None:
            first = found[0][1].prompt
            found.append((count, replace(outcome, prompt=first) if _same(first, outcome.prompt) else outcome))
        else:
            at = place((outcome.query,), "learn")
            if len(kept) < most:
                heapq.heappush(largest, (-at, outcome.query))
                kept[outcome.query] = [(count, outcome)]
            elif at < -largest[0][0]:
                _, gone = heapq.heapreplace(largest, (-at, outcome.query))
                del kept[gone]
                kept[outcome.query] = [(count, outcome)]
        if count % _TOLD_EVERY == 0:
            progress(count)
    progress(count)
    numbered = sorted((pair for rows in kept.values() for pair in rows), key=itemgetter(0))
    return [outcome for _, outcome in numbered]


def _same(one: Features, other: Features) -> bool:
    """Whether two prompts are one, so that one of them need not be kept."""
    if one.values != other.values or one.vector != other.vector or (one.text is None) != (other.text is None):
        return False
    if one.text is None or other.text is None:
        return True
    same = np.array_equal(one.text.buckets, other.text.buckets)
    return same and np.array_equal(one.text.counts, other.text.counts)
