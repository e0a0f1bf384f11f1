"""`tune`, `train`, `replay` and `bench`: what recorded outcomes teach, from a ledger or a file of outcomes.

A refusal is an answer too, and has an exit code of its own: what it rests on is printed all the same.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from langroute.commands.sources import Source, needs_tune
from langroute.commands.terminal import (
    AsJson,
    MaybeLedger,
    PolicyPath,
    Since,
    Until,
    bad_input,
    print_json,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from langroute.tuning.offpolicy import Estimate
    from langroute.tuning.replaying import StepReplay
    from langroute.tuning.training import Trained
    from langroute.tuning.tuned import Asked, Tuned

__all__ = ["bench", "replay", "train", "tune"]

REFUSED = 3
"""Exit code where nothing could be shown: the reason, and how much more is needed, are printed."""

OutcomesPath = Annotated[
    Path | None,
    typer.Argument(metavar="[OUTCOMES]", help="A .parquet, .jsonl or .csv file, in place of a ledger."),
]
JudgedBy = Annotated[
    str | None, typer.Option(help="Verifier whose score is a reply's worth where nobody gave feedback.")
]
TenantKey = Annotated[str, typer.Option(help="Kept metadata key that says whose a request is.")]
PlotPath = Annotated[Path | None, typer.Option("--plot", help="Draw what is found here, on a page (.html).")]
Confidence = Annotated[float, typer.Option(help="Chance with which what is promised holds.")]


def tune(
    outcomes: OutcomesPath = None,
    *,
    policy: Annotated[Path, typer.Option(help="The policy whose thresholds are looked at.")],
    ledger: MaybeLedger = None,
    step: Annotated[list[str] | None, typer.Option(help="This step alone; may be given again.")] = None,
    floor: Annotated[float, typer.Option(help="Share of the strong tier's quality to keep.")] = 0.98,
    confidence: Confidence = 0.9,
    method: Annotated[str, typer.Option(help="dirichlet, betting, hoeffding_bentkus or conformal.")] = (
        "dirichlet"
    ),
    most_share: Annotated[
        float, typer.Option(help="Most that one tenant or one day may weigh; 1 looks at neither.")
    ] = 0.1,
    judged_by: JudgedBy = None,
    tenant_key: TenantKey = "tenant",
    since: Since = None,
    until: Until = None,
    out: Annotated[Path | None, typer.Option(help="Write the tuned policy here (.yaml).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out where it exists.")] = False,
    plot: PlotPath = None,
    as_json: AsJson = False,
) -> None:
    """Say where each threshold should be, what that saves and costs in quality, and how sure that is.

    Exit code 0 where a threshold was found, 2 for bad input, 3 where all are refused.
    """
    needs_tune()
    from langroute.tuning.tuned import Asked

    _check_plot(plot)
    source = Source(outcomes, ledger, step or (), judged_by, tenant_key, since, until)
    found = _tuned(policy, source, Asked(floor, confidence, method, most_share))
    written = None if out is None else _write(policy, out, found, overwrite=overwrite)
    if plot is not None:
        from langroute.tuning.plots import plot_tuned

        plot_tuned(plot, found)
    if as_json:
        print_json({"policy": str(policy), "read": source.told, "thresholds": [e.as_dict() for e in found]})
    else:
        _print_tuned(found, source.summary, written)
    if all(each.threshold is None for each in found):
        raise typer.Exit(REFUSED)


def _check_plot(path: Path | None) -> None:
    if path is not None:
        from langroute.tuning.plots import check_plot

        check_plot(path)


def _tuned(policy: Path, source: Source, asked: "Asked") -> "list[Tuned]":
    """Return what is found for every threshold of the steps that are wanted."""
    from langroute.loading import read
    from langroute.policy import Policy
    from langroute.tuning.dials import dials_of
    from langroute.tuning.tuned import tune_policy
    from langroute.tuning.writing import tuned_places

    dials = dials_of(Policy.load(policy), read(policy), source.steps)
    if not dials:
        raise bad_input(f"{policy} has no threshold to tune: write `route` or a check with `min` in a step")
    source.steps = list(dict.fromkeys(dial.step for dial in dials))
    before = tuned_places(policy)
    with progress() as shown:
        try:
            return tune_policy(dials, source.outcomes(shown, shadows=True), asked, tuned_before=before)
        except ValueError as error:
            raise bad_input(str(error)) from None


def _write(policy: Path, out: Path, found: "Sequence[Tuned]", *, overwrite: bool) -> str | None:
    """Write the thresholds that were found beside their evidence; return what became of the file."""
    from langroute.tuning.writing import write_tuned

    changes = [each.change for each in found if each.change is not None]
    if not changes:
        return None
    try:
        return write_tuned(policy, out, changes, day=datetime.now(UTC).date(), overwrite=overwrite)
    except (ValueError, OSError) as error:
        raise bad_input(str(error)) from None


def train(
    outcomes: OutcomesPath = None,
    *,
    step: Annotated[str, typer.Option(help="The step.")],
    kind: Annotated[Literal["prompt", "reply"], typer.Option(help="Before a reply, or after it.")],
    out: Annotated[Path, typer.Option(help="The file of the score to write (.json).")],
    ledger: MaybeLedger = None,
    tiers: Annotated[
        str | None, typer.Option(help="small,large: cheapest first; by default as they cost.")
    ] = None,
    confidence: Confidence = 0.9,
    judged_by: JudgedBy = None,
    since: Since = None,
    until: Until = None,
    seed: Annotated[int, typer.Option(help="Of folds and redraws.")] = 0,
    plot: PlotPath = None,
    as_json: AsJson = False,
) -> None:
    """Fit a learned score, and say what it is worth on queries that it has not seen.

    Exit code 0 where a score was written, 2 for bad input, 3 where it is refused.
    """
    needs_tune()
    from langroute.tuning.files import save_score
    from langroute.tuning.training import tiers_by_cost
    from langroute.tuning.training import train as fitted

    _check_plot(plot)
    source = Source(outcomes, ledger, [step], judged_by, "tenant", since, until)
    with progress() as shown:
        rows = source.alike(shown, kind)
    if not rows:
        raise bad_input(f"there is no reply of step {step} whose worth is known: {source.summary}")
    try:
        order = [tier.strip() for tier in tiers.split(",")] if tiers else tiers_by_cost(rows)
        found = fitted(rows, order, kind=kind, step=step, confidence=confidence, seed=seed)
    except ValueError as error:
        raise bad_input(str(error)) from None
    digest = None if found.score is None else save_score(found.score, out)
    if plot is not None:
        from langroute.tuning.plots import plot_trained

        plot_trained(plot, found)
    if as_json:
        print_json({"read": source.told, **found.as_dict(), "out": str(out), "digest": digest})
    else:
        _print_trained(found, source.summary, out)
    if found.score is None:
        raise typer.Exit(REFUSED)


def replay(
    policy: PolicyPath,
    outcomes: OutcomesPath = None,
    *,
    ledger: MaybeLedger = None,
    step: Annotated[list[str] | None, typer.Option(help="This step alone; may be given again.")] = None,
    confidence: Confidence = 0.9,
    judged_by: JudgedBy = None,
    since: Since = None,
    until: Until = None,
    plot: PlotPath = None,
    as_json: AsJson = False,
) -> None:
    """Say what logged runs would have come to under another policy, and where nobody knows."""
    needs_tune()
    from langroute.policy import Policy
    from langroute.tuning.replaying import replay_policy

    _check_plot(plot)
    other = Policy.load(policy)
    source = Source(outcomes, ledger, step or (), judged_by, "tenant", since, until)
    with progress() as shown:
        logs = source.logs(shown, other)
        try:
            found = replay_policy(other, logs, confidence=confidence)
        except ValueError as error:
            raise bad_input(str(error)) from None
    if outcomes is not None:
        found = [each.of_file(logs[each.step]) for each in found]
    if not found:
        raise bad_input(f"there is nothing to replay: {source.summary}")
    if plot is not None:
        from langroute.tuning.plots import plot_replayed

        plot_replayed(plot, found)
    if as_json:
        print_json({"policy": str(policy), "read": source.told, "steps": [e.as_dict() for e in found]})
    else:
        _print_replayed(found, source.summary)


def bench(
    outcomes: Annotated[Path, typer.Argument(help="Outcomes of two tiers: .parquet, .jsonl or .csv.")],
    *,
    score: Annotated[Path | None, typer.Option(help="A score that `langroute train` wrote.")] = None,
    tiers: Annotated[
        str | None, typer.Option(help="weak,strong; by default the cheapest, the dearest.")
    ] = None,
    step: Annotated[str | None, typer.Option(help="Outcomes of this step alone.")] = None,
    plot: PlotPath = None,
    as_json: AsJson = False,
) -> None:
    """Measure a score on outcomes that it was not fitted on, beside chance, prompt length and hindsight."""
    needs_tune()
    from langroute.tuning.benching import bench as measured
    from langroute.tuning.files import load_score
    from langroute.tuning.training import tiers_by_cost

    _check_plot(plot)
    source = Source(outcomes, None, [step] if step else ())
    learned = None if score is None else load_score(score)
    with progress() as shown:
        rows = list(source.outcomes(shown))
    try:
        order = [tier.strip() for tier in tiers.split(",")] if tiers else tiers_by_cost(rows)
        if len(order) < 2:  # noqa: PLR2004 - a weak and a strong one
            have = "--tiers names" if tiers else f"{outcomes} has"
            raise bad_input(f"{have} {'one tier' if order else 'no outcome'}: a benchmark compares two tiers")
        found = measured(rows, order[0], order[-1], learned)
    except ValueError as error:
        raise bad_input(str(error)) from None
    if plot is not None:
        from langroute.tuning.plots import plot_bench

        plot_bench(plot, found)
    if as_json:
        print_json(found.as_dict())
        return
    typer.echo(f"{found.queries:,} queries put to both {found.weak} and {found.strong}")
    for tier, said in ((found.weak, "cheap"), (found.strong, "strong")):
        typer.echo(f"always {said} ({tier}): quality {found.quality[tier]:.3f}, ${found.cost_usd[tier]:.6f}")
    told = [
        {
            "score": name,
            **{what: f"{cell:{'.3f' if what == 'APGR' else '.1f'}}" for what, cell in row.items()},
        }
        for name, row in found.rows.items()
    ]
    print_table(told, "95 % intervals in brackets; what is saved, in %, is read off these very queries")


def _print_tuned(found: "Sequence[Tuned]", summary: str, written: str | None) -> None:
    typer.echo(summary)
    print_table([_tuned_row(each) for each in found])
    for each in found:
        for said in (_verdict(each), *each.notes):
            typer.echo(f"  {each.dial.place}: {said}")
    if written is not None:
        typer.echo(written)


def _tuned_row(found: "Tuned") -> dict[str, str]:
    row = {"threshold": found.dial.place, "now": f"{found.dial.value:g}", "new": "refused"}
    row |= dict.fromkeys(("saves", "quality kept", "surely kept", "escalated", "rows"), "")
    tuning = found.tuning
    if tuning is None:
        return row
    row["rows"] = f"{tuning.rows:,} ({found.basis})"
    if tuning.threshold is not None:
        row["new"] = f"{tuning.threshold:g}"
        row["saves"] = f"{tuning.saving:.1%} ({tuning.saving_low:.1%} to {tuning.saving_high:.1%})"
        row["quality kept"] = "unknown" if tuning.kept is None else f"{tuning.kept:.1%}"
        least = tuning.kept_at_least
        row["surely kept"] = "on average" if least is None else f"{least:.1%}"
        row["escalated"] = f"{tuning.escalated:.1%}"
    return row


def _verdict(found: "Tuned") -> str:
    """Return what was decided of a threshold, in a sentence."""
    if found.tuning is None or found.threshold is None:
        rated = "" if found.basis == "shadowed" else " with feedback"
        more = "" if found.more is None else f" (about {found.more:,} more requests{rated})"
        return f"refused: {found.refusal}{more}"
    moves = "moves" if found.moved else "stays"
    tuning = found.tuning
    return f"{moves}, with {tuning.confidence:.0%} confidence for {tuning.floor:.0%} of the quality"


def _print_trained(found: "Trained", summary: str, out: Path) -> None:
    typer.echo(summary)
    if found.heads:
        print_table(
            [
                {
                    "tier": head.tier,
                    "labels": f"{head.labels:,}",
                    "right": f"{head.right:.1%}",
                    "area under the curve": str(head.auc or "all alike"),
                    "calibration error": str(head.calibration_error),
                }
                for head in found.heads
            ],
            "on queries that the score has not seen",
        )
    if found.refusal is not None:
        typer.echo(f"refused: {found.refusal}")
    else:
        typer.echo(f"{out}: the score of {found.step} {_used(found.kind)}")


def _used(kind: str) -> str:
    if kind == "prompt":
        return "before a reply; use it as `route: {learned: {model: …, threshold: …}}`, and tune that"
    return "after a reply; use it as `verify: [{learned: {model: …, min: …}}]`, and tune that"


def _print_replayed(found: "Sequence[StepReplay]", summary: str) -> None:
    typer.echo(summary)
    print_table([_replayed_row(each) for each in found])


def _replayed_row(found: "StepReplay") -> dict[str, str]:
    figures = found.whatif
    row = {"step": found.step or "(default)", "requests": f"{found.requests:,}"}
    if figures is None:
        return {**row, "basis": found.basis, **dict.fromkeys(_REPLAYED, ""), "said": found.unknown or ""}
    told = (
        (figures.cost_usd, figures.logged_usd, "${:z.6f}"),
        (figures.quality, figures.logged_quality, "{:z.3f}"),
        (figures.escalated, figures.logged_escalated, "{:z.1%}"),
        (figures.latency_s, figures.logged_latency_s, "{:z.3f} s"),
    )
    cells = [_cell(estimate, logged, form) for estimate, logged, form in told]
    said = found.unknown or f"{figures.replayed:,} replayed to their end"
    if figures.modelled and not figures.untried:
        said += f"; {figures.modelled:.0%} taken from what other requests came to"
    return {**row, "basis": found.basis, **dict(zip(_REPLAYED, cells, strict=True)), "said": said}


_REPLAYED = ("cost a request", "quality", "escalated", "latency")


def _cell(found: "Estimate | None", logged: float | None, form: str) -> str:
    was = "" if logged is None else f"\nlogged: {form.format(logged)}"
    if found is None:
        return f"unknown{was}"
    return f"{form.format(found.value)} ({form.format(found.low)} to {form.format(found.high)}){was}"
