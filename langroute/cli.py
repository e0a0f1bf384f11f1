"""`langroute` on the command line: what a policy says and would do, and what routing came to.

Results go to standard output. Bad input is a message on standard error and exit code 2, never a traceback.
"""

import json
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from langroute.errors import LangrouteError, PolicyError, PolicyProblem
from langroute.redaction import printable

if TYPE_CHECKING:
    from langroute.ledger.ledger import Ledger
    from langroute.policy import Policy

__all__ = ["app", "main"]

_COLUMNS = SpinnerColumn(), TextColumn("{task.description}: {task.completed:,}"), TimeElapsedColumn()

BAD_INPUT = 2
"""Exit code for input that is wrong, as command lines use it."""

DEMO = "rag_demo.py"

WIDTH_OF_FILES = 160
"""Characters of a table that goes to a file or a pipe."""

app = typer.Typer(
    name="langroute",
    help="Routes each step of a pipeline to the cheapest model tier that clears its quality bar.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", help="A .yaml, .toml or .json file.")]
LedgerPlace = Annotated[
    str, typer.Option(envvar="LANGROUTE_LEDGER", help="The ledger: a URL, or the path of a SQLite file.")
]
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
    spec: Annotated[bool, typer.Option("--spec", help="Print the routing spec as tables.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a policy file, and say what in it may surprise."""
    from langroute.advice import warnings
    from langroute.tables import routing_spec

    try:
        checked = _affordable(policy)
    except PolicyError as error:
        if not as_json:
            raise
        _print_json({"policy": str(policy), "errors": _plain(error.problems), "warnings": []})
        raise typer.Exit(BAD_INPUT) from None
    found = warnings(checked)
    if as_json:
        report = {"policy": str(policy), "digest": checked.digest, "errors": [], "warnings": _plain(found)}
        _print_json(report | ({"spec": asdict(routing_spec(checked))} if spec else {}))
        return
    typer.echo(f"{policy} can be used: tiers {_words(checked.tiers)}; steps {_words(checked.steps)}.")
    for warning in found:
        typer.echo(f"  warning: {warning}")
    if spec:
        _print_spec(asdict(routing_spec(checked)))


def _affordable(path: Path) -> "Policy":
    """Return the policy of a file, its budget checked against the prices of its models."""
    from langroute.endpoints import Endpoints
    from langroute.policy import Policy
    from langroute.spending import budget_problems

    policy = Policy.load(path)
    if problems := budget_problems(policy, Endpoints(policy)):
        raise PolicyError(problems, str(path))
    return policy


@app.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from langroute.policy import policy_schema

    _print_json(policy_schema())


@app.command(name="explain")
def explain_command(
    policy: PolicyPath,
    prompt: Annotated[str, typer.Argument(help="The prompt, or - to read it from standard input.")],
    *,
    step: Annotated[str | None, typer.Option(help="The step it is; without it, it is recognised.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what the policy would do with a prompt, and why. Nothing is called."""
    from langroute.explain import explain
    from langroute.policy import Policy

    explained = explain(Policy.load(policy), _asked(prompt), step).as_dict()
    if as_json:
        _print_json(explained)
        return
    typer.echo(f"step: {explained['step']} ({explained['step_source']}: {explained['step_reason']})")
    for number, reason in enumerate(explained["reasons"], 1):
        typer.echo(f"  {number}. {reason}")
    _print_table([_rung_row(order, rung) for order, rung in enumerate(explained["rungs"], 1)])
    typer.echo(
        f"about {explained['estimated_tokens']:,} tokens in; difficulty {explained['difficulty']:.2f};"
        f" repairs {explained['repairs']}; when every tier was tried: {explained['on_exhausted']}"
    )
    for part in explained["learned"]:
        typer.echo(f"learned: {part['tier']} is right with {part['probability']:.2f} ({_moved(part)})")
    if explained["blame"]:
        typer.echo(f"in a graph, goes back to {explained['blame']} when a check blames its input")


@app.command(name="export")
def export_command(
    path: Annotated[Path, typer.Argument(help="The file to write: .jsonl or .parquet.")],
    *,
    ledger: LedgerPlace,
    step: Annotated[str | None, typer.Option(help="Decisions of this step alone.")] = None,
    thread: Annotated[str | None, typer.Option(help="Decisions of this thread alone.")] = None,
    run: Annotated[str | None, typer.Option(help="Decisions of this run alone.")] = None,
    since: Annotated[datetime | None, typer.Option(help="From this moment on, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before this moment, UTC.")] = None,
) -> None:
    """Write a ledger's decisions to a file that DuckDB, pandas, Spark or Ray can read."""
    from langroute.ledger.reading import Filter

    wanted = Filter(step=step, thread=thread, run=run, since_s=_seconds(since), until_s=_seconds(until))
    with _ledger(ledger) as opened, Progress(*_COLUMNS, console=Console(stderr=True)) as shown:
        task = shown.add_task(f"exporting to {path.name}", total=None)
        try:
            count = opened.export(path, wanted=wanted, progress=lambda n: shown.update(task, completed=n))
        except (ValueError, OSError) as error:
            raise _bad_input(str(error)) from None
    typer.echo(f"{count:,} decisions written to {path}")


@app.command(name="feedback")
def feedback_command(
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

    with _ledger(ledger) as opened:
        try:
            given = opened.feedback(
                decision, run=run, thread=thread, score=score, source=source, comment=comment
            )
        except ValueError as error:
            raise _bad_input(str(error)) from None
        reached = sum(1 for _ in opened.decisions(Filter(id=decision, run=run, thread=thread)))
    typer.echo(f"kept as {given.id}; it reaches {reached:,} decisions that are there now")


@app.command()
def report(
    *,
    ledger: LedgerPlace,
    html: Annotated[Path | None, typer.Option(help="Write one HTML page instead of tables.")] = None,
    since: Annotated[str | None, typer.Option(help="A date, a time (UTC), or how long ago: 7d.")] = None,
    until: Annotated[str | None, typer.Option(help="Likewise; decisions before it count.")] = None,
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
    with _ledger(ledger) as opened, _progress() as progress:
        data, listing = making.read(
            opened.store,
            *span,
            settings=settings,
            listing=None if html is None else decisions,
            progress=progress,
        )
    if html is not None:
        size = making.write_page(html, data, listing)
        typer.echo(f"{html}: {size / 1e6:.1f} MB; open it in a browser.", err=as_json)
    if as_json:
        _print_json(asdict(data))
    elif html is None:
        _console().print(tables.tables(data))


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Give what shows how far the reading is, on a terminal alone."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading decisions", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def demo(context: typer.Context) -> None:
    """Run the demo: a RAG pipeline, each step routed. `langroute demo --help` tells more."""
    folder = next((path for path in _demo_folders() if (path / DEMO).is_file()), None)
    if folder is None:
        raise _bad_input("the demo's files are not installed; run it from a checkout")
    sys.argv = ["langroute demo", *context.args]
    sys.path.insert(0, str(folder))
    runpy.run_path(str(folder / DEMO), run_name="__main__")


def _ledger(where: str) -> "Ledger":
    """Open a ledger that is there; a file that is not is no new ledger."""
    from langroute.ledger.ledger import Ledger

    file = where.removeprefix("sqlite:///")
    if "://" not in file and not Path(file).is_file():
        raise _bad_input(f"there is no ledger at {file}")
    return Ledger(where)


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _demo_folders() -> tuple[Path, ...]:
    """Return where the demo may be: inside an installed wheel, or beside the package in a checkout."""
    package = Path(__file__).parent
    return package / "_examples", package.parent / "examples"


def _asked(prompt: str) -> str:
    """Return the prompt, from standard input for `-`; bytes that are no UTF-8 are bad input wherever from."""
    content = (
        typer.get_binary_stream("stdin").read() if prompt == "-" else prompt.encode("utf-8", "surrogatepass")
    )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad_input(f"the prompt is not UTF-8 text: byte {error.start + 1} cannot be read") from None
    if not text.strip():
        raise _bad_input("the prompt is empty: write it as an argument, or pipe it in and write -")
    return text


def _bad_input(message: str) -> typer.Exit:
    """Say what is wrong with the input, and return the exit that follows."""
    typer.echo(f"langroute: {message}", err=True)
    return typer.Exit(BAD_INPUT)


def _rung_row(order: int, rung: dict[str, Any]) -> dict[str, str]:
    usd, seconds, window = rung["expected_usd"], rung["expected_s"], rung["context_tokens"]
    return {
        "order": str(order),
        "tier": rung["tier"],
        "endpoint": rung["endpoint"],
        "expected_cost": "unknown" if usd is None else f"{usd:.6f} USD",
        "expected_time": "" if seconds is None else f"{seconds:g} s",
        "window": "" if window is None else f"{window:,} tokens",
    }


def _moved(part: dict[str, Any]) -> str:
    """Return what moves a learned probability most, words of the prompt in quotes."""
    told = [f"{one['feature']} {one['points']:+.2f}" for one in part["contributions"]]
    told += [f"{printable(one['word'])!r} {one['points']:+.2f}" for one in part["words"]]
    return ", ".join(told)


def _words(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _print_spec(spec: dict[str, Any]) -> None:
    """Print each table that has rows, and the budget."""
    for title in ("steps", "rules", "stakes"):
        if spec[title]:
            _print_table(spec[title], title)
    if spec["budget"]:
        typer.echo(f"budget: {spec['budget']}")


def _plain(problems: Iterable[PolicyProblem]) -> list[dict[str, str]]:
    return [asdict(problem) for problem in problems]


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _print_table(rows: Sequence[dict[str, str]], title: str | None = None) -> None:
    """Print what the rows say, columns without a word left out, as wide as the terminal."""
    table = Table(title=title, title_justify="left", show_lines=True)
    said = [key for key in rows[0] if any(row[key] for row in rows)]
    for key in said:
        table.add_column(key.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[key]) for key in said))
    _console().print(table)


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    return console


if __name__ == "__main__":
    main()
