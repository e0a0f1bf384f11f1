"""The report in a terminal."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from langroute.redaction import printable
from langroute.report.data import ArmRow, Drift, ReportData, Rise, Saving, StepRow, Totals, VerifierRow
from langroute.report.explorer import DIFFICULTY, Explorer, Outlook, StepExplorer
from langroute.report.statistics import Rate
from langroute.report.wording import beyond_chance, day, estimated, percent, rate, seconds, too_few, usd

__all__ = ["drift_tables", "explored", "tables"]

_SHOWN_ROWS = 30
"""Rows of a table in a terminal; the page and `--json` have them all."""

_SHOWN_MODELS = 3

_Column = tuple[str, Callable[..., str], bool]
"""Heading, text of a row, and whether it is a number."""


def tables(data: ReportData) -> Group:
    """Return the report as tables, one below the other."""
    return Group(*_parts(data))


def explored(explorer: Explorer, steps: Container[str]) -> Group:
    """Return what these steps would come to at the thresholds that the explorer begins with."""
    shown = [step for step in explorer.steps if step.step in steps]
    return Group(*map(_explored, shown), _said(explorer.assumption, "dim"))


def _explored(step: StepExplorer) -> RenderableType:
    ways = [(way.name, way.at(step.start_at, step.accept_at)) for way in step.ways]
    columns: list[_Column] = [("", lambda row: row[0], False)]
    for name, outlook in (("as it ran", step.ran), *ways, (f"{step.top} everywhere", step.everywhere)):
        columns.append((name, lambda row, outlook=outlook: row[1](outlook, step), True))
    start = f"{step.top} from {DIFFICULTY} {step.starts[step.start_at]:g}"
    accept = f", accepted from {step.score} {step.accepts[step.accept_at]:g}" if step.score else ""
    return _table(f"{step.step}: {start}{accept} ({step.requests:,} decisions)", columns, _OUTLOOK)


def _share_saved(outlook: Outlook, step: StepExplorer) -> str:
    everywhere_usd = step.everywhere.cost_usd
    if outlook.cost_usd is None or not everywhere_usd:
        return "unknown"
    return percent(1 - outlook.cost_usd / everywhere_usd)


def _quality(outlook: Outlook, _: StepExplorer) -> str:
    if outlook.quality is None:
        return "too little feedback"
    return f"{percent(outlook.quality)} ({percent(outlook.quality_low)} to {percent(outlook.quality_high)})"


_OUTLOOK: list[tuple[str, Callable[[Outlook, StepExplorer], str]]] = [
    ("cost a request", lambda outlook, _: usd(outlook.cost_usd)),
    ("saved", _share_saved),
    ("quality", _quality),
    ("latency", lambda outlook, _: seconds(outlook.latency_s) or "unknown"),
    ("escalated", lambda outlook, _: percent(outlook.escalated)),
    ("starts at the top", lambda outlook, _: percent(outlook.top_first)),
    ("estimated", lambda outlook, _: percent(outlook.estimated)),
    ("quality estimated", lambda outlook, _: percent(outlook.estimated_quality)),
]


def _parts(data: ReportData) -> Iterator[RenderableType]:
    yield _said(data.headline, "bold")
    yield _said(data.lately)
    yield _said(data.assumption, "dim")
    yield _said(f"{data.totals.decisions:,} decisions, {day(data.since_s)} to {day(data.until_s)} UTC", "dim")
    yield _table("what was paid", _paid_columns(), _with_all(data))
    yield _table(f"saved, by {data.payoff.period}", _period_columns(data), data.payoff.periods)
    yield _table("any one tier everywhere", _SAVINGS, data.savings)
    yield _table("how often, with 95 % intervals", _rate_columns(data), _with_all(data))
    yield _table("routing worksheet", _WORKSHEET, data.steps)
    yield _table("endpoints", _ENDPOINTS, data.endpoints)
    yield _table("verifiers", _verifier_columns(data), data.verifiers)
    if data.labels:
        yield _said(data.labels_note, "dim")
    yield _table("what the top tier says to cheap replies (shadows)", _SHADOWS, data.shadows)
    yield _table("policies", _policy_columns(data), data.policies)
    yield _table("the policy beside its canary", _arm_columns(data), data.arms)
    yield drift_tables(data.recent_s, data.drift, data.rises)
    yield _table("calls that look like another step", _MISMATCHES, data.mismatches)
    for line in data.omitted:
        yield _said(line, "dim")


def drift_tables(recent_s: float, drift: Iterable[Drift], rises: Iterable[Rise]) -> Group:
    """Return how far each measure moved since a moment, and which endpoints fail more."""
    return Group(
        _table(f"drift since {day(recent_s)}", _DRIFT, drift),
        _table(f"failures since {day(recent_s)}", _RISES, rises),
    )


def _said(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _table(title: str, columns: Sequence[_Column], rows: Iterable[object]) -> RenderableType:
    """Return a table, or nothing where there are no rows."""
    found = list(rows)
    if not found:
        return Text()
    more = f" (the first {_SHOWN_ROWS} of {len(found):,})" if len(found) > _SHOWN_ROWS else ""
    table = Table(title=_said(f"\n{title}{more}"), title_justify="left", title_style="bold")
    for heading, _, number in columns:
        table.add_column(_said(heading), justify="right" if number else "left", overflow="fold")
    for row in found[:_SHOWN_ROWS]:
        table.add_row(*(_said(text(row)) for _, text, _ in columns))
    return table


def _with_all(data: ReportData) -> list[tuple[str, Totals, Saving | None]]:
    """Return name, sums and comparison of all decisions, then of each step."""
    steps = [(row.step, row.totals, row.saving) for row in data.steps]
    return [("all", data.totals, data.top), *steps]


def _saved(saving: Saving | None) -> str:
    return percent(saving.share if saving else None)


def _paid_columns() -> list[_Column]:
    return [
        ("step", lambda row: row[0], False),
        ("decisions", lambda row: f"{row[1].decisions:,}", True),
        ("paid", lambda row: usd(row[1].cost_usd), True),
        ("replies", lambda row: usd(row[1].accepted_usd), True),
        ("rejected drafts", lambda row: usd(row[1].drafts_usd), True),
        ("failed", lambda row: usd(row[1].failed_usd), True),
        ("checks", lambda row: usd(row[1].checks_usd + row[1].classifiers_usd), True),
        ("shadows", lambda row: usd(row[1].shadows_usd), True),
        ("top tier everywhere", lambda row: usd(row[2].baseline_usd if row[2] else None), True),
        ("saved", lambda row: _saved(row[2]), True),
        ("cost unknown", lambda row: f"{row[1].unknown:,}", True),
    ]


def _rate_columns(data: ReportData) -> list[_Column]:
    least = data.least_labels
    names: tuple[tuple[str, Callable[[Totals], Rate | None]], ...] = (
        ("escalated", lambda totals: totals.escalated),
        ("fell back", lambda totals: totals.fell_back),
        ("repaired", lambda totals: totals.repaired),
        ("calls that failed", lambda totals: totals.failed_calls),
        ("cheap model wrong", lambda totals: totals.misrouted),
    )
    found: list[_Column] = [("step", lambda row: row[0], False)]
    found += [
        (name, lambda row, of=of: rate(of(row[1]), too_few(row[1].cheap_labels, least)), True)
        for name, of in names
    ]
    return found


def _period_columns(data: ReportData) -> list[_Column]:
    return [
        ("from (UTC)", lambda row: day(row.start_s, data.payoff.period_s), False),
        ("compared", lambda row: f"{row.requests:,}", True),
        ("saved", lambda row: estimated(row.saved_usd, usd), True),
        ("of the top tier's cost", lambda row: estimated(row.share, percent), True),
    ]


_SAVINGS: list[_Column] = [
    ("tier everywhere", lambda row: row.tier, False),
    ("would have cost", lambda row: usd(row.baseline_usd), True),
    ("was paid", lambda row: usd(row.cost_usd), True),
    ("saved", _saved, True),
    ("compared", lambda row: f"{row.compared:,}", True),
    ("left out", lambda row: f"{row.left_out:,}", True),
]


def _tokens(row: StepRow) -> str:
    known = (row.input_tokens, row.output_tokens)
    return " / ".join("unknown" if tokens is None else f"{tokens:,.0f}" for tokens in known)


_WORKSHEET: list[_Column] = [
    ("step", lambda row: row.step, False),
    ("traffic", lambda row: percent(row.share), True),
    ("threshold", lambda row: row.threshold, False),
    ("primary", lambda row: row.primary, False),
    ("fallback", lambda row: row.fallback, False),
    ("escalates to", lambda row: row.escalates_to, False),
    ("tokens in / out", _tokens, True),
    ("verifiers", lambda row: ", ".join(row.verifiers), False),
    ("pass rate", lambda row: rate(row.passed), True),
    ("p50 / p95", lambda row: f"{seconds(row.latency_p50_s)} / {seconds(row.latency_p95_s)}", True),
    ("cost a request", lambda row: usd(row.cost_per_request_usd), True),
    ("last review", lambda row: row.reviewed, False),
]

_ENDPOINTS: list[_Column] = [
    ("endpoint", lambda row: row.endpoint, False),
    ("models that answered", lambda row: ", ".join(row.models[:_SHOWN_MODELS]), False),
    ("calls", lambda row: f"{row.calls:,}", True),
    ("asked by checks", lambda row: f"{row.asked:,}", True),
    ("failed", lambda row: rate(row.failed), True),
    ("how", lambda row: ", ".join(f"{kind} {count:,}" for kind, count in row.kinds), False),
    ("p50 / p95", lambda row: f"{seconds(row.latency_p50_s)} / {seconds(row.latency_p95_s)}", True),
    ("paid", lambda row: usd(row.cost_usd), True),
]


def _verifier_columns(data: ReportData) -> list[_Column]:
    def agreed(name: str) -> Callable[[VerifierRow], str]:
        def text(row: VerifierRow) -> str:
            found = getattr(row.agreement, name, None)
            return rate(found, too_few(row.labels, data.least_labels))

        return text

    return [
        ("verifier", lambda row: row.verifier, False),
        ("verdicts", lambda row: f"{row.rejected.of:,}", True),
        ("rejected", lambda row: rate(row.rejected), True),
        ("could not check", lambda row: f"{row.unsure:,}", True),
        ("accepted, but wrong", agreed("false_accept"), True),
        ("rejected, but right", agreed("false_reject"), True),
        ("agrees with people", agreed("agreed"), True),
        ("kappa", lambda row: beyond_chance(row.agreement.kappa if row.agreement else None), True),
        ("labels", _labels, True),
    ]


def _labels(row: VerifierRow) -> str:
    return f"{row.labels:,} drawn" if row.agreement and row.agreement.drawn else f"{row.labels:,}"


def _policy_columns(data: ReportData) -> list[_Column]:
    return [
        ("policy", lambda row: row.policy[:12], False),
        ("decisions", lambda row: f"{row.decisions:,}", True),
        ("cost a request", lambda row: usd(row.cost_per_request_usd), True),
        ("accepted", lambda row: rate(row.accepted), True),
        ("right", lambda row: rate(row.right, too_few(row.labels, data.least_labels)), True),
        ("saved", lambda row: _saved(row.saving), True),
    ]


def _arm_columns(data: ReportData) -> list[_Column]:
    return [
        ("arm", lambda row: row.arm, False),
        ("policy", lambda row: ", ".join(row.policies[:3]), False),
        ("decisions", lambda row: f"{row.decisions:,}", True),
        ("cost a request", _mean_cost, True),
        ("accepted", lambda row: rate(row.accepted), True),
        ("escalated", lambda row: rate(row.escalated), True),
        ("p50 / p95", lambda row: f"{seconds(row.latency_p50_s)} / {seconds(row.latency_p95_s)}", True),
        ("right", lambda row: rate(row.right, too_few(row.labels, data.least_labels)), True),
    ]


def _mean_cost(row: ArmRow) -> str:
    if row.cost_low_usd is None:
        return usd(row.cost_per_request_usd)
    return f"{usd(row.cost_per_request_usd)} ({usd(row.cost_low_usd)} to {usd(row.cost_high_usd)})"


_SHADOWS: list[_Column] = [
    ("step", lambda row: row.step, False),
    ("compared", lambda row: f"{row.misrouted.of:,}", True),
    ("cheap wrong, top tier right", lambda row: rate(row.misrouted), True),
    ("both wrong", lambda row: f"{row.neither:,}", True),
    ("judge unsure", lambda row: f"{row.unsure:,}", True),
    ("not compared", lambda row: ", ".join(f"{how} {count:,}" for how, count in row.lost), False),
    ("paid", lambda row: usd(row.cost_usd), True),
]

_DRIFT: list[_Column] = [
    ("measure", lambda row: row.measure, False),
    ("verdict", lambda row: row.verdict, False),
    ("PSI", lambda row: "" if row.psi is None else f"{row.psi:.3f}", True),
    ("chance", lambda row: "" if row.p_value is None else f"{row.p_value:.3f}", True),
    ("before", lambda row: f"{row.reference:,}", True),
    ("recent", lambda row: f"{row.recent:,}", True),
]

_RISES: list[_Column] = [
    ("endpoint", lambda row: row.endpoint, False),
    ("verdict", lambda row: row.verdict, False),
    ("failed before", lambda row: rate(row.before), True),
    ("recently", lambda row: rate(row.recent), True),
    ("chance", lambda row: "" if row.p_value is None else f"{row.p_value:.3f}", True),
]

_MISMATCHES: list[_Column] = [
    ("declared", lambda row: row.step, False),
    ("looks like", lambda row: row.looks_like, False),
    ("calls", lambda row: f"{row.calls.count:,}", True),
    ("of the step", lambda row: rate(row.calls), True),
]
