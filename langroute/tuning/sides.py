"""What outcomes say of both sides of a threshold: one row a request, with the worth and the cost of either.

Where both tiers were asked the same request, that is a row. Where a step explores, each request that started
where its policy would not have is set beside those of like score that did: of both it was chance who started
where, so that they differ in nothing else. Where shadows asked the strong tier for what a cheap reply had
answered, the two are a row of a threshold that is compared with that reply.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from langroute.tuning.dials import Dial, passes
from langroute.tuning.outcomes import SHADOW, Outcome

__all__ = ["Basis", "Compared", "Comparing"]

_CHOSEN = ("", "plan", "explore")
"""How a tier is chosen that was not chosen because another had failed."""

Basis = Literal["both asked", "shadowed", "explored"]
"""Where rows come from."""
_BASES: Sequence[Basis] = ("both asked", "shadowed", "explored")
"""Of as many rows the first counts."""

_EVEN = 0.5
"""Propensity above which a start was the policy's own choice."""


class _Reply(NamedTuple):
    """What came of one request on one side."""

    worth: float
    usd: float | None
    score: float | None
    tenant: str
    day: str
    weight: float = 1.0
    """How many requests it stands for."""


@dataclass(slots=True)
class _Pairs:
    """Replies of either tier, by query."""

    cheap: dict[str, list[_Reply]] = field(default_factory=lambda: defaultdict(list))
    strong: dict[str, list[_Reply]] = field(default_factory=lambda: defaultdict(list))
    failing: set[str] = field(default_factory=set)
    """Queries whose cheap reply fails the step's checks (those but the dial's own)."""

    @property
    def both(self) -> list[str]:
        """The queries that have both."""
        return [query for query in self.cheap if query in self.strong]


