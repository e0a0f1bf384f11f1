"""Confidence: how sure a model was, by its token probabilities or by its own word."""

import math
from collections.abc import Generator
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from langroute.cascade import Verdict
from langroute.replies import token_logprobs
from langroute.verifiers.base import Case, Verifier
from langroute.verifiers.exchange import fenced_exchange

__all__ = ["Confidence", "SelfRated"]


class Confidence(Verifier):
    """The model was sure of its tokens.

    Needs log probabilities (`logprobs: true` in the model's settings). A reply without them is
    rejected: what cannot be checked is not taken for checked, and the next tier answers. The score is
    the probability compared with `min`.
    """

    name: ClassVar[str] = "confidence"
    shorthand: ClassVar[str | None] = "min"

    min: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Probability that must be reached."""
    of: Literal["mean", "lowest"] = "mean"
    """The geometric mean over all tokens (the inverse of perplexity), or the least likely token."""

    def check(self, case: Case) -> Verdict:
        """Accept a reply whose tokens were likely enough."""
        logprobs = token_logprobs(case.reply.response_metadata)
        if not logprobs:
            return self.rejects("no logprobs were returned, so the confidence cannot be checked", unsure=True)
        value = min(logprobs) if self.of == "lowest" else sum(logprobs) / len(logprobs)
        score = math.exp(min(value, 0.0))
        what = "least likely token's" if self.of == "lowest" else "mean token"
        if score < self.min:
            return self.rejects(f"the {what} probability is {score:.2f}, below {self.min:.2f}", score)
        return self.accepts(f"the {what} probability is {score:.2f}", score)


class _Rating(BaseModel):
    """How certain the answer is."""

    certainty: float = Field(
        ge=0, le=1, description="Probability in [0, 1] that the answer is right and complete."
    )


class SelfRated(Verifier):
    """The endpoint that gave the reply rates its own certainty high enough; one further call.

    Models rate themselves too high: set `min` from your own log, not by feeling.
    """

    name: ClassVar[str] = "self_rated"
    shorthand: ClassVar[str | None] = "min"

    min: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Certainty that must be reached."""

    @property
    def asks(self) -> bool:
        """True: the endpoint under check is asked once more."""
        return True

    def judge(self, case: Case) -> Generator[Any, Any, Verdict]:
        """Ask the same endpoint; accept when its rating reaches `min`."""
        task = (
            "Below are a question and an answer you gave. State the probability that the answer is right and "
            "complete: 1 only if you could not be wrong, 0.5 for an even chance."
        )
        opinion = yield from case.ask(fenced_exchange(task, case), purpose="self_rated", schema=_Rating)
        spend = (opinion.spend,)
        if not isinstance(opinion.parsed, _Rating):
            return self.rejects("the model gave no usable rating of its certainty", unsure=True, spend=spend)
        score = opinion.parsed.certainty
        if score < self.min:
            return self.rejects(
                f"the model rates its certainty {score:.2f}, below {self.min:.2f}", score, spend=spend
            )
        return self.accepts(f"the model rates its certainty {score:.2f}", score, spend=spend)
