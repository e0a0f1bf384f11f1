"""The routing worksheet as a CSV file: a row a step, to be read, filled in, and estimated from.

    langroute worksheet steps.csv --ledger langroute.db
    langroute estimate new.yaml --worksheet steps.csv

What each model made of a step stands in columns of its own, `openai:gpt-5-nano pass_rate`. An empty cell is
unknown; whoever knows better, or plans a pipeline that has not run yet, writes a number into it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langroute.errors import LangrouteError
from langroute.redaction import printable
from langroute.report.data import StepRow
from langroute.report.spreadsheet import read_csv, write_csv

__all__ = ["Sheet", "Tried", "read_worksheet", "rows_of", "write_worksheet"]

_COLUMNS = (
    *("step", "requests", "traffic_share", "quality_threshold", "primary_model", "fallback_model"),
    *("escalates_to", "mean_input_tokens", "mean_output_tokens", "mean_cached_tokens", "verifiers"),
    *("pass_rate", "latency_p50_s", "latency_p95_s", "cost_per_request_usd", "checks_per_reply_usd"),
    *("classifiers_per_request_usd", "difficulties", "last_review"),
)
_NEEDED = ("step", "requests", "mean_input_tokens", "mean_output_tokens")

_OF_MODEL = ("pass_rate", "quality", "calls", "latency_s")
"""What is told of each model on a step, after its name and a space."""

_SHARES = {"pass_rate", "quality"}


@dataclass(frozen=True, slots=True)
class Tried:
    """What one model made of a step; None where nobody knows."""

    pass_rate: float | None
    """Share of the requests it answered in which the checks accepted a reply."""
    quality: float | None
    """Share of its accepted replies that are right, by labels."""
    calls: float | None
    """Replies in a request that it answered: more than 1 with repairs."""
    latency_s: float | None
    """Mean seconds of a reply, its checks included."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A row: one step and its traffic; None where nobody knows."""

    step: str
    requests: float
    input_tokens: float | None
    output_tokens: float | None
    cached_tokens: float | None
    verifiers: frozenset[str]
    """Checks under which the pass rates were found."""
    cost_per_request_usd: float | None
    """What a request did cost."""
    checks_usd: float | None
    """USD of the calls that checks made, a reply."""
    classifiers_usd: float | None
    """USD of the calls that found out which step it was, or how hard, a request."""
    difficulties: tuple[float, ...]
    """Difficulty scores, each of an equal part of the requests."""
    tried: Mapping[str, Tried]
    """Model to what it made of the step."""


def write_worksheet(target: Path, steps: Sequence[StepRow]) -> int:
    """Write the worksheet, wholly or not at all; return how many steps it has.

    Raises:
        LangrouteError: The file cannot be written.
    """
    rows = [_cells(step) for step in steps]
    own = dict.fromkeys(column for row in rows for column in row if column not in _COLUMNS)
    return write_csv(target, (*_COLUMNS, *own), rows)


def rows_of(steps: Sequence[StepRow]) -> list[Sheet]:
    """Return the rows that the worksheet of these steps would have."""
    return [_sheet(f"step {step.step}", _cells(step)) for step in steps]


def read_worksheet(source: Path) -> list[Sheet]:
    """Return the rows of a worksheet.

    Raises:
        LangrouteError: It cannot be read, has no row, or names a step twice; or a cell is no such number.
    """
    rows = {number: _sheet(f"{source}: row {number}", cells) for number, cells in read_csv(source, _NEEDED)}
    if not rows:
        raise LangrouteError(f"{source} has no row")
    first: dict[str, int] = {}
    for number, row in rows.items():
        if first.setdefault(row.step, number) != number:
            raise LangrouteError(f"{source}: row {number}: row {first[row.step]} is about {row.step!r} too")
    return list(rows.values())


def _cells(step: StepRow) -> dict[str, Any]:
    """Return a step's figures by column."""
    cells = {
        "step": step.step,
        "requests": step.totals.decisions,
        "traffic_share": step.share,
        "quality_threshold": step.threshold,
        "primary_model": step.primary,
        "fallback_model": step.fallback,
        "escalates_to": step.escalates_to,
        "mean_input_tokens": step.input_tokens,
        "mean_output_tokens": step.output_tokens,
        "mean_cached_tokens": step.cached_tokens,
        "verifiers": ", ".join(step.verifiers),
        "pass_rate": step.passed.rate,
        "latency_p50_s": step.latency_p50_s,
        "latency_p95_s": step.latency_p95_s,
        "cost_per_request_usd": step.cost_per_request_usd,
        "checks_per_reply_usd": step.checks_usd,
        "classifiers_per_request_usd": step.totals.classifiers_usd / step.totals.decisions,
        "difficulties": " ".join(map(str, step.difficulties)),
        "last_review": step.reviewed,
    }
    for tried in step.tried:
        told = (tried.passed.rate, tried.right and tried.right.rate, tried.calls, tried.latency_s)
        cells |= {f"{tried.endpoint} {what}": one for what, one in zip(_OF_MODEL, told, strict=True)}
    return cells


def _sheet(where: str, cells: Mapping[str, Any]) -> Sheet:
    step = str(cells["step"]).strip()
    if not step:
        raise LangrouteError(f"{where}: it names no step")
    requests = _number(where, cells, "requests")
    return Sheet(
        step=step,
        requests=0.0 if requests is None else requests,
        input_tokens=_number(where, cells, "mean_input_tokens"),
        output_tokens=_number(where, cells, "mean_output_tokens"),
        cached_tokens=_number(where, cells, "mean_cached_tokens"),
        verifiers=frozenset(name for name in str(cells.get("verifiers") or "").split(", ") if name),
        cost_per_request_usd=_number(where, cells, "cost_per_request_usd"),
        checks_usd=_number(where, cells, "checks_per_reply_usd"),
        classifiers_usd=_number(where, cells, "classifiers_per_request_usd"),
        difficulties=tuple(_difficulties(where, cells)),
        tried=dict(_tried(where, cells)),
    )


def _tried(where: str, cells: Mapping[str, Any]) -> Iterator[tuple[str, Tried]]:
    models = (column.rpartition(" ") for column in cells)
    for model in dict.fromkeys(name for name, _, what in models if what in _OF_MODEL and name):
        told = [_number(where, cells, f"{model} {what}") for what in _OF_MODEL]
        if any(one is not None for one in told):
            yield model, Tried(*told)


def _difficulties(where: str, cells: Mapping[str, Any]) -> Iterator[float]:
    for written in str(cells.get("difficulties") or "").split():
        yield _number(where, {"difficulties": written}, "difficulties", most=1.0) or 0.0


def _number(where: str, cells: Mapping[str, Any], column: str, most: float = math.inf) -> float | None:
    """Return a cell's number; None where it is empty."""
    written = str("" if (cell := cells.get(column)) is None else cell).strip()
    if not written:
        return None
    if column.rpartition(" ")[2] in _SHARES:
        most = 1.0
    try:
        found = float(written.replace(",", "."))
    except ValueError:
        found = math.nan
    if not (0 <= found <= most and math.isfinite(found)):
        wanted = "a number from 0 to 1" if most == 1 else "a number of 0 or more"
        shown = printable(written[:80])
        raise LangrouteError(f"{where}: {column} is {shown!r}: write {wanted}, or leave it empty")
    return found
