"""Where a step starts by a learned score: at the first rung that those above would not better enough."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from langroute.effects import Flow
from langroute.policy import LearnedPolicy
from langroute.request import Request
from langroute.routing.intent import Embedder, what_failed

__all__ = ["LearnedStart"]

_TOLD = 3


@dataclass(frozen=True, slots=True)
class LearnedStart:
    """A step's learned score with all that it needs to be asked."""

    policy: LearnedPolicy
    embedder: Embedder | None
    step: str
    allowed: Sequence[str] | None
    """Boundaries that a prompt of this step may cross; None allows all."""

    def rung(self, request: Request, tiers: Sequence[str], reasons: list[str]) -> Flow[int]:
        """Return the rung to start at, as a flow: the prompt may have to be embedded.

        The top one where the score cannot be had: when in doubt, the capable tier.
        """
        score, top = self.policy.model.score, len(tiers) - 1
        features = score.seen(request)
        if score.embeds:
            vector = yield from self._vector(request)
            if isinstance(vector, str):
                reasons.append(f"learned gain unknown, as {vector}: starts at {tiers[top]}")
                return top
            features = replace(features, vector=vector)
        threshold = self.policy.threshold
        start: int
        start, gains = score.start(features, tiers, threshold)
        at = min(start, top - 1)
        leading = ", ".join(
            f"{part.feature} {part.points:+.1f}" for part in score.contributions(features, tiers[at])[:_TOLD]
        )
        told = f"learned gain {gains[at]:.2f} of going above {tiers[at]} ({leading})"
        if start == top:
            reasons.append(f"{told} reaches {threshold:g}: starts at {tiers[top]}")
        else:
            higher = f": starts at {tiers[start]}" if start else ": no higher start"
            reasons.append(f"{told} is below {threshold:g}{higher}")
        return start

    def _vector(self, request: Request) -> Flow[tuple[float, ...] | str]:
        """Return the prompt's embedding, or why there is none."""
        if self.embedder is None:
            return "the score reads embeddings, and none were given"
        if self.allowed is not None and self.embedder.boundary not in self.allowed:
            return f"embeddings run in boundary {self.embedder.boundary}, which {self.step} does not allow"
        try:
            vector = yield from self.embedder.vector(request.asked)
        except Exception as error:
            return f"the embeddings gave none: {what_failed(error, request, self.embedder.secrets)}"
        wanted = len(
            next(head.vector for head in self.policy.model.score.heads.values() if head.vector is not None)
        )
        return vector if len(vector) == wanted else f"embeddings are of {len(vector)} numbers, not {wanted}"