class _Start(NamedTuple):
    """A request of a step that explores."""

    reply: _Reply
    strong: bool
    """Whether it started at the strong tier."""
    propensity: float


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Rows as `langroute.tuning.thresholds.tune` takes them."""

    basis: Basis
    columns: Mapping[str, Any]
    """Its arguments by name."""
    requests: int
    """Requests that were looked at, whether or not they gave a row."""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns["score"])


@dataclass(slots=True)
class Comparing:
    """Gathers the outcomes that bear on one threshold; only numbers are kept of them.

    Args:
        dial: The threshold.
        held_out: Query to what the dial's score says of it, where that was fitted on the same outcomes.
    """

    dial: Dial
    held_out: Mapping[str, float] = field(default_factory=dict)
    _asked: _Pairs = field(default_factory=_Pairs)
    _shadowed: _Pairs = field(default_factory=_Pairs)
    _starts: list[_Start] = field(default_factory=list)
    _unjudged: set[str] = field(default_factory=set)
    """Queries whose cheap draft was rejected; it is not known how good it was unless it is in `_asked`."""

    def add(self, outcome: Outcome) -> None:
        """Take what one outcome says."""
        either = outcome.tier in (self.dial.cheap, self.dial.strong)
        if outcome.chosen_by == SHADOW:
            if self.dial.kind == "verify" and either:
                self._add_reply(self._shadowed, outcome, 1 / (outcome.propensity or 1.0))
        elif self.dial.kind == "route" and outcome.start:
            self._add_start(outcome)
        elif outcome.chosen_by in _CHOSEN and either:
            self._add_reply(self._asked, outcome)
        elif outcome.start == self.dial.cheap:
            self._unjudged.add(outcome.query)

    def _add_start(self, outcome: Outcome) -> None:
        """Take the reply that a step came to, started at either tier."""
        if outcome.start not in (self.dial.cheap, self.dial.strong):
            return
        strong = outcome.start == self.dial.strong
        reply = self._reply(outcome, outcome.spent_usd)
        (self._asked.strong if strong else self._asked.cheap)[outcome.query].append(reply)
        if outcome.propensity is not None and outcome.propensity < 1 and reply.score is not None:
            self._starts.append(_Start(reply, strong, outcome.propensity))

    def _add_reply(self, pairs: _Pairs, outcome: Outcome, weight: float = 1.0) -> None:
        """Take a tier's reply to a request that was its first."""
        strong = outcome.tier == self.dial.strong
        but = self.dial.name if self.dial.kind == "verify" else ""
        if not strong and not passes(self.dial.bound, outcome.verdicts, but):
            pairs.failing.add(outcome.query)
        reply = self._reply(outcome, outcome.cost_usd)._replace(weight=weight)
        (pairs.strong if strong else pairs.cheap)[outcome.query].append(reply)

    def _reply(self, outcome: Outcome, usd: float | None) -> _Reply:
        return _Reply(outcome.score, usd, self._score(outcome), outcome.tenant, outcome.day)

    def _score(self, outcome: Outcome) -> float | None:
        """Return what the dial's score says of a request, or of a cheap reply; None where nobody knows."""
        dial = self.dial
        if dial.kind == "verify" and dial.name in outcome.verdicts:
            return outcome.verdicts[dial.name]
        if dial.name == "difficulty":
            return outcome.difficulty
        if dial.score is None or (dial.kind == "verify" and outcome.tier != dial.cheap):
            return None
        if dial.score.idf is not None and outcome.prompt.text is None:
            return None  # it reads a text that was not kept
        gain = self.held_out.get(outcome.query)
        if gain is None:
            gain = dial.score.gain(outcome.prompt if dial.kind == "route" else outcome.after(), dial.cheap)
        return min(1 - gain, 1.0) if dial.kind == "verify" else gain

    def compared(self) -> Compared | str:
        """Return the rows, or why there are none."""
        explored = [start for start in self._starts if start.propensity <= _EVEN]
        found = {"both asked": len(self._asked.both), "shadowed": len(self._shadowed.both)}
        basis: Basis = max(_BASES, key=lambda name: found.get(name, len(explored)))
        pairs = self._shadowed if basis == "shadowed" else self._asked
        rows = list(self._explored() if basis == "explored" else self._both(pairs))
        if not rows:
            return self._nothing()
        known = [row for row in rows if row[0].score is not None]
        if not known:
            return f"no reply has a score of {self.dial.name}: let it check the replies first, with `min: 0`"
        priced = _priced(known)
        if isinstance(priced, str):
            return priced
        cheap, strong, weights = zip(*known, strict=True)
        columns = {
            "score": np.array([reply.score for reply in cheap]),
            "cheap": np.array([reply.worth for reply in cheap]),
            "strong": np.array([reply.worth for reply in strong]),
            "cheap_usd": priced[0],
            "strong_usd": priced[1],
            "weights": np.array(weights),
            "tenants": _named([reply.tenant for reply in cheap]),
            "days": _named([reply.day for reply in cheap]),
        }
        requests = len(pairs.cheap.keys() | pairs.strong.keys())
        if basis == "shadowed":
            requests = round(sum(row[2] for row in rows))
        return Compared(basis, columns, requests, tuple(self._notes(rows, known, basis, pairs)))

    def _both(self, pairs: _Pairs) -> Iterator[tuple[_Reply, _Reply, float]]:
        for query in pairs.both:
            cheap, strong = _mean(pairs.cheap[query]), _mean(pairs.strong[query])
            if query not in pairs.failing:
                yield cheap, strong, cheap.weight
            elif self.dial.kind == "route":  # the draft is paid for, and the strong tier answers all the same
                usd = None if cheap.usd is None or strong.usd is None else cheap.usd + strong.usd
                yield cheap._replace(worth=strong.worth, usd=usd), strong, cheap.weight

    def _explored(self) -> Iterator[tuple[_Reply, _Reply, float]]:
        """Yield each explored start beside the mean of those of like score that its policy started itself.

        Requests of one own choice and one chance are a group. Within it those with the i-th lowest scores
        of the many stand beside the i-th lowest of the few; all of the group count as often as they are.
        """
        groups: dict[tuple[bool, float], tuple[list[_Start], list[_Start]]] = defaultdict(lambda: ([], []))
        for start in self._starts:
            explored = start.propensity <= _EVEN
            chance = start.propensity if explored else 1 - start.propensity
            groups[start.strong != explored, round(chance, 6)][explored].append(start)
        for own, few in groups.values():
            if not own or not few:
                continue
            ordered = [sorted(part, key=lambda start: start.reply.score or 0.0) for part in (own, few)]
            weight = (len(own) + len(few)) / len(few)
            for start, at in zip(ordered[1], np.array_split(np.arange(len(own)), len(few)), strict=True):
                if not len(at):
                    continue
                other = _mean([ordered[0][index].reply for index in at])
                cheap, strong = (other, start.reply) if start.strong else (start.reply, other)
                drawn = start.reply
                scored = cheap._replace(score=drawn.score, tenant=drawn.tenant, day=drawn.day)
                yield scored, strong, weight

    def _nothing(self) -> str:
        dial = self.dial
        asked = self._asked
        have = f"{len(asked.cheap):,} requests have a reply of {dial.cheap}"
        have += f" whose worth is known, {len(asked.strong):,} one of {dial.strong}"
        if dial.kind == "verify":
            return (
                f"{have}, and none has both: let `shadow` ask {dial.strong} as well on a share of the"
                " replies, or ask either tier on its own the same requests, as those of a test set, and say"
                " how good each reply was"
            )
        return (
            f"{have}, and none has both, nor did the step explore: write `explore: 0.05` in the step and let"
            " it run, or ask both tiers the same requests"
        )

    def _notes(self, rows: Sequence[Any], known: Sequence[Any], basis: Basis, pairs: _Pairs) -> Iterator[str]:
        if len(known) < len(rows):
            yield f"{len(rows) - len(known):,} requests without a score were left out"
        failing = len(pairs.failing & set(pairs.both))
        if failing and self.dial.kind == "verify":
            yield f"{failing:,} drafts fail other checks whatever this one says, and are not in the figures"
        if basis == "shadowed":
            least = min(row[0].score for row in known)
            yield (
                f"shadows are of replies that were returned: what was rejected is not in the figures, which"
                f" flatter the saving, and nothing below {least:g} was tried. With `min: 0` all are returned"
            )
        lost = len(self._unjudged & (self._asked.strong.keys() - self._asked.cheap.keys()))
        if lost and basis == "both asked" and self.dial.kind == "verify":
            yield (
                f"{lost:,} drafts were rejected and nobody knows how good they were: the figures are of the"
                " others, and flatter. Judge them too (--judged-by)"
            )


def _mean(replies: Sequence[_Reply]) -> _Reply:
    """Return what several replies to like requests come to on average."""
    first = replies[0]
    if len(replies) == 1:
        return first
    costs = [reply.usd for reply in replies if reply.usd is not None]
    scores = [reply.score for reply in replies if reply.score is not None]
    return first._replace(
        worth=float(np.mean([reply.worth for reply in replies])),
        usd=float(np.mean(costs)) if costs else None,
        score=float(np.mean(scores)) if scores else None,
    )


def _priced(rows: Sequence[tuple[_Reply, _Reply, float]]) -> tuple[Any, Any] | str:
    """Return the costs of both sides, an unknown one as the mean of those that are known."""
    found = []
    for name, side in (("cheap", [row[0].usd for row in rows]), ("strong", [row[1].usd for row in rows])):
        known = [usd for usd in side if usd is not None]
        if not known:
            return f"no cost of the {name} tier is known: state its `price` in the policy, or `cost_usd`"
        found.append(np.array([float(np.mean(known)) if usd is None else usd for usd in side]))
    return found[0], found[1]


def _named(labels: Sequence[str]) -> Sequence[str] | None:
    """Return the labels, None where none names anybody."""
    return labels if any(labels) else None
