"""`worksheet` and `estimate`: what each step is routed by, and what other policies would come to."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langroute.commands.terminal import (
    AsJson,
    LedgerPlace,
    MaybeLedger,
    Since,
    Until,
    bad_input,
    opened_ledger,
    print_json,
    print_table,
    progress,
)
from langroute.redaction import printable

if TYPE_CHECKING:
    from langroute.policy import Policy
    from langroute.report.data import StepRow
    from langroute.tuning.estimate import Expected, PolicyEstimate

__all__ = ["estimate", "worksheet"]

Policies = Annotated[list[Path], typer.Argument(metavar="POLICY...", help="Files to compare.")]
Sheets = Annotated[Path | None, typer.Option(help="A CSV file, as `langroute worksheet` writes it.")]


def worksheet(
    path: Annotated[Path, typer.Argument(metavar="OUT.csv", help="The file to write.")],
    *,
    ledger: LedgerPlace,
    policy: Annotated[Path | None, typer.Option(help="Adds its thresholds and reviews.")] = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write the routing worksheet from the ledger as CSV: a row a step, with the report's figures."""
    from langroute.policy import Policy
    from langroute.report.worksheet import write_worksheet

    steps = _steps(ledger, since, until, None if policy is None else Policy.load(policy))
    typer.echo(f"{write_worksheet(path, steps):,} steps written to {path}")


def estimate(
    policies: Policies,
    *,
    worksheet: Sheets = None,
    ledger: MaybeLedger = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Say what policies would cost, take, get right and put at risk on the same traffic, without a call."""
    from langroute.policy import Policy
    from langroute.report.worksheet import read_worksheet, rows_of
    from langroute.tuning.estimate import ASSUMPTIONS
    from langroute.tuning.estimate import estimate as estimated

    loaded = [(str(path), Policy.load(path)) for path in policies]
    if worksheet is not None and (since or until):
        raise bad_input(
            "--since and --until choose decisions of a ledger; a worksheet has no times: leave them out"
        )
    if worksheet is not None:
        sheets = read_worksheet(worksheet)
    elif ledger is not None:
        sheets = rows_of(_steps(ledger, since, until))
    else:
        raise bad_input("say which traffic: --worksheet steps.csv, or --ledger (or LANGROUTE_LEDGER)")
    try:
        found = [estimated(name, policy, sheets) for name, policy in loaded]
    except ValueError as error:
        raise bad_input(str(error)) from None
    if as_json:
        print_json({"assumptions": ASSUMPTIONS, "policies": [asdict(one) for one in found]})
        return
    print_table(list(_rows(found)), f"expected, of {found[0].requests:,.0f} requests")
    _print_unknown(found)
    typer.echo("\n  ".join(("Taken for granted:", *ASSUMPTIONS)))


def _steps(
    ledger: str, since: str | None, until: str | None, policy: "Policy | None" = None
) -> "Sequence[StepRow]":
    """Return the report's worksheet."""
    from langroute.report import making

    now = datetime.now(UTC)
    span = making.moment(since, now), making.moment(until, now)
    settings = None if policy is None else making.settings_of(policy)
    with opened_ledger(ledger) as opened, progress() as shown:
        data, _ = making.read(opened.store, *span, settings=settings, progress=shown)
    return data.steps


def _rows(found: "Sequence[PolicyEstimate]") -> Iterator[dict[str, str]]:
    """Yield a line for every step and policy, below what the step did cost, and the sums."""
    from langroute.report.wording import percent, usd

    for steps in zip(*(one.steps for one in found), strict=True):
        was = steps[0]
        yield _row(was.step, percent(was.share), "as it was") | {"cost_a_request": usd(was.was_usd)}
        for one, step in zip(found, steps, strict=True):
            way = ", then ".join(
                f"{model} ({'share unknown' if share is None else percent(share)})"
                for model, share in step.way
            )
            own = {"way": printable(way)} | _words(step.expected)
            yield _row(step.step, percent(step.share), one.policy) | own
    yield _row("all", "100%", "as it was") | {"cost_of_all": usd(found[0].was_usd)}
    for one in found:
        yield _row("all", "100%", one.policy) | _words(one.expected) | {"cost_of_all": usd(one.cost_usd)}


def _row(step: str, traffic: str, policy: str) -> dict[str, str]:
    empty = ("way", "cost_a_request", "latency", "quality", "risk_a_request", "cost_of_all")
    return {"step": printable(step), "traffic": traffic, "policy": policy} | dict.fromkeys(empty, "")


def _words(expected: "Expected") -> dict[str, str]:
    from langroute.report.wording import percent, seconds, usd

    return {
        "cost_a_request": usd(expected.cost_usd),
        "latency": seconds(expected.latency_s) or "unknown",
        "quality": percent(expected.quality),
        "risk_a_request": usd(expected.risk_usd),
    }


def _print_unknown(found: "Sequence[PolicyEstimate]") -> None:
    lines = [
        f"{one.policy}, {step.step}: {why}" for one in found for step in one.steps for why in step.unknown
    ]
    if lines:
        typer.echo(printable("\n  ".join(("Unknown:", *lines))))
