"""The way of the requests: from step through tiers and verdicts to what came of them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise

from langroute.ledger.records import DecisionRecord
from langroute.report.data import Flow, Link
from langroute.report.tally import OTHERS

__all__ = ["Ways"]

Node = tuple[str, str, int]
"""Kind, name, and of a tier its place among those that a decision visits."""

_SHOWN = 12
"""Steps, and tiers, that are drawn on their own."""
_LADDER = 6
"""Tiers up to which each is one node; of more there is one for each place, so that ways stay short."""
_MOST_PLACES = 4

_ENDS: Mapping[str, Node] = {
    "accepted": ("returned", "accepted reply", 0),
    "best": ("returned", "best of rejected", 0),
}
_WITHOUT_REPLY: Node = ("none", "no reply", 0)


class Ways:
    """Counts the links between the nodes of the flow."""

    def __init__(self) -> None:
        self._links: Counter[tuple[Node, Node]] = Counter()

    def add(self, record: DecisionRecord, step: str) -> None:
        """Count one decision, under the name that its step is given."""
        for link in pairwise(_way(record, step)):
            if link in self._links or len(self._links) < _MOST_LINKS:
                self._links[link] += 1

    def flow(self) -> Flow:
        """Return nodes and links; the rarer steps share a node, and so do the rarer tiers."""
        kept = {kind: self._most_common(kind) for kind in ("step", "tier")}
        tiers = {name for link in self._links for kind, name, _ in link if kind == "tier"}
        placed = len(tiers) > _LADDER
        links: Counter[tuple[Node, Node]] = Counter()
        for (source, target), count in self._links.items():
            links[_drawn(source, kept, placed=placed), _drawn(target, kept, placed=placed)] += count
        nodes = list(dict.fromkeys(node for link in links for node in link))
        index = {node: number for number, node in enumerate(nodes)}
        drawn = (Link(index[source], index[target], count) for (source, target), count in links.items())
        return Flow(tuple((kind, name) for kind, name, _ in nodes), tuple(drawn))

    def _most_common(self, kind: str) -> set[str]:
        starts: Counter[str] = Counter()
        for (source, _), count in self._links.items():
            if source[0] == kind:
                starts[source[1]] += count
        return {name for name, _ in starts.most_common(_SHOWN)}


def _drawn(node: Node, kept: Mapping[str, set[str]], *, placed: bool) -> Node:
    """Return a node as it is drawn: under its own name or with the others, and said what became of it."""
    kind, name, place = node
    if kind in ("returned", "none"):
        return node
    if name not in kept["step" if kind == "step" else "tier"]:
        name = OTHERS
    return kind, f"{name}: {kind}" if kind in ("rejected", "failed") else name, place if placed else 0


_MOST_LINKS = 5_000
"""Different links that are counted; a policy of ten tiers and 500 steps has fewer."""


def _way(record: DecisionRecord, step: str) -> Iterator[Node]:
    """Yield the nodes that a decision passes; calls that stay on a tier are one visit of it."""
    yield "step", step, 0
    visits: list[tuple[str, str]] = []
    for attempt in record.attempts:
        if visits and visits[-1][0] == attempt.tier:
            visits.pop()
        visits.append((attempt.tier, attempt.outcome))
    for number, (tier, outcome) in enumerate(visits):
        place = min(number, _MOST_PLACES)
        yield "tier", tier, place
        ended = number == len(visits) - 1
        if outcome == "rejected":
            yield "rejected", tier, place
        elif outcome == "failed" or (outcome == "cancelled" and not ended):
            yield "failed", tier, place
    yield _ENDS.get(record.outcome, _WITHOUT_REPLY)
