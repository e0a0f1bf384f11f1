"""`drift`: whether what a policy rests on is still so, with an exit code for cron."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langroute.commands.terminal import (
    BAD_INPUT,
    AsJson,
    LedgerPlace,
    bad_input,
    console,
    opened_ledger,
    print_json,
    progress,
)
from langroute.redaction import printable

if TYPE_CHECKING:
    from langroute.report.watch import Watched

__all__ = ["DRIFTED", "drift"]

DRIFTED = 1
"""Exit code where something was found; 0 where nothing was, also in too young a ledger; 2 for bad input."""


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
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2 where there is too little to compare.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what drifted or changed. Exit code 0: nothing; 1: something, named line by line; 2: bad input.

    A ledger that is too young to compare is said to be, with exit code 0: cron may start before the history.
    """
    from langroute.policy import Policy
    from langroute.report.making import moment
    from langroute.report.watch import watch
    from langroute.tuning.writing import tuned_on

    now = datetime.now(UTC)
    since_s, reference_s = moment(since, now), moment(reference, now)
    for name, written, at_s in (("--since", since, since_s), ("--reference", reference, reference_s)):
        if at_s is not None and at_s > now.timestamp():
            raise bad_input(f"{name} {written} is in the future")
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
        _say(found)
    if found.findings:
        raise typer.Exit(DRIFTED)
    if strict and found.too_young is not None:
        raise typer.Exit(BAD_INPUT)


def _say(found: "Watched") -> None:
    from langroute.report.tables import drift_tables

    if found.recent_s is not None and found.drift:
        console().print(drift_tables(found.recent_s, found.drift, found.rises))
    for each in found.findings:
        typer.echo(printable(f"{each.kind}: {each.of}: {each.said}"))
    if found.too_young is not None:
        typer.echo(printable(f"Too young to compare: {found.too_young}."))
    elif not found.findings:
        typer.echo("Nothing drifted or changed.")
