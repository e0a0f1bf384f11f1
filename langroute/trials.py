"""What a policy says of trying out: which replies the top tier is asked for as well, and who compares."""

from typing import Annotated, Literal

from pydantic import Field

from langroute.shapes import Name, Share, Text, Usd
from langroute.written import Written

__all__ = ["ComparisonJudge", "JudgedComparison", "ShadowPolicy"]


class ComparisonJudge(Written):
    """A model that says which of two replies is right; it is asked twice, each reply shown first once."""

    tier: Name | None = None
    """Tier that judges, by an endpoint that gave neither reply where it has one; None is the top tier."""
    rubric: Text = "It answers what was asked, correctly and completely, and states nothing that is not so."
    """What makes a reply right, in words."""


class JudgedComparison(Written):
    """Replies are compared by a judge."""

    judge: ComparisonJudge
    """Who compares, and by what."""


class ShadowPolicy(Written):
    """Asks the top tier as well on a share of a step's cheap replies, after they were returned.

    The two are compared, so that the misroute rate is measured: how often the cheap reply was accepted and
    wrong, and the top tier's would have been right. It needs a ledger.
    """

    step: Name
    """The step whose replies are shadowed."""
    share: Annotated[Share, Field(gt=0)]
    """Share of the accepted replies of a tier below the top that the top tier is asked for as well."""
    per_day_usd: Annotated[Usd, Field(gt=0, le=1_000_000)] = 1.0
    """USD that the shadows of the step may spend in a UTC day, beside `budget`; judges included."""
    compare: Literal["exact"] | JudgedComparison = JudgedComparison(judge=ComparisonJudge())
    """`exact`: equal tool calls, JSON or words, the top tier's reply being taken to be right; or a judge."""
