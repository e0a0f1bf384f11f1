"""A call of a step drawn as nodes, made once: a run that was killed takes again what it had been given."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from langchain_core.runnables import RunnableConfig

from langroute.cascade import Call
from langroute.effects import Flow
from langroute.following import Answered, Cascade
from langroute.judging import Judge
from langroute.saved import Saved
from langroute.spec import StepSpec

__all__ = ["made_once"]


def made_once(
    spec: StepSpec, saved: Saved, cascade: Cascade, judge: Judge, config: RunnableConfig
) -> Flow[Answered | None]:
    """Return the reply that the answer store holds, or else make the call and keep what comes.

    Without a store the call is made; one that fails is kept nowhere, and gives None.
    """
    attempt = len(saved.attempts)
    place = spec.answers and spec.answers.place(config, saved.plan.step, attempt)

    def restored(pending: Mapping[str, Any]) -> Answered:
        return replace(saved, pending=pending).pending_answer(spec.schema, config)

    if place:
        found = yield from place.find(restored)
        if found is not None:
            spec.forget(saved.call_id)  # that life's stream is closed, and holds what it held back
            return found
    answered = yield from cascade.make(judge, saved.plan, cast("Call", saved.move))
    spec.keep(cascade, attempt)
    if place and answered is not None:
        yield from place.keep(cast("Mapping[str, Any]", saved.answered(answered).pending))
    return answered
