"""`langroute` on the command line: what a policy says and would do, and what routing came to.

Results go to standard output. Bad input is a message on standard error and exit code 2, never a traceback.
"""

from collections.abc import Sequence

import typer

from langroute.commands import demo, drift, estimates, labels, learning, ledgers, policies, reports
from langroute.commands.terminal import BAD_INPUT
from langroute.errors import LangrouteError

__all__ = ["app", "main"]

app = typer.Typer(
    name="langroute",
    help="Routes each step of a pipeline to the cheapest model tier that clears its quality bar.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(policies.check)
app.command()(policies.explain)
app.command()(policies.schema)
app.command()(ledgers.export)
app.command()(ledgers.feedback)
app.command()(reports.report)
app.command()(estimates.worksheet)
app.command()(estimates.estimate)
app.add_typer(labels.app, name="label")
app.command(name="drift")(drift.drift)
app.command()(learning.tune)
app.command()(learning.train)
app.command()(learning.replay)
app.command()(learning.bench)
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)(demo.demo)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; `args` are the process's own where None."""
    try:
        app(args=args)
    except LangrouteError as error:
        typer.echo(f"langroute: {error}", err=True)
        raise SystemExit(BAD_INPUT) from None


if __name__ == "__main__":
    main()
