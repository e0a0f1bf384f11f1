"""What the demo shows of a run: one row a step, the bill beside the top tier's, and how to see more."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from backend import shown_address
from langchain_core.language_models import BaseChatModel
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from langroute import Policy
from langroute.building import address
from langroute.cascade import Attempt
from langroute.cost import total_usd
from langroute.decision import Decision
from langroute.endpoints import Endpoint, Endpoints
from langroute.redaction import printable
from langroute.report.page import INSTALL

_COLUMNS = ("step", "tier", "model", "why", "attempts", "verdicts", "latency", "cost")
_UNBROKEN = ("step", "tier", "latency", "cost")
_TABLE_FROM_COLUMNS = 120
"""Width below which the table's cells would be a word wide."""
_UNREACHED = ("connection", "cut_stream", "timeout")
"""Failures that the address may explain."""
_ASSUMPTION = "an estimate: each step's returned reply, its tokens at the top tier's price, accepted at once"
_WORTH_SAYING = 0.005
"""Share below which two sums are called the same."""
_WIDTH_WITHOUT_TERMINAL = 160


class _Plain(Console):
    """A console on which no question, file name or reply can steer the terminal."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Return the text, what a terminal would obey replaced."""
        return super().render_str(printable(text), **how)


def open_console() -> Console:
    """Return where to print: as wide as the terminal, or wide enough for the table where there is none."""
    known_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return _Plain(width=None if known_width else _WIDTH_WITHOUT_TERMINAL, markup=False, highlight=False)


def steps_view(decisions: Sequence[Decision], width: int) -> Table | Group:
    """Return the steps of one question as a table, or in a narrow terminal one below the other."""
    rows = [_row(decision) for decision in decisions]
    return _table(rows) if width >= _TABLE_FROM_COLUMNS else Group(*(_block(row) for row in rows))


def failed_calls(policy: Policy, decisions: Sequence[Decision]) -> list[str]:
    """Return why calls failed, each reason once; the address too where an endpoint was not reached."""
    endpoints = Endpoints(policy).by_name
    lines = []
    for attempt in (attempt for decision in decisions for attempt in decision.attempts):
        if failure := attempt.failure:
            at = _address(endpoints[attempt.endpoint]) if failure.kind in _UNREACHED else ""
            lines.append(f"{attempt.endpoint} failed: {failure.kind}{at}: {failure.message}")
    return list(dict.fromkeys(lines))


def bill(policy: Policy, decisions: Sequence[Decision]) -> Group:
    """Return what the run cost, what the top tier everywhere would have, and the difference in words."""
    top = policy.tier_order[-1]
    spent = total_usd(decision.cost_usd for decision in decisions)
    everywhere = total_usd(_at_top_price(decision, Endpoints(policy).tier(top)) for decision in decisions)
    attempts = [attempt for decision in decisions for attempt in decision.attempts]
    counts = ", ".join(
        f"{sum(a.outcome == o for a in attempts)} {o}" for o in ("accepted", "rejected", "failed")
    )
    return Group(
        Text(f"This run: {len(decisions)} steps, {len(attempts)} calls ({counts})."),
        Text(f"Cost of this run, rejected drafts included: {_usd(spent)}"),
        Text(f"Cost with tier {top} everywhere: {_usd(everywhere)} ({_ASSUMPTION})"),
        Text(_difference(spent, everywhere), style="bold"),
    )


def offer(ledger: Path) -> str:
    """Return how to see more of a run whose ledger is kept: commands that work where the demo was started."""
    report = f"{_langroute()} report --ledger {shlex.quote(str(ledger))}"
    lines = ["", "Every decision of this run is in its ledger. In the terminal, or as one page:"]
    lines += [f"    {report}", f"    {report} --html report.html"]
    if find_spec("plotly") is None:
        lines.append(f"The page needs its charts: {INSTALL}")
    tuning = shlex.join((_short(Path(sys.executable)), _short(Path(__file__).with_name("tuning.py"))))
    lines += ["A policy tuned from the log of 2,000 requests, before and after:", f"    {tuning}"]
    return "\n".join(lines)


