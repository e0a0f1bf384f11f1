"""`export` and `feedback`: what a ledger holds, taken out and added to."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from langroute.commands.terminal import LedgerPlace, Since, Until, bad_input, opened_ledger
from langroute.errors import LangrouteError

__all__ = ["export", "feedback"]

_COLUMNS = SpinnerColumn(), TextColumn("{task.description}: {task.completed:,}"), TimeElapsedColumn()


def export(
    path: Annotated[Path, typer.Argument(help="The file to write: .jsonl or .parquet.")],
    *,
    ledger: LedgerPlace,
    step: Annotated[str | None, typer.Option(help="Decisions of this step alone.")] = None,
    thread: Annotated[str | None, typer.Option(help="Decisions of this thread alone.")] = None,
    run: Annotated[str | None, typer.Option(help="Decisions of this run alone.")] = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write a ledger's decisions to a file that DuckDB, pandas, Spark or Ray can read."""
    from langroute.ledger.reading import Filter
    from langroute.report.making import moment

    now = datetime.now(UTC)
    since_s, until_s = moment(since, now), moment(until, now)
    wanted = Filter(step=step, thread=thread, run=run, since_s=since_s, until_s=until_s)
    with opened_ledger(ledger) as opened, Progress(*_COLUMNS, console=Console(stderr=True)) as shown:
        task = shown.add_task(f"exporting to {path.name}", total=None)
        try:
            count = opened.export(path, wanted=wanted, progress=lambda n: shown.update(task, completed=n))
        except (ValueError, LangrouteError) as error:
            raise bad_input(str(error)) from None
    typer.echo(f"{count:,} decisions written to {path}")


def feedback(
    score: Annotated[float, typer.Argument(help="From 0 (wrong) to 1 (right).")],
    *,
    ledger: LedgerPlace,
    decision: Annotated[str | None, typer.Option(help="The call id it is about.")] = None,
    run: Annotated[str | None, typer.Option(help="The run it is about.")] = None,
    thread: Annotated[str | None, typer.Option(help="The thread it is about.")] = None,
    source: Annotated[str, typer.Option(help="Who says so: user, judge, test, or another name.")] = "user",
    comment: Annotated[str | None, typer.Option(help="What else is to be said.")] = None,
) -> None:
    """Keep how good a decision, a run or a thread was."""
    from langroute.ledger.reading import Filter

    with opened_ledger(ledger) as opened:
        try:
            given = opened.feedback(
                decision, run=run, thread=thread, score=score, source=source, comment=comment
            )
        except ValueError as error:
            raise bad_input(str(error)) from None
        reached = sum(1 for _ in opened.decisions(Filter(id=decision, run=run, thread=thread)))
    typer.echo(f"kept as {given.id}; it reaches {reached:,} decisions that are there now")
