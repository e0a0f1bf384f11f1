"""`report`: what routing came to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langroute.commands.terminal import (
    AsJson,
    LedgerPlace,
    Since,
    Until,
    bad_input,
    console,
    opened_ledger,
    print_json,
    progress,
)

if TYPE_CHECKING:
    from langroute.policy import Policy
    from langroute.tuning.exploring import ThresholdExplorer

__all__ = ["report"]


def report(
    *,
    ledger: LedgerPlace,
    html: Annotated[Path | None, typer.Option(help="Write one HTML page instead of tables.")] = None,
    since: Since = None,
    until: Until = None,
    policy: Annotated[
        Path | None, typer.Option(help="Adds its thresholds and reviews to the worksheet.")
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP.SCORE=VALUE",
            help="What a step would come to there: synthesis.difficulty=0.4, synthesis.confidence=0.8.",
        ),
    ] = None,
    decisions: Annotated[int, typer.Option(min=1, max=100_000, help="Decisions on the page.")] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Say what routing cost, saved and got wrong, from the ledger: tables, or a page to look at."""
    from langroute.policy import Policy
    from langroute.report import making, page, tables

    if html is not None:
        page.chart_library()  # what is missing is said before the ledger is read
    now = datetime.now(UTC)
    loaded = None if policy is None else Policy.load(policy)
    asked = _asked(threshold or ())
    explorer = _explorer(asked, loaded) if asked or html is not None or as_json else None
    span = making.moment(since, now), making.moment(until, now)
    with opened_ledger(ledger) as opened, progress() as shown:
        data, listing = making.read(
            opened.store,
            *span,
            settings=None if loaded is None else making.settings_of(loaded),
            listing=None if html is None else decisions,
            explorer=explorer,
            progress=shown,
        )
    if html is not None:
        size = making.write_page(html, data, listing)
        typer.echo(f"{html}: {size / 1e6:.1f} MB; open it in a browser.", err=as_json)
    if as_json:
        print_json(asdict(data))
    elif html is None and data.explorer is not None:
        console().print(tables.explored(data.explorer, asked))
    elif html is None:
        console().print(tables.tables(data))


def _asked(written: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return thresholds that a person wrote, by step and score."""
    found: dict[str, dict[str, float]] = {}
    for each in written:
        place, _, value = each.rpartition("=")
        step, _, score = place.rpartition(".")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not step or not score or not 0 <= number <= 1:
            raise bad_input(
                f"--threshold {each!r}: write STEP.SCORE=VALUE, the value from 0 to 1, as in"
                " synthesis.difficulty=0.4"
            )
        found.setdefault(step, {})[score] = number
    return found


def _explorer(
    asked: Mapping[str, Mapping[str, float]], policy: "Policy | None"
) -> "ThresholdExplorer | None":
    """Return what works out other thresholds; None where it is not installed and nobody asked."""
    from langroute.report.making import thresholds_of

    try:
        from langroute.tuning.exploring import ThresholdExplorer
    except ImportError:
        if asked:
            raise bad_input("--threshold needs numpy and scipy: pip install 'langroute[report]'") from None
        return None
    return ThresholdExplorer(asked, None if policy is None else thresholds_of(policy))
