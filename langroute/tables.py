"""The policy as a person reads it, the routing spec: tables of its steps, its rules and its stakes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langroute.bindings import bindings

if TYPE_CHECKING:
    from langroute.policy import BudgetPolicy, ModelSpec, Policy, StepPolicy, When

__all__ = ["RuleRow", "Spec", "StakesRow", "StepRow", "routing_spec"]


@dataclass(frozen=True, slots=True)
class StepRow:
    """How one step is bound."""

    step: str
    nodes: str
    """Patterns of the graph's nodes that are this step."""
    cascade: str
    """A function where there is one, then one tier a line, its endpoints after it, the first preferred."""
    starts_higher: str
    """One reason a line for which it starts above its first tier: difficulty, tools, stakes."""
    verifiers: str
    repair: str
    on_exhausted: str
    blame: str
    """Earlier step that answers again when a check blames this one's input; "" without one."""
    boundary: str
    latency_budget: str
    why: str
    reviewed: str


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule; the first whose conditions hold decides."""

    rule: str
    """Its name, or `#` and its place."""
    when: str
    """One condition a line, all of which must hold."""
    start: str


@dataclass(frozen=True, slots=True)
class StakesRow:
    """One level of stakes."""

    level: str
    lowest_tier: str
    tools: str
    """Tools that carry the level."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The whole routing spec, as text for a person; a table without rows is an empty tuple."""

    steps: tuple[StepRow, ...]
    """One row a step, the default last."""
    rules: tuple[RuleRow, ...]
    stakes: tuple[StakesRow, ...]
    budget: str
    """The limits on money and what needs approval; "" without a limit."""


def routing_spec(policy: "Policy") -> Spec:
    """Return the tables of a policy."""
    return Spec(
        steps=tuple(_step_row(policy, str(loc[-1]), step) for loc, step in bindings(policy)),
        rules=tuple(
            RuleRow(rule.name or f"#{number}", "\n".join(_conditions(rule.when)) or "always", rule.start)
            for number, rule in enumerate(policy.rules, 1)
        ),
        stakes=tuple(
            StakesRow(name, level.tier, ", ".join(t for t, of in policy.stakes.tools.items() if of == name))
            for name, level in policy.stakes.levels.items()
        ),
        budget="; ".join(_budget(policy.budget)),
    )


def _budget(budget: "BudgetPolicy") -> Iterator[str]:
    for scope in ("call", "run", "thread", "day"):
        limit = getattr(budget, f"per_{scope}_usd")
        if limit is not None:
            yield f"at most {limit:g} USD a {scope}"
    for key, of_key in budget.keys.items():
        yield f"at most {of_key.per_day_usd:g} USD a day for each {key}"
    if budget.approve_above_usd is not None:
        yield f"an escalation expected to cost more than {budget.approve_above_usd:g} USD needs approval"


def _step_row(policy: "Policy", name: str, step: "StepPolicy") -> StepRow:
    return StepRow(
        step=name,
        nodes=", ".join(step.nodes),
        cascade="\n".join(_rungs(policy, step)),
        starts_higher="\n".join(_higher_starts(policy, step)),
        verifiers=", ".join(verifier.name for verifier in step.verify),
        repair=str(step.repair),
        on_exhausted=step.on_exhausted,
        blame=step.blame or "",
        boundary=", ".join(step.boundary or ()),
        latency_budget="" if step.latency_budget_s is None else f"{step.latency_budget_s:g} s",
        why=step.why or "",
        reviewed=step.reviewed.isoformat() if step.reviewed else "",
    )


def _rungs(policy: "Policy", step: "StepPolicy") -> Iterator[str]:
    function = step.cascade.function
    if function is not None:
        checks = "" if function.verify is None else ", ".join(check.name for check in function.verify)
        checked = "" if function.verify is None else f" (verify: {checks or 'nothing'})"
        yield f"function {function.function}{checked}"
    for tier in step.cascade:
        yield f"{tier}: {', '.join(_called(spec) for spec in policy.tiers[tier].models)}"


def _called(spec: "ModelSpec") -> str:
    return spec.name or type(spec.model).__name__


def _higher_starts(policy: "Policy", step: "StepPolicy") -> Iterator[str]:
    if step.route.difficulty is not None:
        yield f"difficulty from {step.route.difficulty.threshold:g}"
    if step.route.learned is not None:
        yield f"learned gain from {step.route.learned.threshold:g}"
    yield from (f"after {tool}: {tier}" for tool, tier in step.after_tool.items())
    if step.on_tool_error is not None:
        yield f"on a tool error: {step.on_tool_error}"
    if step.stakes is not None:
        yield f"stakes {step.stakes}: {policy.stakes.levels[step.stakes].tier}"


def _conditions(when: "When") -> Iterator[str]:
    for key, wanted in when.model_dump(exclude_none=True).items():
        if isinstance(wanted, dict):
            yield from (f"{key} {name}: {_words(value)}" for name, value in wanted.items())
        else:
            yield f"{key.replace('_', ' ')}: {_words(wanted)}"


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
