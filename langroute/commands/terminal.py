"""What the commands share: options, the ledger they open, and how they say what they found."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from langroute.ledger.ledger import Ledger

__all__ = [
    "BAD_INPUT",
    "AsJson",
    "LedgerPlace",
    "MaybeLedger",
    "PolicyPath",
    "Since",
    "Until",
    "bad_input",
    "console",
    "opened_ledger",
    "print_json",
    "print_table",
    "progress",
]

BAD_INPUT = 2
"""Exit code for input that is wrong, as command lines use it."""

WIDTH_OF_FILES = 160
"""Characters of a table that goes to a file or a pipe."""

PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", help="A .yaml, .toml or .json file.")]
LedgerPlace = Annotated[
    str, typer.Option(envvar="LANGROUTE_LEDGER", help="The ledger: a URL, or the path of a SQLite file.")
]
MaybeLedger = Annotated[
    str | None,
    typer.Option(envvar="LANGROUTE_LEDGER", help="The ledger: a URL, or the path of a SQLite file."),
]
Since = Annotated[str | None, typer.Option(help="A date, a time (UTC), or how long ago: 7d.")]
Until = Annotated[str | None, typer.Option(help="Likewise; decisions before it count.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def bad_input(message: str) -> typer.Exit:
    """Say what is wrong with the input, and return the exit that follows."""
    typer.echo(f"langroute: {message}", err=True)
    return typer.Exit(BAD_INPUT)


def opened_ledger(where: str) -> "Ledger":
    """Open a ledger that is there; a file that is not is no new ledger."""
    from langroute.ledger.ledger import Ledger

    file = where.removeprefix("sqlite:///")
    if "://" not in file and not Path(file).is_file():
        raise bad_input(f"there is no ledger at {file}")
    return Ledger(where)


@contextmanager
def progress() -> Iterator[Callable[[int, int], None]]:
    """Give what shows how far the reading is, on a terminal alone."""
    shown = Console(stderr=True)
    with Progress(console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task("reading decisions", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_json(data: Any) -> None:
    """Print plain data as JSON."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[dict[str, str]], title: str | None = None) -> None:
    """Print what the rows say, columns without a word left out, as wide as the terminal."""
    table = Table(title=title, title_justify="left", show_lines=True)
    said = [key for key in rows[0] if any(row[key] for row in rows)]
    for key in said:
        table.add_column(key.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[key]) for key in said))
    console().print(table)


def console() -> Console:
    """Return the console of standard output, wide where that is a file or a pipe."""
    made = Console()
    if not made.is_terminal:
        made.width = WIDTH_OF_FILES
    return made
