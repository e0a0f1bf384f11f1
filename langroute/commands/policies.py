"""`check`, `explain` and `schema`: what a policy says and would do."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langroute.commands.terminal import BAD_INPUT, AsJson, PolicyPath, bad_input, print_json, print_table
from langroute.errors import PolicyError, PolicyProblem
from langroute.redaction import printable

if TYPE_CHECKING:
    from langroute.policy import Policy

__all__ = ["check", "explain", "schema"]


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
        print_json({"policy": str(policy), "errors": _plain(error.problems), "warnings": []})
        raise typer.Exit(BAD_INPUT) from None
    found = warnings(checked)
    if as_json:
        report = {"policy": str(policy), "digest": checked.digest, "errors": [], "warnings": _plain(found)}
        print_json(report | ({"spec": asdict(routing_spec(checked))} if spec else {}))
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
    checked = [(str(path), policy)]
    if policy.canary is not None:
        checked.append((f"{path}: canary {policy.canary.policy.path}", policy.canary.policy.policy))
    for name, each in checked:
        if problems := budget_problems(each, Endpoints(each)):
            raise PolicyError(problems, name)
    return policy


def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from langroute.policy import policy_schema

    print_json(policy_schema())


def explain(
    policy: PolicyPath,
    prompt: Annotated[str, typer.Argument(help="The prompt, or - to read it from standard input.")],
    *,
    step: Annotated[str | None, typer.Option(help="The step it is; without it, it is recognised.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what the policy would do with a prompt, and why. Nothing is called."""
    from langroute.explain import explain as explained_by
    from langroute.policy import Policy

    explained = explained_by(Policy.load(policy), _asked(prompt), step).as_dict()
    if as_json:
        print_json(explained)
        return
    typer.echo(f"step: {explained['step']} ({explained['step_source']}: {explained['step_reason']})")
    for number, reason in enumerate(explained["reasons"], 1):
        typer.echo(f"  {number}. {reason}")
    print_table([_rung_row(order, rung) for order, rung in enumerate(explained["rungs"], 1)])
    typer.echo(
        f"about {explained['estimated_tokens']:,} tokens in; difficulty {explained['difficulty']:.2f};"
        f" repairs {explained['repairs']}; when every tier was tried: {explained['on_exhausted']}"
    )
    for part in explained["learned"]:
        typer.echo(f"learned: {part['tier']} is right with {part['probability']:.2f} ({_moved(part)})")
    if explained["blame"]:
        typer.echo(f"in a graph, goes back to {explained['blame']} when a check blames its input")


def _asked(prompt: str) -> str:
    """Return the prompt, from standard input for `-`; bytes that are no UTF-8 are bad input wherever from."""
    content = (
        typer.get_binary_stream("stdin").read() if prompt == "-" else prompt.encode("utf-8", "surrogatepass")
    )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad_input(f"the prompt is not UTF-8 text: byte {error.start + 1} cannot be read") from None
    if not text.strip():
        raise bad_input("the prompt is empty: write it as an argument, or pipe it in and write -")
    return text


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
            print_table(spec[title], title)
    if spec["budget"]:
        typer.echo(f"budget: {spec['budget']}")


def _plain(problems: Iterable[PolicyProblem]) -> list[dict[str, str]]:
    return [asdict(problem) for problem in problems]
