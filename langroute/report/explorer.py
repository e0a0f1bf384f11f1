"""What a report says of other thresholds: for each step three ways to choose a tier, side by side.

*Routing* chooses before there is a reply, *cascade* after it, *hybrid* does both. Here is the shape of the
figures, as the page and `--json` have it; `langroute.tuning.exploring` works them out.
"""

from dataclasses import dataclass, fields
from typing import Protocol

from langroute.ledger.records import DecisionRecord

__all__ = ["DIFFICULTY", "Explorer", "Explores", "Outlook", "StepExplorer", "Way"]

DIFFICULTY = "difficulty"
"""Name of the score that is known before a reply."""

Grid = tuple[tuple[float | None, ...], ...]
"""A line for each threshold of the start, in it a value for each threshold of acceptance. A way that does not
look at one of them has one line, or one value in each. None is unknown."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What requests of a step come to in one way."""

    cost_usd: float | None
    """USD a request; None where a price, or what a tier would do, is unknown."""
    quality: float | None
    """Mean feedback in [0, 1]; None where there is too little of it."""
    quality_low: float | None
    """Lower end of its 95 % interval."""
    quality_high: float | None
    """Upper end."""
    latency_s: float | None
    """Mean seconds a request, checks included."""
    escalated: float | None
    """Share of the requests in which a rejected reply leads to a higher tier."""
    top_first: float | None
    """Share of the requests that start at the top tier."""
    estimated: float | None
    """Share of the requests whose cost and latency are no request's own: a tier was not tried on them."""
    estimated_quality: float | None
    """Share of the rated requests whose reply would be another than the rated one."""


@dataclass(frozen=True, slots=True)
class Way:
    """The same for every threshold."""

    name: str
    """`routing`, `cascade` or `hybrid`."""
    cost_usd: Grid
    quality: Grid
    quality_low: Grid
    quality_high: Grid
    latency_s: Grid
    escalated: Grid
    top_first: Grid
    estimated: Grid
    estimated_quality: Grid

    def at(self, start: int, accept: int) -> Outlook:
        """Return what it comes to at the thresholds with these indices."""
        grids = (getattr(self, field.name) for field in fields(Outlook))
        lines = (grid[min(start, len(grid) - 1)] for grid in grids)
        return Outlook(*(line[min(accept, len(line) - 1)] for line in lines))


@dataclass(frozen=True, slots=True)
class StepExplorer:
    """A step whose thresholds can be moved."""

    step: str
    first: str
    """Tier at which the cascade starts."""
    top: str
    """Its last tier, at which a request starts whose difficulty reaches the threshold."""
    score: str
    """Verifier whose score is compared with the threshold of acceptance; "" where none gives a score."""
    starts: tuple[float, ...]
    """Thresholds of the difficulty, rising: from the top tier for all to the first for all."""
    accepts: tuple[float, ...]
    """Thresholds of acceptance, rising; empty where no verifier gives a score."""
    start_at: int
    """Index of the threshold that was asked for, that the policy has, or of the middle one."""
    accept_at: int
    """Likewise."""
    requests: int
    """Decisions that the figures are of: a sample, where there are more."""
    rated: int
    """Decisions with feedback that the qualities are of, likewise."""
    ran: Outlook
    """As it ran; nothing of it is estimated."""
    everywhere: Outlook
    """The top tier for all."""
    ways: tuple[Way, ...]
    """Routing, cascade, hybrid."""


@dataclass(frozen=True, slots=True)
class Explorer:
    """Everything that can be moved."""

    assumption: str
    """What an estimate rests on."""
    steps: tuple[StepExplorer, ...]
    """Those with more than one tier, most requests first."""
    left_out: tuple[str, ...]
    """Why other steps are not among them, a sentence each."""


class Explores(Protocol):
    """What collects decisions for an explorer."""

    def add(self, record: DecisionRecord, label: float | None) -> None:
        """Take one decision; `label` is the mean score of its feedback."""

    def data(self) -> Explorer:
        """Return what other thresholds come to."""
