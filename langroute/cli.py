"""`langroute` on the command line: what a policy says, and what it would do, before any call is made.

Results go to standard output. Bad input is a message on standard error and exit code 2, never a traceback.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from langroute.errors import LangrouteError, PolicyError, PolicyProblem

__all__ = ["app", "main"]

BAD_INPUT = 2

app = typer.Typer(
    name="langroute",
    help="Routes each step of a pipeline to the cheapest model tier that clears its quality bar.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", help="A .yaml, .toml or .json file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; `args` are the process's own where None."""
    try:
        app(args=args)
    except LangrouteError as error:
        typer.echo(f"langroute: {error}", err=True)
        raise SystemExit(BAD_INPUT) from None


@app.command()
def check(
    policy: PolicyPath,
    *,
    spec: Annotated[bool, typer.Option("--spec", help="Print the policy as a table of steps.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a policy file, and say what in it may surprise."""
    from langroute.advice import warnings
    from langroute.policy import Policy

    try:
        checked = Policy.load(policy)
    except PolicyError as error:
        if not as_json:
            raise
        _print_json({"policy": str(policy), "errors": _plain(error.problems), "warnings": []})
        raise typer.Exit(BAD_INPUT) from None
    found = warnings(checked)
    if as_json:
        report = {"policy": str(policy), "digest": checked.digest, "errors": [], "warnings": _plain(found)}
        _print_json(report | ({"spec": _spec_rows(checked)} if spec else {}))
        return
    typer.echo(f"{policy}: {len(checked.tiers)} tiers, {len(checked.steps)} steps, digest {checked.digest}")
    for warning in found:
        typer.echo(f"  warning: {warning}")
    if spec:
        _print_table(_spec_rows(checked))


@app.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from langroute.policy import policy_schema

    _print_json(policy_schema())


def _spec_rows(policy: Any) -> list[dict[str, str]]:
    from langroute.checking import spec_table

    return [asdict(row) for row in spec_table(policy)]


def _plain(problems: Iterable[PolicyProblem]) -> list[dict[str, str]]:
    return [asdict(problem) for problem in problems]


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _print_table(rows: Sequence[dict[str, str]]) -> None:
    """Print rows as a table, as wide as the terminal; where there is none, as wide as the text needs."""
    console = Console()
    table = Table(*(key.replace("_", " ") for key in rows[0]), show_lines=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.values()))
    console.print(table)


if __name__ == "__main__":
    main()
