"""What the demo shows of a run: one row a step, and the bill beside that of the top tier everywhere."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from langroute import Policy
from langroute.cascade import Attempt
from langroute.cost import total_usd
from langroute.decision import Decision
from langroute.endpoints import Endpoint, Endpoints

_COLUMNS = ("step", "tier", "model", "why", "attempts", "verdicts", "latency", "cost")
_ASSUMPTION = "an estimate: each step's returned reply, its tokens at the top tier's price, accepted at once"
_WORTH_SAYING = 0.005
"""Share below which two sums are called the same."""


def steps_table(decisions: Sequence[Decision]) -> Table:
    """Return a table with one row for each step of one question."""
    table = Table(show_lines=True, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(
            column, justify="right" if column in ("latency", "cost") else "left", overflow="fold"
        )
    for decision in decisions:
        table.add_row(*(Text(cell) for cell in _row(decision)))
    return table


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
