"""Upstream repair: a step whose input is blamed goes back, once, to the earlier step that gave it.

A blamed step answers again above every tier that has replied, and only a reply that is accepted takes the
place of what it gave before. Nothing here calls a model: these are the terms on which the nodes go back.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langroute.cascade import Blame, Plan
from langroute.saved import Mark
from langroute.spec import StepSpec
from langroute.wiring import joined, steps_drawn

__all__ = ["above", "blamers", "blaming", "with_blame"]


def blaming(builder: Any, spec: StepSpec) -> StepSpec:
    """Return the spec with the step that it may blame, which is drawn already.

    Raises:
        ValueError: The policy lets the step blame one that is not drawn into the graph yet, or drawn twice.
    """
    if spec.blame is None:
        return spec
    found = [step for step in steps_drawn(builder) if step.step == spec.blame]
    if len(found) == 1:
        return replace(spec, earlier=found[0])
    if found:
        names = ", ".join(step.nodes.start for step in found)
        raise ValueError(
            f"step {spec.step} blames {spec.blame}, which is drawn more than once ({names}): draw it once,"
            " give its nodes steps of their own in the policy, or take `blame` out"
        )
    raise ValueError(
        f"step {spec.step} blames {spec.blame}, which is not drawn yet: draw it into this graph with"
        f" add_routed_step(..., step={spec.blame!r}) before {spec.nodes.start!r}, or take `blame` out"
    )


def blamers(builder: Any, spec: StepSpec) -> list[StepSpec]:
    """Return the steps drawn into the graph that may blame this one."""
    return [step for step in steps_drawn(builder) if step.earlier is spec]


def with_blame(builder: Any, spec: StepSpec, plan: Plan, began: Mark, values: Mapping[str, Any]) -> Plan:
    """Return the plan with where the step may go back to, and the reason why or why not."""
    blame, reason = _terms(builder, spec, began, values)
    return replace(plan, blame=blame, reasons=(*plan.reasons, reason))


def _terms(builder: Any, spec: StepSpec, began: Mark, values: Mapping[str, Any]) -> tuple[Blame | None, str]:
    """Return whom the step may blame in this visit, and why or why nobody.

    Once until the step has ended: what the next tier up does not find in the same text is most likely not
    there, and another way round would pay for both steps again. So every way round ends, whatever edges the
    person has drawn; and a run that broke off on its way is followed by one that does not go back.
    """
    earlier, name = spec.earlier, str(spec.blame)
    stays = f"does not go back to {name}"
    if earlier is None:
        return None, f"{stays}: it is not in the graph that this step is compiled into"
    if began.went_back is not None:
        return None, f"{stays}: it did so once, in call {began.went_back}"
    if joined(builder, earlier.nodes.accept, spec.nodes.start):
        return None, f"{stays}: an edge on the way waits for nodes that would not run again"
    given = Mark.read(values.get(earlier.channel))
    if given.tier is None:
        return None, f"{stays}: it has not answered"
    if given.above is None:
        return None, f"{stays}: it has no tier above {given.tier}"
    return Blame(name, given.above), f"may go back to {name}, to be done again at {given.above.tier}"


def above(spec: StepSpec, plan: Plan, began: Mark) -> Plan | None:
    """Return a blamed step's plan without the tiers that have replied; None where none is left.

    Nothing but an accepted reply is worth the place of the one that stands: no best of rejected ones.
    """
    rank = spec.model.router.rank
    rungs = tuple(rung for rung in plan.rungs if began.tier is None or rank(rung.tier) > rank(began.tier))
    if not rungs:
        return None
    reason = f"{began.blamed}: starts at {rungs[0].tier}"
    reasons = (*plan.reasons, reason)
    return replace(plan, rungs=rungs, on_exhausted="raise", reasons=reasons, propensity=1.0)
