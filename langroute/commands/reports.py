"""`report`: what routing came to."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from langroute.commands.terminal import (
    AsJson,
    LedgerPlace,
    Since,
    Until,
    console,
    opened_ledger,
    print_json,
    progress,
)

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
    decisions: Annotated[int, typer.Option(min=1, max=100_000, help="Decisions on the page.")] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Say what routing cost, saved and got wrong, from the ledger: tables, or a page to look at."""
    from langroute.policy import Policy
    from langroute.report import making, page, tables

    if html is not None:
        page.chart_library()  # what is missing is said before the ledger is read
    now = datetime.now(UTC)
    settings = None if policy is None else making.settings_of(Policy.load(policy))
    span = making.moment(since, now), making.moment(until, now)
    with opened_ledger(ledger) as opened, progress() as shown:
        data, listing = making.read(
            opened.store,
            *span,
            settings=settings,
            listing=None if html is None else decisions,
            progress=shown,
        )
    if html is not None:
        size = making.write_page(html, data, listing)
        typer.echo(f"{html}: {size / 1e6:.1f} MB; open it in a browser.", err=as_json)
    if as_json:
        print_json(asdict(data))
    elif html is None:
        console().print(tables.tables(data))
