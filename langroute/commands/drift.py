"""`drift`: whether what a policy rests on is still so, with an exit code for cron."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from langroute.commands.terminal import AsJson, LedgerPlace, console, opened_ledger, print_json, progress
from langroute.redaction import printable

__all__ = ["DRIFTED", "drift"]

DRIFTED = 1
"""Exit code where something was found; 0 where nothing was, 2 for bad input."""


def drift(
    *,
    ledger: LedgerPlace,
    policy: Annotated[
        Path | None, typer.Option(help="Adds its prices, its verifiers, and how old its reviews are.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Decisions from then on are compared: a date, or 7d. The last quarter without it."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="With those from then on up to --since; all earlier ones without it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what drifted or changed. Exit code 0: nothing; 1: something, named line by line; 2: bad input."""
    from langroute.policy import Policy
    from langroute.report.making import moment
    from langroute.report.tables import drift_tables
    from langroute.report.watch import watch
    from langroute.tuning.writing import tuned_on

    now = datetime.now(UTC)
    since_s, reference_s = moment(since, now), moment(reference, now)
    checked = None if policy is None else Policy.load(policy)
    with opened_ledger(ledger) as opened, progress() as shown:
        found = watch(
            opened.store,
            reference_s=reference_s,
            since_s=since_s,
            policy=checked,
            evidence=None if policy is None else tuned_on(policy),
            now=now,
            progress=shown,
        )
    if as_json:
        print_json(asdict(found))
    else:
        console().print(drift_tables(found.recent_s, found.drift, found.rises))
        for each in found.findings:
            typer.echo(printable(f"{each.kind}: {each.of}: {each.said}"))
        if not found.findings:
            typer.echo("Nothing drifted or changed.")
    if found.findings:
        raise typer.Exit(DRIFTED)
