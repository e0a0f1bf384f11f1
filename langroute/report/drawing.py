"""A sample of decisions for people to label: where labels tell most, each with its chance to be drawn.

Every decision with a reply belongs to one stratum. As many as wanted are drawn from each by a digest of seed
and id, so that the same seed draws the same, in one pass and in memory for the sample alone.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langroute.chance import place
from langroute.ledger.records import DecisionRecord
from langroute.report.tally import top_tier_of, why_seen

if TYPE_CHECKING:
    from langroute.ledger.reading import Filter
    from langroute.ledger.store import Store
    from langroute.ledger.verdicts import Bounds

__all__ = ["NEAR", "STRATA", "Drawn", "draw", "stratum_of"]

NEAR = 0.1
"""Distance of a score from its threshold up to which a decision counts as uncertain."""

STRATA: Mapping[str, float] = {"uncertain": 0.3, "accepted cheap": 0.3, "escalated": 0.3, "rest": 0.1}
"""Stratum to its part of the sample. The rest, where the top tier answered at once, tells least; without it
the rates would not be those of all replies."""

_CHARS = 32_000
"""Characters of a text in a cell; spreadsheets take 32,767."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A decision that was drawn."""

    record: DecisionRecord
    stratum: str
    propensity: float
    """Its chance to be drawn: how many were drawn from its stratum, of all that are in it."""

    def row(self) -> dict[str, Any]:
        """Return it as a row for people; what its verifiers said comes last, after the score."""
        record = self.record
        return {
            "id": record.id,
            "step": record.step,
            "prompt": _text(record.prompt, record.text_kept),
            "reply": _text(record.reply, record.text_kept),
            "score": "",
            "comment": "",
            "tier": record.tier,
            "model": record.model,
            "stratum": self.stratum,
            "propensity": self.propensity,
            "verdicts": "; ".join(_verdicts(record)),
        }


def draw(
    store: "Store",
    count: int,
    *,
    wanted: "Filter",
    seed: int = 0,
    thresholds: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Drawn], dict[str, int]]:
    """Return the decisions drawn, in no order, and how many decisions each stratum has.

    Args:
        store: Where the ledger is.
        count: How many to draw; fewer where there are fewer.
        wanted: Among which decisions.
        seed: The same seed draws the same decisions from the same ledger.
        thresholds: Step to the difficulty from which its policy starts higher; "" is every other step.
        progress: Told now and then how many decisions of how many are read.
    """
    from langroute.ledger.reading import Filter, decisions
    from langroute.ledger.reading import count as counted
    from langroute.ledger.verdicts import bounds

    expected, near = counted(store, wanted), bounds(store, wanted)
    sizes: dict[str, int] = dict.fromkeys(STRATA, 0)
    lowest: dict[str, list[tuple[float, str]]] = {stratum: [] for stratum in STRATA}
    for number, record in enumerate(decisions(store, wanted), 1):
        stratum = stratum_of(record, near, thresholds or {})
        if stratum is not None:
            sizes[stratum] += 1
            _keep_lowest(lowest[stratum], (-place((f"{seed}\0{record.id}",), "label"), record.id), count)
        if progress is not None and number % 500 == 0:
            progress(number, expected)
    shares = _shared(count, sizes)
    chosen = sorted(
        (-at, name, stratum)
        for stratum, found in lowest.items()
        for at, name in sorted(found, reverse=True)[: shares[stratum]]
    )
    drawn = [
        Drawn(record, stratum, shares[stratum] / sizes[stratum])
        for _, name, stratum in chosen
        for record in decisions(store, Filter(id=name))
    ]
    return drawn, sizes


def stratum_of(record: DecisionRecord, near: "Bounds", thresholds: Mapping[str, float]) -> str | None:
    """Return the stratum of a decision; None where no reply was returned, so that nothing can be labelled.

    Args:
        record: The decision.
        near: Where verdicts change, as `langroute.ledger.verdicts.bounds` finds it.
        thresholds: Step to the difficulty from which its policy starts higher; "" is every other step.
    """
    if not any(attempt.returned for attempt in record.attempts):
        return None
    threshold = thresholds.get(record.step, thresholds.get(""))
    if _close(record.difficulty, threshold) or any(_doubts(record, near)):
        return "uncertain"
    if "escalation" in why_seen(record):
        return "escalated"
    if record.outcome == "accepted" and top_tier_of(record) not in (None, record.tier):
        return "accepted cheap"
    return "rest"


def _doubts(record: DecisionRecord, near: "Bounds") -> Iterator[bool]:
    """Yield of each verdict on the returned reply whether it could as well have been the other."""
    for attempt in record.attempts:
        for verdict in (attempt.verdicts or ()) if attempt.returned else ():
            bound = near.get((record.policy, record.step, str(verdict["verifier"])))
            yield bool(verdict.get("unsure")) or _close(verdict.get("score"), bound)


def _close(score: float | None, threshold: float | None) -> bool:
    return score is not None and threshold is not None and abs(score - threshold) <= NEAR


def _keep_lowest(kept: list[tuple[float, str]], one: tuple[float, str], most: int) -> None:
    if len(kept) < most:
        heapq.heappush(kept, one)
    else:
        heapq.heappushpop(kept, one)


def _shared(count: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return how many to draw from each stratum; what one cannot give is shared among the others."""
    taken = dict.fromkeys(STRATA, 0)
    while True:
        left = count - sum(taken.values())
        open_ = [stratum for stratum in STRATA if taken[stratum] < sizes[stratum]]
        if not left or not open_:
            return taken
        whole = sum(STRATA[stratum] for stratum in open_)
        for stratum in open_:
            more = max(int(left * STRATA[stratum] / whole), 1)
            free = count - sum(taken.values())
            taken[stratum] += min(more, free, sizes[stratum] - taken[stratum])


def _text(kept: Any, how: str) -> str:
    """Return what the ledger has of a prompt or a reply, as a person reads it; or that it has nothing."""
    if how in ("off", "digest"):
        return "(not kept)" if kept is None else f"(not kept; SHA-256 {kept})"
    if kept is None:
        return "(none)"
    if isinstance(kept, dict):
        calls = [f"calls {call.get('name')}({call.get('args')})" for call in kept.get("tool_calls") or ()]
        text = "\n".join([part for part in (kept.get("text"),) if part] + calls)
    else:
        text = "\n\n".join(f"{message['role']}: {message['text']}" for message in kept)
    return text if len(text) <= _CHARS else f"{text[:_CHARS]} … (cut: {len(text):,} characters in all)"


def _verdicts(record: DecisionRecord) -> Iterator[str]:
    for attempt in record.attempts:
        for verdict in (attempt.verdicts or ()) if attempt.returned else ():
            said = "accepts" if verdict["accepted"] else "rejects"
            yield f"{verdict['verifier']} {said}: {verdict['reason']}"
