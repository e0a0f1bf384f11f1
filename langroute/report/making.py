"""From a ledger to a report: its decisions are read once; a page is written whole or not at all."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from langroute.bindings import bindings
from langroute.errors import LangrouteError, LedgerError
from langroute.ledger.labels import labelled
from langroute.report.data import ReportData
from langroute.report.details import Settings
from langroute.report.explorer import DIFFICULTY, Explores
from langroute.report.figures import Figures
from langroute.report.listing import Listing
from langroute.report.page import page
from langroute.whole import replacing

if TYPE_CHECKING:
    from langroute.ledger.store import Store
    from langroute.policy import Policy, StepPolicy

__all__ = ["moment", "read", "settings_of", "thresholds_of", "write_page"]

_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d{1,6})([mhdw])")
_BOUNDS = {"min": "at least", "max": "at most"}


def moment(written: str | None, now: datetime) -> float | None:
    """Return a moment that a person wrote in Unix seconds: `2026-11-01`, `2026-11-01T08:30`, `7d` for ago.

    Without an offset it is in UTC.

    Raises:
        LangrouteError: It is none of these.
    """
    if written is None:
        return None
    try:
        if ago := _AGO.fullmatch(written.strip()):
            return (now - timedelta(seconds=int(ago[1]) * _UNITS_S[ago[2]])).timestamp()
        found = datetime.fromisoformat(written.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise LangrouteError(
            f"{written!r} is no moment: write a date (2026-11-01), a date and time (2026-11-01T08:30),"
            " or how long ago (90m, 12h, 7d, 4w)"
        ) from None


def read(
    store: "Store",
    since_s: float | None = None,
    until_s: float | None = None,
    *,
    settings: Settings | None = None,
    listing: int | None = None,
    explorer: Explores | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ReportData, Listing]:
    """Return what a ledger's decisions come to, and the latest of them for a page.

    Args:
        store: Where the ledger is: the `store` of a `Ledger`.
        since_s: Unix seconds from which on decisions count.
        until_s: Unix seconds before which they do.
        settings: What the policy says of each step, see `settings_of`.
        listing: How many decisions to list; None lists none.
        explorer: Works out what other thresholds come to; None leaves it out.
        progress: Told now and then how many decisions of how many are read.

    Raises:
        LedgerError: It has no decision in that time.
    """
    from langroute.ledger.reading import Filter, count, decisions

    wanted = Filter(since_s=since_s, until_s=until_s)
    expected = count(store, wanted)
    figures, listed = Figures(_shown(store.name)), Listing(listing or 0, expected)
    for number, record in enumerate(decisions(store, wanted), 1):
        label = labelled(record)
        figures.add(record, label)
        if listing is not None:
            listed.add(record, None if label is None else label.score)
        if explorer is not None:
            explorer.add(record, None if label is None else label.score)
        if progress is not None and number % 500 == 0:
            progress(number, expected)
    if not figures.decisions:
        if since_s is not None or until_s is not None:
            raise LedgerError(
                f"the ledger {store.name} has no decision in that time: say another --since or --until"
            )
        raise LedgerError(
            f"the ledger {store.name} has no decision: give a router ledger= (or set LANGROUTE_LEDGER)"
            " and let it decide something"
        )
    explored = explorer.data() if explorer is not None else None
    return replace(figures.data(settings), explorer=explored), listed


def _shown(name: str) -> str:
    """Return a store's name for a page that is passed on: of a file without its folders."""
    return name.rsplit("/", 1)[-1] if name.startswith("sqlite") else name


def settings_of(policy: "Policy") -> Settings:
    """Return what a policy says of each step and the ledger does not: quality thresholds, the last review.

    The step `""` is the default, which holds for every step that the policy does not name.
    """
    return {
        name: {
            "threshold": ", ".join(f"{score} {bound} {value:g}" for score, bound, value in _thresholds(step)),
            "reviewed": step.reviewed.isoformat() if step.reviewed else "",
        }
        for name, step in _steps(policy)
    }


def thresholds_of(policy: "Policy") -> dict[str, dict[str, float]]:
    """Return the thresholds of each step by the score that must reach them; `""` is the default step."""
    return {
        name: {score: value for score, bound, value in _thresholds(step) if bound != _BOUNDS["max"]}
        for name, step in _steps(policy)
    }


def _steps(policy: "Policy") -> Iterator[tuple[str, "StepPolicy"]]:
    return ((str(loc[-1]) if loc != ("default",) else "", step) for loc, step in bindings(policy))


def _thresholds(step: "StepPolicy") -> Iterator[tuple[str, str, float]]:
    if step.route.difficulty is not None:
        yield DIFFICULTY, "below", step.route.difficulty.threshold
    for verifier in step.verify:
        for name, bound in _BOUNDS.items():
            value = getattr(verifier, name, None)
            if isinstance(value, int | float):
                yield verifier.name, bound, value


def write_page(target: Path, data: ReportData, listing: Listing) -> int:
    """Write the page, wholly or not at all; return its size in bytes.

    Raises:
        LangrouteError: plotly is not installed, or the file cannot be written.
    """
    columns, details = listing.data()
    with replacing(target) as written:
        size = 0
        with written.open("w", encoding="utf-8", newline="") as file:
            for piece in page(data, columns, details):
                size += file.write(piece)
    return size
