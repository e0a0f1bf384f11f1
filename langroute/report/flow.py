"""The way of the requests: from step through tiers and verdicts to what came of them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise

from langroute.ledger.records import DecisionRecord
from langroute.report.data import Flow, Link
from langroute.report.tally import OTHERS

__all__ = ["Ways"]

Node = tuple[str, str]

_SHOWN = 12
"""Steps, and tiers, that are drawn on their own."""

_ENDS = {
    "accepted": ("returned", "accepted reply"),
    "best": ("returned", "best of rejected"),
}
_WITHOUT_REPLY: Node = ("none", "no reply")


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
        links: Counter[tuple[Node, Node]] = Counter()
        for (source, target), count in self._links.items():
            links[_drawn(source, kept), _drawn(target, kept)] += count
        nodes = list(dict.fromkeys(node for link in links for node in link))
        index = {node: number for number, node in enumerate(nodes)}
        drawn = (Link(index[source], index[target], count) for (source, target), count in links.items())
        return Flow(tuple(nodes), tuple(drawn))

    def _most_common(self, kind: str) -> set[str]:
        starts: Counter[str] = Counter()
        for (source, _), count in self._links.items():
            if source[0] == kind:
                starts[source[1]] += count
        return {name for name, _ in starts.most_common(_SHOWN)}


def _drawn(node: Node, kept: Mapping[str, set[str]]) -> Node:
    """Return a node as it is drawn: under its own name or with the others, and said what became of it."""
    kind, name = node
    if kind in ("returned", "none"):
        return node
    if name not in kept["step" if kind == "step" else "tier"]:
        name = OTHERS
    return kind, f"{name}: {kind}" if kind in ("rejected", "failed") else name


_MOST_LINKS = 5_000
"""Different links that are counted; a policy of ten tiers and 500 steps has fewer."""


def _way(record: DecisionRecord, step: str) -> Iterator[Node]:
    """Yield the nodes that a decision passes; calls that stay on a tier are one visit of it."""
    yield "step", step
    visits: list[tuple[str, str]] = []
    for attempt in record.attempts:
        if visits and visits[-1][0] == attempt.tier:
            visits.pop()
        visits.append((attempt.tier, attempt.outcome))
    for number, (tier, outcome) in enumerate(visits):
        yield "tier", tier
        ended = number == len(visits) - 1
        if outcome == "rejected":
            yield "rejected", tier
        elif outcome == "failed" or (outcome == "cancelled" and not ended):
            yield "failed", tier
    yield _ENDS.get(record.outcome, _WITHOUT_REPLY)
