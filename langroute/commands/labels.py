"""`label`: a sample of decisions for people to score, and their scores read back."""

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langroute.commands.terminal import LedgerPlace, Since, Until, bad_input, opened_ledger, progress

if TYPE_CHECKING:
    from langroute.report.drawing import Drawn

__all__ = ["app"]

app = typer.Typer(
    help="Draw decisions for people to score, and read their scores back.", no_args_is_help=True
)


@app.command()
def draw(
    path: Annotated[Path, typer.Argument(metavar="OUT.csv", help="The file to write.")],
    *,
    ledger: LedgerPlace,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Decisions to draw.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed draws the same decisions.")] = 0,
    step: Annotated[str | None, typer.Option(help="Decisions of this step alone.")] = None,
    since: Since = None,
    until: Until = None,
    policy: Annotated[
        Path | None, typer.Option(help="Adds its difficulty thresholds to what counts as uncertain.")
    ] = None,
) -> None:
    """Write a sample of decisions to a CSV file, for people to fill in its column score."""
    from langroute.ledger.reading import Filter
    from langroute.policy import Policy
    from langroute.report.drawing import draw as drawn_from
    from langroute.report.explorer import DIFFICULTY
    from langroute.report.making import moment, thresholds_of
    from langroute.report.scored import COLUMNS
    from langroute.report.spreadsheet import write_csv

    now = datetime.now(UTC)
    wanted = Filter(step=step, since_s=moment(since, now), until_s=moment(until, now))
    if path.exists():
        raise bad_input(f"{path} is there already, and may hold scores: name another file")
    all_thresholds = {} if policy is None else thresholds_of(Policy.load(policy))
    thresholds = {step: found[DIFFICULTY] for step, found in all_thresholds.items() if DIFFICULTY in found}
    with opened_ledger(ledger) as opened, progress() as shown:
        drawn, sizes = drawn_from(
            opened.store, count, wanted=wanted, seed=seed, thresholds=thresholds, progress=shown
        )
    if not drawn:
        raise bad_input("nothing can be drawn: the ledger has no decision with a reply there")
    write_csv(path, COLUMNS, (one.row() for one in drawn))
    typer.echo(f"{len(drawn):,} of {sum(sizes.values()):,} decisions drawn to {path}:")
    for stratum, size in sizes.items():
        typer.echo(f"  {stratum}: {sum(one.stratum == stratum for one in drawn):,} of {size:,}")
    # A server's URL may hold a password, which is not shown.
    place = ("--ledger", ledger) if "://" not in ledger or ledger.startswith("sqlite:") else ()
    then = shlex.join(("langroute", "label", "read", str(path), *place))
    typer.echo(f"Fill in the column score, from 0 (wrong) to 1 (right); then: {then}")
    _warn_of_texts(drawn)


@app.command()
def read(
    path: Annotated[Path, typer.Argument(metavar="IN.csv", help="The file, with scores filled in.")],
    *,
    ledger: LedgerPlace,
    source: Annotated[str, typer.Option(help="Who gave the scores: a name for each who labels.")] = "person",
) -> None:
    """Keep the scores in a file as feedback. Read again it adds nothing; a changed score is changed."""
    from langroute.ledger.labels import JUDGE
    from langroute.report.scored import keep_scores

    if source in ("", JUDGE):
        raise bad_input(f"--source {source!r} is no person: name who gave the scores")
    with opened_ledger(ledger) as opened:
        found = keep_scores(opened.store, path, source)
    kept = found.kept
    typer.echo(
        f"{kept.new:,} labels kept, {kept.changed:,} changed, {kept.same:,} were there already;"
        f" {found.unscored:,} rows have no score"
    )


def _warn_of_texts(drawn: "list[Drawn]") -> None:
    without = sum(one.record.text_kept in ("off", "digest") for one in drawn)
    if without:
        typer.echo(
            f"The ledger does not hold the texts of {without:,} of them: look them up by id in your own"
            " traces, or keep texts from now on, with `ledger: {text: redacted}` in the policy.",
            err=True,
        )
