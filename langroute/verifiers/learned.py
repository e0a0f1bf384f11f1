"""A learned score as a check: the reply is likely enough right, by what past replies like it came to."""

from typing import ClassVar

from pydantic import Field

from langroute.cascade import Verdict
from langroute.tuning.named import ScoreModel
from langroute.verifiers.base import Case, Verifier

__all__ = ["Learned"]

_ASKING = frozenset({"verdict=agreement", "verdict=judge", "verdict=self_rated"})
_TOLD = 3


class Learned(Verifier):
    """The tier above would not do much better, by a score that was fitted on past replies.

    The score of the verdict is 1 less the quality expected to be won by escalating, in [0, 1]: the chance
    that the reply is right, where the score knows nothing of the tier above. A reply of the score's top
    tier is accepted, for nothing is above it; one of a tier that the score does not know is rejected.
    """

    name: ClassVar[str] = "learned"

    model: ScoreModel
    """File of a score of replies, as `langroute.tuning.files.save_score` writes it."""
    min: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Score that must be reached."""

    @property
    def asks(self) -> bool:
        """Whether the score reads the verdict of a check that calls a model, and so runs after it."""
        return not _ASKING.isdisjoint(self.model.score.names)

    def check(self, case: Case) -> Verdict:
        """Accept a reply whose score reaches `min`."""
        from langroute.tuning.features import Features
        from langroute.tuning.signals import reply_values

        score = self.model.score
        if case.tier not in score.heads:
            if score.tiers and case.tier == score.tiers[-1]:
                return self.accepts(f"{case.tier} is the top tier of the learned score")
            return self.rejects(f"the learned score does not know the tier {case.tier}", unsure=True)
        replied = reply_values(case.request, case.reply, case.verdicts)
        features = Features({**score.seen(case.request).values, **replied})
        kept = min(1 - score.gain(features, case.tier), 1.0)
        leading = ", ".join(
            f"{c.feature} {c.points:+.1f}" for c in score.contributions(features, case.tier)[:_TOLD]
        )
        reason = f"the learned score is {kept:.2f}"
        if kept < self.min:
            return self.rejects(f"{reason}, below {self.min:.2f} ({leading})", kept)
        return self.accepts(f"{reason} ({leading})", kept)
