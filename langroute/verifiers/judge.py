"""Second opinions: a judge with a rubric, or another model that is asked the same."""

from collections.abc import Generator
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from langroute.cascade import Verdict
from langroute.request import message_text
from langroute.verifiers.base import Case, Opinion, Verifier, shown
from langroute.verifiers.exchange import fenced_exchange
from langroute.verifiers.likeness import answer_likeness, data_likeness
from langroute.verifiers.structured import NotJsonError, json_in, plain

__all__ = ["Agreement", "Judge"]


class _Grade(BaseModel):
    """A grade under the rubric; the reason comes first, so that it is not made up for the score."""

    reason: str = Field(description="One sentence: what decides the score.")
    score: float = Field(ge=0, le=1, description="0 fails the rubric altogether, 1 fulfils it altogether.")


class Judge(Verifier):
    """A model of another tier grades the reply under a rubric; one further call.

    The question, the documents it does not hold, and the reply reach the judge between delimiters that
    nobody can write into them, and as data, not instructions. A judge that gives no grade rejects.
    """

    name: ClassVar[str] = "judge"

    rubric: str = Field(min_length=1)
    """What makes a reply good, in words."""
    tier: str
    """Tier whose first endpoint judges."""
    min: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)
    """Grade that must be reached."""

    def tiers(self) -> tuple[str, ...]:
        """Return the judge's tier."""
        return (self.tier,)

    def judge(self, case: Case) -> Generator[Any, Any, Verdict]:
        """Ask the judge; accept when the grade reaches `min`."""
        task = f"Grade the reply to the question under this rubric, and under nothing else:\n{self.rubric}"
        prompt = fenced_exchange(task, case)
        opinion = yield from case.ask(prompt, purpose="judge", tier=self.tier, schema=_Grade)
        spend, grade = (opinion.spend,), opinion.parsed
        if not isinstance(grade, _Grade):
            return self.rejects("the judge gave no usable grade", unsure=True, spend=spend)
        reason = f"the judge gives {grade.score:.2f}: {shown(grade.reason, 300)}"
        if grade.score < self.min:
            return self.rejects(reason, grade.score, spend=spend)
        return self.accepts(reason, grade.score, spend=spend)


class Agreement(Verifier):
    """A second model, asked the same, gives the same answer; one further call.

    Structured replies are compared field by field. Short answers are compared as such: equal final
    numbers, or equal words. Longer ones by the words they share (token F1, as in SQuAD, Rajpurkar et
    al. 2016), which paraphrase lowers: 0.5 is a usual value for prose, 1 for numbers. Answers of which one
    denies the other (yes and no, or a negation in only one of two sentences on the same matter) never
    agree, whatever words they share. Tool calls cannot be compared, since the second model has no tools.
    """

    name: ClassVar[str] = "agreement"

    tier: str
    """Tier whose first endpoint is asked; a cheap one."""
    min: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)
    """Likeness that must be reached."""

    def tiers(self) -> tuple[str, ...]:
        """Return the second model's tier."""
        return (self.tier,)

    def judge(self, case: Case) -> Generator[Any, Any, Verdict]:
        """Ask the second model; accept when the answers are alike enough."""
        if case.parsed is None and not case.text.strip():
            return self.rejects(
                "the reply has no text that a second answer could be compared with", unsure=True
            )
        schema = case.request.schema
        wanted = schema if isinstance(schema, type) and issubclass(schema, BaseModel) else None
        opinion = yield from case.ask(
            list(case.request.messages), purpose="agreement", tier=self.tier, schema=wanted
        )
        score = _likeness(case, opinion)
        if score < self.min:
            reason = f"a second model answers differently (likeness {score:.2f}, below {self.min:.2f})"
            return self.rejects(reason, score, spend=(opinion.spend,))
        return self.accepts(f"a second model agrees (likeness {score:.2f})", score, spend=(opinion.spend,))


def _likeness(case: Case, opinion: Opinion) -> float:
    """Return how alike the reply and the second answer are, in [0, 1]."""
    text = message_text(opinion.message)
    if case.parsed is None:
        return answer_likeness(case.text, text)
    try:
        other = plain(opinion.parsed) if opinion.parsed is not None else json_in(text)
    except NotJsonError:
        return 0.0
    return data_likeness(plain(case.parsed), other)
