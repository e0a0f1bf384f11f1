"""Finds what works but will surprise its author: rules that never match, tiers nobody uses, idle checks."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from langroute.bindings import STEPS, bindings, verifiers_of
from langroute.building import lacking, providers, setting_names, split
from langroute.errors import PolicyProblem
from langroute.problems import NOTHING, Loc, closest, problem

if TYPE_CHECKING:
    from langroute.policy import ModelSpec, Policy, RulePolicy, StepPolicy, When

__all__ = ["warnings"]

_NAME_CHARS = 64
"""Longest name that is compared with known ones."""

_LISTS = ("step", "keywords", "patterns", "tools", "language", "intent")


def warnings(policy: "Policy", *, today: date | None = None) -> tuple[PolicyProblem, ...]:
    """Return what a person should look at, although the policy can be used.

    Args:
        policy: A checked policy.
        today: The day against which review dates are read; the machine's own day where it is None.
    """
    day = today or datetime.now().astimezone().date()
    return (
        *_rules(policy),
        *_names(policy),
        *_budget(policy),
        *_shadows(policy),
        *_models(policy),
        *_nodes(policy),
        *_classifier(policy),
        *(found for loc, step in bindings(policy) for found in _step(policy, loc, step, day)),
    )


def _rules(policy: "Policy") -> Iterator[PolicyProblem]:
    for index, rule in enumerate(policy.rules):
        earlier = next((i for i in range(index) if _implies(rule.when, policy.rules[i].when)), None)
        if earlier is not None:
            title = policy.rules[earlier].name or f"#{earlier + 1}"
            message = f"can never match: rule {title} takes everything that it would"
            yield problem(("rules", index), rule.name or NOTHING, message, "Move it up, or remove it.")
        yield from _without_effect(policy, index, rule)


def _implies(when: "When", earlier: "When") -> bool:
    """Whether every request for which `when` holds is one for which `earlier` holds."""
    for key in _LISTS:
        mine, theirs = getattr(when, key), getattr(earlier, key)
        if theirs is not None and (mine is None or not set(mine) <= set(theirs)):
            return False
    for unit in ("tokens", "documents"):
        for limit, sign in ((f"min_{unit}", 1), (f"max_{unit}", -1)):
            mine, theirs = getattr(when, limit), getattr(earlier, limit)
            if theirs is not None and (mine is None or sign * mine < sign * theirs):
                return False
    wanted = when.metadata or {}
    return all(
        key in wanted and all(value in _values(allowed) for value in _values(wanted[key]))
        for key, allowed in (earlier.metadata or {}).items()
    )


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _without_effect(policy: "Policy", index: int, rule: "RulePolicy") -> Iterator[PolicyProblem]:
    """Yield where a rule starts no step anywhere else than it would start without the rule."""
    rank = policy.tier_order.index
    loc: Loc = ("rules", index, "start")
    steps = (
        [policy.step(name) for name in rule.when.step] if rule.when.step else [b for _, b in bindings(policy)]
    )
    if all(rank(rule.start) < rank(step.cascade[0]) for step in steps):
        message = "below the first tier of every step the rule is for: they start higher anyway"
        yield problem(loc, rule.start, message, "Name a tier of their cascades, or remove the rule.")
    if all(rank(rule.start) > rank(step.cascade[-1]) for step in steps):
        message = "above the last tier of every step the rule is for: a step never leaves its cascade"
        yield problem(loc, rule.start, message, "Add the tier to their cascades, or start lower.")


def _names(policy: "Policy") -> Iterator[PolicyProblem]:
    steps = [step for _, step in bindings(policy)]
    used = {tier for step in steps for tier in (*step.cascade, *_judges(step))} | {policy.classify.model}
    for tier in policy.tiers:
        if tier not in used:
            yield problem(
                ("tiers", tier), NOTHING, "no step uses this tier", "Add it to a cascade, or remove it."
            )
    for index, rule in enumerate(policy.rules):
        for number, step in enumerate(rule.when.step or ()):
            yield from _unbound(policy, ("rules", index, "when", "step", number), step)
    for key in ("keywords", "examples"):
        for step in getattr(policy.classify, key):
            yield from _unbound(policy, ("classify", key, step), step)
    for level, demand in policy.stakes.levels.items():
        if not any(
            policy.tier_order.index(step.cascade[-1]) >= policy.tier_order.index(demand.tier)
            for step in steps
        ):
            message = "no step's cascade reaches this tier, so that no step can meet the level"
            yield problem(("stakes", level, "tier"), demand.tier, message, "Add the tier to a cascade.")


def _unbound(policy: "Policy", loc: Loc, step: str) -> Iterator[PolicyProblem]:
    if step in STEPS and step not in policy.steps:
        yield problem(
            loc, step, "`steps` does not bind this step: it takes the default", "Bind it in `steps`."
        )


def _budget(policy: "Policy") -> Iterator[PolicyProblem]:
    limit = policy.budget.approve_above_usd
    if limit is not None and all(len(step.cascade) == 1 for _, step in bindings(policy)):
        message = "nobody is ever asked: every step has one tier, so that nothing escalates"
        yield problem(("budget", "approve_above_usd"), limit, message, "Remove it, or give a step a cascade.")
    elif limit is not None:
        yield _unasked(("budget", "approve_above_usd"), limit)


def _shadows(policy: "Policy") -> Iterator[PolicyProblem]:
    """Yield the judges of shadows that would have to judge their own replies."""
    top = policy.tier_order[-1]
    for index, shadow in enumerate(policy.shadow):
        if isinstance(shadow.compare, str):
            continue
        tier = shadow.compare.judge.tier or top
        if tier == top and len(policy.tiers[top].models) == 1:
            message = f"`{top}` judges its own replies, and models favour those: its one endpoint gives them"
            remedy = f"Give `{top}` a second model, or name another tier to judge."
            yield problem(("shadow", index, "compare", "judge", "tier"), tier, message, remedy)


def _unasked(loc: Loc, value: Any) -> PolicyProblem:
    message = "a chat model or an agent cannot ask a person: where one is due, it raises ApprovalRequired"
    return problem(
        loc, value, message, "Put the step into a graph with `add_routed_step`, whose nodes can ask."
    )


def _models(policy: "Policy") -> Iterator[PolicyProblem]:
    """Yield providers unknown to LangChain or not installed, and settings that `openai:` models lack."""
    known = providers()
    for name, tier in policy.tiers.items():
        for index, spec in enumerate(tier.models):
            if not isinstance(spec.model, str):
                continue
            loc = ("tiers", name, "models", index)
            provider = split(spec.model)[0]
            package = known.get(provider.replace("-", "_").lower())
            if known and package is None:
                message = f"LangChain knows no provider `{provider}`"
                yield problem((*loc, "model"), spec.model, message, _near(provider, known))
            elif install := lacking(provider, package):
                message = "cannot be built: a package that its provider needs is not installed"
                yield problem((*loc, "model"), spec.model, message, f"Run `{install}`.")
            elif provider == "openai" and spec.settings:
                yield from _settings((*loc, "settings"), spec.settings)


def _settings(loc: Loc, settings: Mapping[str, Any]) -> Iterator[PolicyProblem]:
    known = setting_names()
    for key, value in settings.items():
        if key not in known:
            message = "ChatOpenAI has no such setting, and passes it on to the provider as it is"
            yield problem((*loc, key), value, message, _near(key, known))


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name[:_NAME_CHARS], known, n=1)
    return f"Did you mean `{near[0]}`?" if near else "Check the name."


def _nodes(policy: "Policy") -> Iterator[PolicyProblem]:
    first: dict[str, str] = {}
    for name, step in policy.steps.items():
        for index, pattern in enumerate(step.nodes):
            owner = first.setdefault(pattern, name)
            if owner != name:
                message = f"step `{owner}` has the same pattern and takes its nodes"
                yield problem(
                    ("steps", name, "nodes", index), pattern, message, "Keep it in one of the steps."
                )


def _classifier(policy: "Policy") -> Iterator[PolicyProblem]:
    """Yield a classifier that may see no prompt, since the prompt may be one of a step that forbids it."""
    tier = policy.classify.model
    if tier is None:
        return
    runs_in = policy.tiers[tier].models[0].boundary
    against = [
        str(loc[-1])
        for loc, step in bindings(policy)
        if step.boundary is not None and runs_in not in step.boundary
    ]
    if against:
        message = (
            f"is never asked: it runs in `{runs_in}`, and any prompt may belong to {_quoted(against)}, "
            "whose boundary forbids that"
        )
        yield problem(
            ("classify", "model"), tier, message, "Name a tier that runs where every step allows it."
        )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _step(policy: "Policy", loc: Loc, step: "StepPolicy", today: date) -> Iterator[PolicyProblem]:
    if step.reviewed is not None and step.reviewed > today:
        yield problem(
            (*loc, "reviewed"), step.reviewed.isoformat(), "a day in the future", "Correct the date."
        )
    function = step.cascade.function
    judges_function = function is not None and function.verify is None
    idle = len(step.cascade) == 1 and not step.repair and step.blame is None and not judges_function
    if step.verify and idle and step.on_exhausted == "best":
        message = "a rejection changes nothing: one tier, no repair, and `best` returns the rejected reply"
        remedy = "Add a tier or `repair: 1`, or write `on_exhausted: raise`."
        yield problem((*loc, "verify"), [v.name for v in step.verify], message, remedy)
    yield from _undecided(policy, loc, step)
    if step.on_exhausted == "ask":
        yield _unasked((*loc, "on_exhausted"), "ask")
    labels = {spec.boundary for tier in policy.tiers.values() for spec in tier.models}
    for index, label in enumerate(step.boundary or ()):
        if label not in labels:
            yield problem(
                (*loc, "boundary", index),
                label,
                "no endpoint runs there",
                closest(label, sorted(labels), "Correct it, or remove it."),
            )
    specs = [spec for tier in step.cascade for spec in policy.tiers[tier].models]
    for index, verifier in enumerate(step.verify):
        at = (*loc, "verify", index)
        if verifier.name == "confidence":
            yield from _no_logprobs(at, specs)
        for tier in verifier.tiers():
            if tier in step.cascade and len(policy.tiers[tier].models) == 1:
                message = (
                    f"cannot ask tier `{tier}` about its own replies: its one endpoint is the one under check"
                )
                yield problem(
                    at, verifier.name, message, f"Give `{tier}` a second model, or name another tier."
                )


def _undecided(policy: "Policy", loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield what waits for a rejection that nothing of the step can give."""
    if step.blame is not None and not any(verifier.may_blame_input for verifier in step.verify):
        message = "nobody is ever blamed: no check of this step compares the reply with its sources"
        remedy = "Add `citations` or `grounded` to `verify`, or remove `blame`."
        yield problem((*loc, "blame"), step.blame, message, remedy)
    if step.explore is not None and len(step.cascade) == 1:
        message = "explores nothing: the step has one tier"
        yield problem((*loc, "explore"), step.explore, message, "Add a tier to `cascade`, or remove it.")
    if step.verify or loc[-1] == "extraction":  # that step has a schema, and a reply must parse
        return
    found = "nothing can reject a reply of this step, except a structured output that does not parse"
    if step.repair:
        yield problem((*loc, "repair"), step.repair, found, "Add `verify`, or remove `repair`.")
    if len(step.cascade) > 1 and not _starts_higher(policy, loc, step):
        message = f"{found}: {_quoted(step.cascade[1:])} is only reached when a call fails or cannot be made"
        remedy = "Add `verify` to escalate, or `route` to start higher; one tier is plain routing."
        yield problem((*loc, "cascade"), list(step.cascade), message, remedy)


def _starts_higher(policy: "Policy", loc: Loc, step: "StepPolicy") -> bool:
    """Whether anything in the policy may start the step above its first tier."""
    above = set(step.cascade[1:])
    name = "" if loc == ("default",) else str(loc[-1])
    rules = (rule for rule in policy.rules if not rule.when.step or name in rule.when.step or not name)
    return bool(
        step.route.difficulty
        or step.route.learned
        or step.after_tool
        or step.on_tool_error
        or step.explore
        or policy.stakes.levels
        or any(rule.start in above for rule in rules)
    )


def _judges(step: "StepPolicy") -> list[str]:
    return [tier for _, verifier in verifiers_of((), step) for tier in verifier.tiers()]


def _no_logprobs(loc: Loc, specs: list["ModelSpec"]) -> Iterator[PolicyProblem]:
    silent = [
        spec.name for spec in specs if isinstance(spec.model, str) and not spec.settings.get("logprobs")
    ]
    if silent:
        message = f"reads log probabilities, and {_quoted(map(str, silent))} will send none"
        yield problem(loc, "confidence", message, "Add `settings: {logprobs: true}` to the models.")
