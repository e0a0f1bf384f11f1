"""The decisions that the page lists: columns to sort and filter by, and for each what a click shows."""

import base64
import gzip
import json
from collections import deque
from typing import Any

from langroute.ledger.labels import RIGHT_FROM
from langroute.ledger.records import AttemptRecord, DecisionRecord
from langroute.report.tally import capped, why_seen

__all__ = ["FLAGS", "MOST_LISTED", "Listing", "finite_json"]

MOST_LISTED = 100_000
"""Decisions on a page: as many as a browser opens in three seconds."""

_CHUNK = 500
"""Decisions whose details are packed together: a click unpacks so many, in some milliseconds."""
_LEVEL = 3
"""Of gzip: level 6 takes twice as long and saves a tenth."""
_MOST_WAYS = 20_000

FLAGS = ("escalated", "fell back", "repaired", "failed call", "mismatch", "wrong", "unknown cost")
"""What may have happened in a decision, by bit."""
_WHYS = {"escalation": 1, "fallback": 2, "repair": 4}

_SHOWN = (
    "step_source",
    "step_reason",
    "policy",
    "thread",
    "run",
    "node",
    "request",
    "difficulty",
    "features",
)
_SHOWN_OF_ATTEMPT = (
    *("tier", "endpoint", "model", "why", "outcome", "returned", "failure", "verdicts"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cost_usd", "cost_basis", "checks_usd"),
    *("latency_s", "judged_s", "first_token_s"),
)


class Listing:
    """Collects the latest decisions; how many at most is fixed, and so is its memory."""

    def __init__(self, most: int = MOST_LISTED, expected: int | None = None) -> None:
        """Start empty.

        Args:
            most: Decisions to list, the latest.
            expected: Decisions that will come, where known: those that would be dropped are not packed.
                Where it is not known, or more come, up to 499 fewer are listed.
        """
        self._most, self._skipped = most, max((expected or 0) - most, 0)
        self._total = 0
        self._chunks: deque[tuple[list[list[Any]], str]] = deque(maxlen=max(-(-most // _CHUNK), 1))
        self._rows: list[list[Any]] = []
        self._details: list[dict[str, Any]] = []
        self._names: dict[str, dict[str, int]] = {
            name: {} for name in ("step", "outcome", "tier", "endpoint", "way", "policy")
        }

    def add(self, record: DecisionRecord, label: float | None = None) -> None:
        """List one decision; `label` is the mean score of its feedback."""
        self._total += 1
        if self._total <= self._skipped:
            return
        self._rows.append(self._row(record, label))
        self._details.append(_detail(record, label))
        if len(self._rows) == _CHUNK:
            self._pack()

    def data(self) -> tuple[dict[str, Any], list[str]]:
        """Return the columns as plain JSON types, and the details, packed, `chunk` decisions each."""
        if self._rows:
            self._pack()
        rows = [row for chunk, _ in self._chunks for row in chunk]
        named = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
        columns = dict(zip(_COLUMNS, named, strict=True))
        names = {name: list(found) for name, found in self._names.items()}
        packed = [details for _, details in self._chunks]
        head = {"total": self._total, "chunk": _CHUNK, "flags": FLAGS, "names": names, "columns": columns}
        return head, packed

    def _pack(self) -> None:
        details = gzip.compress(finite_json(self._details).encode(), _LEVEL, mtime=0)
        self._chunks.append((self._rows, base64.b64encode(details).decode()))
        self._rows, self._details = [], []

    def _row(self, record: DecisionRecord, label: float | None) -> list[Any]:
        return [
            record.id,
            round(record.decided_at_s, 3),
            self._code("step", record.step),
            self._code("outcome", record.outcome),
            self._code("tier", record.tier or ""),
            self._code("endpoint", record.endpoint or ""),
            self._code("way", _way(record)),
            self._code("policy", record.policy),
            _short(record.cost_usd),
            _short(record.top_usd),
            _short(record.latency_s),
            _flags(record, label),
        ]

    def _code(self, column: str, name: str) -> int:
        found = self._names[column]
        name = capped(found, name, _MOST_WAYS)
        return found.setdefault(name, len(found))


_COLUMNS = (
    "id",
    "at_s",
    "step",
    "outcome",
    "tier",
    "endpoint",
    "way",
    "policy",
    "usd",
    "top_usd",
    "s",
    "flags",
)


def _flags(record: DecisionRecord, label: float | None) -> int:
    found = 0
    for why in why_seen(record):
        found |= _WHYS.get(why, 0)
    found |= 8 if any(attempt.outcome == "failed" for attempt in record.attempts) else 0
    found |= 16 if record.mismatch is not None else 0
    found |= 32 if label is not None and label < RIGHT_FROM else 0
    return found | (64 if record.cost_usd is None else 0)


def _way(record: DecisionRecord) -> str:
    """Return what was tried, in a line: `small rejected (citations), large accepted`."""
    return ", ".join(_tried(attempt) for attempt in record.attempts)


def _tried(attempt: AttemptRecord) -> str:
    why = attempt.failure_kind or ", ".join(
        str(verdict["verifier"]) for verdict in attempt.verdicts or () if not verdict["accepted"]
    )
    return f"{attempt.tier} {attempt.outcome}{f' ({why})' if why else ''}"


def _detail(record: DecisionRecord, label: float | None) -> dict[str, Any]:
    """Return what a click shows; never the texts, which a page that is passed on must not hold."""
    plan = record.plan if isinstance(record.plan, dict) else {}
    return {
        **{name: getattr(record, name) for name in _SHOWN},
        "mismatch": record.mismatch,
        "label": label,
        "spend_usd": _short(record.spend_usd),
        "reasons": plan.get("reasons", ()),
        "attempts": [
            {name: _short(getattr(attempt, name)) for name in _SHOWN_OF_ATTEMPT}
            for attempt in record.attempts
        ],
    }


def _short(value: Any) -> Any:
    """Return a number with the six digits that a person might read."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def finite_json(value: Any) -> str:
    """Return a value as JSON in plain ASCII; a number that JSON does not have becomes null."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=str)
    except ValueError:
        known = json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
        return json.dumps(known, separators=(",", ":"))
