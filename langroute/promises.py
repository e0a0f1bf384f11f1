"""Why a step's binding could not hold: a cascade that goes down, tiers out of reach, wrong scores."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from langroute.bindings import STEPS, named_scores, verifiers_of, within
from langroute.errors import PolicyProblem
from langroute.problems import Loc, closest, problem, quoted

if TYPE_CHECKING:
    from langroute.policy import ModelSpec, Policy, StepPolicy

__all__ = ["broken_promises"]

_MOST_EXPLORED = 0.5
"""The most that the chances of all tiers of a step that explores may come to."""

_OF_MODELS = ("confidence", "learned", "self_rated")
"""Verifiers that read a model's probabilities, a score fitted for models, or ask the model itself."""

_KINDS = {"prompt": "prompts", "reply": "replies"}

_CIRCLE_TOLD = 6
"""Steps of a circle that a message lists."""


def broken_promises(policy: "Policy", loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield what keeps one step from working; names that are unknown are not reported again."""
    ranks = {tier: rank for rank, tier in enumerate(policy.tiers)}
    yield from _downward(ranks, loc, step)
    yield from _out_of_reach(policy, ranks, loc, step)
    cascade = [tier for tier in step.cascade if tier in ranks]
    yield from _functions(policy, loc, step)
    yield from _explores(loc, step)
    yield from _forbidden(policy, cascade, loc, step)
    yield from _too_slow(policy, cascade, loc, step)
    yield from _blames(policy, loc, step)
    yield from _scores(loc, step)


def _downward(ranks: Mapping[str, int], loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    for index, (before, tier) in enumerate(zip(step.cascade, step.cascade[1:], strict=False), start=1):
        if ranks.get(tier, len(ranks)) > ranks.get(before, -1):
            continue
        message = (
            "the tier is repeated"
            if tier == before
            else f"goes down: `{tier}` is below `{before}` in `tiers`"
        )
        at = (*loc, "cascade", step.cascade.written_at(index))
        yield problem(at, tier, message, "Order the cascade as `tiers` is, each tier once.")


def _out_of_reach(
    policy: "Policy", ranks: Mapping[str, int], loc: Loc, step: "StepPolicy"
) -> Iterator[PolicyProblem]:
    starts = [((*loc, "after_tool", tool), tier) for tool, tier in step.after_tool.items()]
    if step.on_tool_error is not None:
        starts.append(((*loc, "on_tool_error"), step.on_tool_error))
    for at, tier in starts:
        if tier in ranks and tier not in step.cascade:
            remedy = f"Add `{tier}` to the cascade, or name one of its tiers."
            yield problem(at, tier, "not in the step's cascade, and a step never leaves its cascade", remedy)
    level = policy.stakes.levels.get(step.stakes or "")
    if level is not None and ranks.get(level.tier, -1) > max(
        ranks.get(tier, len(ranks)) for tier in step.cascade
    ):
        message = f"demands tier `{level.tier}`, which is above the step's cascade"
        yield problem(
            (*loc, "stakes"), step.stakes, message, f"Add `{level.tier}` to the cascade, or lower the stakes."
        )


def _functions(policy: "Policy", loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield why a step's function could not be told from a tier, or could never be judged."""
    function = step.cascade.function
    if function is None:
        return
    at = (*loc, "cascade", 0, "function")
    if function.function in policy.tiers:
        remedy = "Register it under another name: the record tells tiers and functions by their names."
        yield problem(at, function.function, "a tier has this name", remedy)
    if function.endpoint in (spec.name for tier in policy.tiers.values() for spec in tier.models):
        yield problem(at, function.function, "a model has its endpoint's name", "Rename the model.")
    checks = step.verify if function.verify is None else function.verify
    every = (one for verifier in checks for _, one in within(verifier, ()))
    blind = next((one.name for one in every if one.name in _OF_MODELS), None)
    if blind is not None:
        message = f"`{blind}` can only judge what a model wrote, and would reject all that the function says"
        remedy = f"Give it checks of its own: `{{function: {function.function}, verify: [not_empty]}}`."
        yield problem(at, function.function, message, remedy)


def _explores(loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    tiers = len(step.cascade)
    if step.explore is not None and step.explore * tiers > _MOST_EXPLORED + 1e-12:
        message = f"{tiers} tiers with this chance each leave too little for the policy's own choice"
        remedy = f"Write at most {_MOST_EXPLORED / tiers:g}; 0.02 is usual."
        yield problem((*loc, "explore"), step.explore, message, remedy)


def _forbidden(policy: "Policy", cascade: list[str], loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield every tier of the step, or of its judges, whose endpoints are all outside the step's boundary."""
    if step.boundary is None:
        return
    needed = [(tier, "of the cascade") for tier in cascade]
    needed += [
        (tier, f"that `{verifier.name}` asks")
        for _, verifier in verifiers_of(loc, step)
        for tier in verifier.tiers()
        if tier in policy.tiers
    ]
    for tier, purpose in dict.fromkeys(needed):
        found = {spec.boundary for spec in policy.tiers[tier].models}
        if not found.intersection(step.boundary):
            message = f"leaves tier `{tier}` {purpose} without endpoints: all of them are {quoted(found)}"
            remedy = _misspelt(policy, step.boundary) or f"Allow {quoted(found)}, or take `{tier}` out."
            yield problem((*loc, "boundary"), list(step.boundary), message, remedy)


def _misspelt(policy: "Policy", labels: Iterable[str]) -> str:
    """Return what leads from a label that no endpoint has to one that is near; "" where none is."""
    known = {spec.boundary for tier in policy.tiers.values() for spec in tier.models}
    remedies = (closest(label, sorted(known), "") for label in labels if label not in known)
    return next((remedy for remedy in remedies if remedy.startswith("Did you mean")), "")


def _too_slow(policy: "Policy", cascade: list[str], loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    specs: list[ModelSpec] = [spec for tier in cascade for spec in policy.tiers[tier].models]
    times = [spec.expected_s for spec in specs if spec.expected_s is not None]
    limit = step.latency_budget_s
    if limit is not None and specs and len(times) == len(specs) and min(times) > limit:
        message = f"no endpoint of the step is that fast: the fastest is expected to take {min(times):g} s"
        yield problem(
            (*loc, "latency_budget_s"), limit, message, "Allow more time, or bind the step to a faster tier."
        )


def _blames(policy: "Policy", loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield why the step that is blamed could not answer again, or would be blamed for ever."""
    if step.blame is None or step.blame not in (*policy.steps, *STEPS):
        return
    name = str(loc[-1]) if len(loc) > 1 else None
    circle = _circle(policy, name, step.blame)
    if circle:
        told = circle if len(circle) <= _CIRCLE_TOLD else [*circle[: _CIRCLE_TOLD - 2], "…", circle[-1]]
        message = f"blames in a circle: {' blames '.join(told)}"
        remedy = "A step blames one that comes before it: remove `blame` here, or name an earlier step."
        yield problem((*loc, "blame"), step.blame, message, remedy)
    elif len(policy.step(step.blame).cascade) == 1:
        message = f"step `{step.blame}` has one tier, so that it cannot answer again any better"
        remedy = f"Add a higher tier to the cascade of `{step.blame}`, or remove `blame`."
        yield problem((*loc, "blame"), step.blame, message, remedy)


def _circle(policy: "Policy", name: str | None, blamed: str) -> list[str]:
    """Return the steps through which `name` (None is the default) comes to blame itself; [] where not."""
    chain = {name or "default": None}
    at: str | None = blamed
    while at is not None and at not in chain:
        chain[at] = None
        if name is None and at not in policy.steps:  # that step takes the default, blame included
            return [*chain, at]
        at = policy.step(at).blame
    return [*chain, name] if name is not None and at == name else []


def _scores(loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield scores of the wrong kind, and those that do not know a tier that they would have to judge."""
    if step.route.difficulty is not None and step.route.learned is not None:
        message = "`learned` takes the place of `difficulty`, and both are given"
        yield problem((*loc, "route", "difficulty"), step.route.difficulty.threshold, message, "Remove one.")
    for at, named, kind in named_scores(loc, step):
        score = named.score
        if score.kind != kind:
            message = f"is a score of {_KINDS[score.kind]}, and here one of {_KINDS[kind]} is read"
            yield problem(at, named.path, message, "Name the other file, or fit one of that kind.")
            continue
        needed = step.cascade if kind == "prompt" else step.cascade[:-1]
        unknown = [tier for tier in needed if tier not in score.heads]
        if unknown:
            message = f"the score does not judge {quoted(unknown)}; it was fitted for {quoted(score.heads)}"
            yield problem(at, named.path, message, "Fit it for the tiers of this step's cascade.")