def _langroute() -> str:
    """Return the command of this installation, as short as it works here."""
    script = shutil.which("langroute", path=str(Path(sys.executable).parent))
    if script is None:
        return f"{shlex.quote(sys.executable)} -m langroute.cli"
    if shutil.which("langroute") == script:
        return "langroute"
    return shlex.quote(_short(Path(script)))


def _short(path: Path) -> str:
    """Return a path from the current folder on, where it lies in there."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _table(rows: Sequence[Sequence[str]]) -> Table:
    table = Table(show_lines=True, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, overflow="fold", no_wrap=name in _UNBROKEN)
    for column in table.columns[-2:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _block(row: Sequence[str]) -> Group:
    """Return one step in a few lines: what it came to, and below it the cells that are long."""
    step, tier, model, *long, latency, cost = row
    details = Table.grid(padding=(0, 2, 0, 0))
    details.add_column(no_wrap=True)
    details.add_column(overflow="fold")
    for name, text in zip(_COLUMNS[3:6], long, strict=True):
        if text:
            details.add_row(Text(f"  {name}"), Text(text))
    by = tier if tier == model else f"{tier} ({model})"
    return Group(Text(f"{step}: {by}, {latency}, {cost}", style="bold"), details)


def _address(endpoint: Endpoint) -> str:
    given = endpoint.spec.model if isinstance(endpoint.spec.model, BaseChatModel) else None
    set_to = address(given, endpoint.provider, endpoint.spec.settings)
    return f" at {shown_address(set_to)}" if set_to else ""


def _row(decision: Decision) -> tuple[str, ...]:
    chosen = decision.attempts[decision.chosen] if decision.chosen is not None else None
    return (
        decision.step.step,
        chosen.tier if chosen else "none",
        (chosen.model or chosen.endpoint) if chosen else "none",
        "; ".join((decision.step.reason, *decision.plan.reasons)),
        " → ".join(f"{attempt.endpoint} {_outcome(attempt)}" for attempt in decision.attempts),
        "\n".join(line for attempt in decision.attempts for line in _verdicts(attempt)),
        f"{decision.latency_s * 1000:.0f} ms",
        _usd(decision.cost_usd),
    )


def _outcome(attempt: Attempt) -> str:
    return f"{attempt.outcome} ({attempt.failure.kind})" if attempt.failure else attempt.outcome


def _verdicts(attempt: Attempt) -> list[str]:
    """Return what was found wrong with a rejected reply, and what an accepted one passed."""
    if attempt.outcome == "rejected":
        return [f"{attempt.endpoint}: {finding}" for finding in attempt.findings]
    passed = ", ".join(verdict.verifier for verdict in attempt.verdicts if verdict.accepted)
    return [f"{attempt.endpoint}: {passed} passed"] if passed else []


def _at_top_price(decision: Decision, endpoints: Sequence[Endpoint]) -> float | None:
    """Return what a step's reply would have cost at the top tier; None where usage or price is unknown."""
    usage = decision.attempts[decision.chosen].usage if decision.chosen is not None else None
    if usage is None:
        return None
    prices = (endpoint.price(usage.input_tokens) for endpoint in endpoints)
    price = next((price for price in prices if price is not None), None)
    return price.cost_usd(usage) if price else None


def _difference(spent: float | None, everywhere: float | None) -> str:
    if spent is None or everywhere is None or everywhere == 0:
        return "Whether routing saved anything is unknown: a price or a count of tokens is."
    share = abs(spent - everywhere) / everywhere
    if share < _WORTH_SAYING:
        return "Routing cost as much as the top tier everywhere."
    if spent > everywhere:
        return (
            f"Routing cost {share:.0%} MORE than the top tier everywhere: rejected drafts are paid for too."
        )
    return f"Routing saved {share:.0%}."


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"${amount:.6f}"
