"""What a policy says of trying out: replies that the top tier is asked for as well, and another policy."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from langroute.errors import PolicyError
from langroute.shapes import Name, Share, Text, Usd
from langroute.tuning.named import placed
from langroute.written import Written

__all__ = ["CanaryPolicy", "ComparisonJudge", "JudgedComparison", "NamedPolicy", "ShadowPolicy"]

_MOST_TOLD = 5
"""Problems of a canary's policy that a message lists."""

_INSIDE: ContextVar[bool] = ContextVar("langroute_inside_a_canary", default=False)


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


@dataclass(frozen=True, slots=True, eq=False)
class NamedPolicy:
    """A policy that another one names, and how it does."""

    path: str
    """The path as it is written; `policy` where it was given from Python."""
    policy: Any
    """The `langroute.policy.Policy`."""


def _read_policy(value: Any) -> NamedPolicy:
    from langroute.policy import Policy  # a policy names a canary, and that is a policy

    if isinstance(value, NamedPolicy):
        return value
    if _INSIDE.get() or getattr(value, "canary", None) is not None:
        remedy = "Remove `canary` from the policy that is named as one."
        raise PydanticCustomError("canary", "a canary cannot have a canary of its own", {"remedy": remedy})
    is_path = isinstance(value, str | Path) and str(value)
    if not is_path and not isinstance(value, Mapping | Policy):
        remedy = "Write the path of a policy file; from Python, a policy may stand in its place."
        raise PydanticCustomError("canary", "not the path of a policy", {"remedy": remedy})
    inside = _INSIDE.set(True)
    try:
        found = Policy.load(placed(value) if is_path else value)
    except PolicyError as error:
        told = "; ".join(map(str, error.problems[:_MOST_TOLD])).rstrip(".")
        details = {"found": f"{error.source} cannot be used: {told}", "remedy": "Correct that policy."}
        raise PydanticCustomError("canary", "{found}", details) from None
    finally:
        _INSIDE.reset(inside)
    return NamedPolicy(str(value) if is_path else "policy", found)


class CanaryPolicy(Written):
    """Sends a share of threads through another policy, to see the two side by side."""

    policy: Annotated[
        NamedPolicy,
        PlainValidator(_read_policy, json_schema_input_type=str | dict[str, Any]),
        PlainSerializer(lambda named: named.policy.model_dump(mode="json"), return_type=Any),
    ] = Field(examples=["new.yaml"])
    """Path of the other policy; a relative one starts at this policy's file. From Python also the policy."""
    share: Annotated[Share, Field(gt=0, lt=1)]
    """Share of the threads that it gets; a digest of the thread's id draws them, so a thread stays."""
