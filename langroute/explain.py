"""What a policy would do with one prompt, and why, without calling anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import HumanMessage

from langroute.cascade import Plan
from langroute.decision import StepAnswer
from langroute.difficulty import Difficulty, difficulty
from langroute.effects import Flow
from langroute.policy import Policy, StepPolicy
from langroute.registering import stand_ins
from langroute.request import Request
from langroute.router import Router
from langroute.routing.money import expected_usd

__all__ = ["Explanation", "LearnedPart", "explain", "without_calls"]

_FEATURES = 6
_WORDS = 5
"""Features and words that are told of each tier."""


@dataclass(frozen=True, slots=True)
class LearnedPart:
    """What a learned score says of one tier."""

    tier: str
    probability: float
    """That the tier is right, in [0, 1]."""
    contributions: tuple[tuple[str, float, float], ...]
    """Feature, its value, and the points (log-odds) it adds; the largest first."""
    words: tuple[tuple[str, float], ...]
    """Words of the prompt and the points they add; the largest first."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision as it would be made, with everything it rests on."""

    answer: StepAnswer
    plan: Plan
    difficulty: Difficulty
    estimated_tokens: int
    """Estimated input tokens of the prompt."""
    expected_usd: Mapping[str, float | None]
    """Endpoint to the expected USD of one call; None where its price is unknown."""
    blame: str | None
    """Earlier step that answers again a tier higher, in a graph, when a check blames this one's input."""
    learned: tuple[LearnedPart, ...] = ()
    """What the step's learned score says of its tiers; empty without one, or where it needs embeddings."""

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as plain JSON types."""
        return {
            "step": self.answer.step,
            "step_source": self.answer.source,
            "step_reason": self.answer.reason,
            "mismatch": self.answer.mismatch,
            "reasons": list(self.plan.reasons),
            "rungs": [
                {
                    "tier": rung.tier,
                    "endpoint": choice.endpoint,
                    "expected_usd": self.expected_usd[choice.endpoint],
                    "expected_s": choice.expected_s,
                    "context_tokens": choice.context_tokens,
                }
                for rung in self.plan.rungs
                for choice in rung.choices
            ],
            "repairs": self.plan.repairs,
            "on_exhausted": self.plan.on_exhausted,
            "blame": self.blame,
            "estimated_tokens": self.estimated_tokens,
            "difficulty": self.difficulty.score,
            "contributions": [
                {"feature": feature, "value": value, "points": points}
                for feature, value, points in self.difficulty.contributions
            ],
            "learned": [
                {
                    "tier": part.tier,
                    "probability": part.probability,
                    "contributions": [
                        {"feature": feature, "value": value, "points": points}
                        for feature, value, points in part.contributions
                    ],
                    "words": [{"word": word, "points": points} for word, points in part.words],
                }
                for part in self.learned
            ],
        }


def explain(policy: Policy, prompt: str, step: str | None = None) -> Explanation:
    """Return what `policy` would do with `prompt`, as the step named or as the one it would be taken for.

    No model and no embeddings are called: a classifier that would have to ask one counts as failed, so
    the step goes where it goes when in doubt, and the reason says so.

    Raises:
        NoEndpointAvailable: Nothing of the step's plan may be called for this prompt.
    """
    request = Request((HumanMessage(prompt),), step=step)
    router = Router(policy, functions=stand_ins(policy))
    answer, plan = without_calls(router.decide(request))
    bound = policy.step(answer.step)
    output_tokens = bound.expected_output_tokens
    expected = {
        choice.endpoint: expected_usd(router.endpoints.by_name[choice.endpoint], request, output_tokens)
        for rung in plan.rungs
        for choice in rung.choices
    }
    learned = _learned(bound, request)
    return Explanation(
        answer, plan, difficulty(request), request.estimated_tokens, expected, bound.blame, learned
    )


def _learned(step: StepPolicy, request: Request) -> tuple[LearnedPart, ...]:
    """Return what the step's learned score says of each tier of the cascade."""
    if step.route.learned is None or step.route.learned.model.score.embeds:
        return ()
    from langroute.tuning.features import asked_window

    score, text = step.route.learned.model.score, asked_window(request.asked)
    features = score.seen(request)
    return tuple(
        LearnedPart(
            tier,
            score.probability(features, tier),
            tuple((c.feature, c.value, c.points) for c in score.contributions(features, tier)[:_FEATURES]),
            tuple((c.feature, c.points) for c in score.words(features, tier, text)[:_WORDS]),
        )
        for tier in step.cascade
    )


class _NotCalledError(Exception):
    """In place of an answer, for whatever a decision would have to wait for."""


def without_calls(flow: Flow[tuple[StepAnswer, Plan]]) -> tuple[StepAnswer, Plan]:
    """Return what is decided where everything that a decision would have to wait for fails.

    Raises:
        NoEndpointAvailable: Nothing of the step's plan may be called.
    """
    try:
        next(flow)
        while True:
            flow.throw(_NotCalledError("nothing is called here"))
    except StopIteration as stop:
        decided: tuple[StepAnswer, Plan] = stop.value
        return decided
