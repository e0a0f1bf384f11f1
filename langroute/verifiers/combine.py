"""Verifiers made of verifiers: all of them, any of them, or only for a sample of the requests."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from langroute.cascade import Verdict
from langroute.chance import place
from langroute.cost import Spend
from langroute.request import Request, message_text
from langroute.verifiers.base import Case, Verifier
from langroute.verifiers.spec import VerifierSpecs

__all__ = ["AllOf", "AnyOf", "Sampled"]


class _Combinator(Verifier):
    shorthand: ClassVar[str | None] = "verify"

    verify: VerifierSpecs
    """The verifiers, written as in a step; one alone needs no list."""

    def tiers(self) -> tuple[str, ...]:
        """Return the tiers of all verifiers inside."""
        return tuple(dict.fromkeys(tier for verifier in self.verify for tier in verifier.tiers()))

    @property
    def asks(self) -> bool:
        """Whether any verifier inside calls a model."""
        return any(verifier.asks for verifier in self.verify)

    @property
    def may_blame_input(self) -> bool:
        """Whether any verifier inside may."""
        return any(verifier.may_blame_input for verifier in self.verify)


class AllOf(_Combinator):
    """Every verifier accepts the reply; asked in order, and the first that rejects ends it.

    The score is the mean of the scores, as in an attempt: 1 or 0 for a verifier that gives none.
    """

    name: ClassVar[str] = "all_of"

    def judge(self, case: Case) -> Generator[Any, Any, Verdict]:
        """Ask each verifier until one rejects."""
        verdicts: list[Verdict] = []
        for verifier in self.verify:
            verdicts.append((yield from verifier.judge(case)))
            if not verdicts[-1].accepted:
                return self.rejects(_named(verdicts[-1:]), _mean(verdicts), **_carried(verdicts))
        return self.accepts(_named(verdicts), _mean(verdicts), **_carried(verdicts))


class AnyOf(_Combinator):
    """One verifier accepts the reply; asked in order, and the first that accepts ends it.

    A verdict that makes the reply unusable (a broken tool call, nothing at all) rejects it at once: no
    other check can excuse it. The score is the best one.
    """

    name: ClassVar[str] = "any_of"

    def judge(self, case: Case) -> Generator[Any, Any, Verdict]:
        """Ask each verifier until one accepts."""
        verdicts: list[Verdict] = []
        for verifier in self.verify:
            verdicts.append((yield from verifier.judge(case)))
            if verdicts[-1].accepted:
                return self.accepts(
                    _named(verdicts[-1:]), _best(verdicts), **_carried(verdicts[-1:], verdicts)
                )
            if not verdicts[-1].usable:
                return self.rejects(_named(verdicts[-1:]), _best(verdicts), **_carried(verdicts))
        return self.rejects(_named(verdicts), _best(verdicts), **_carried(verdicts))


class Sampled(_Combinator):
    """The verifiers check a share of the requests, so that a costly check stays affordable.

    Whether a request is checked depends on a digest of its messages alone: the same conversation is
    always or never checked, on every machine, and in a replay.
    """

    name: ClassVar[str] = "sampled"
    shorthand: ClassVar[str | None] = None

    share: float = Field(gt=0, le=1, allow_inf_nan=False)
    """Share of the requests that are checked."""

    def judge(self, case: Case) -> Generator[Any, Any, Verdict]:
        """Ask the verifiers, as `all_of` does, where the request is in the sample; else accept."""
        if _position(case.request) >= self.share:
            return self.accepts(f"not sampled: this request is outside the {self.share:.4g} that are checked")
        verdict = yield from AllOf(verify=self.verify).judge(case)
        return replace(verdict, verifier=self.name, reason=f"sampled: {verdict.reason}")


def _position(request: Request) -> float:
    """Return where a request lies in [0, 1): a digest of the kinds and texts of its messages."""
    return place((f"{one.type}\0{message_text(one)}\0" for one in request.messages), "sampled")


def _named(verdicts: list[Verdict]) -> str:
    return "; ".join(f"{verdict.verifier}: {verdict.reason}" for verdict in verdicts)


def _carried(verdicts: list[Verdict], paid: list[Verdict] | None = None) -> dict[str, Any]:
    """Return what the whole takes over: whether the reply may be used, what was at fault, every call."""
    spend: tuple[Spend, ...] = tuple(spend for verdict in paid or verdicts for spend in verdict.spend)
    usable = all(verdict.usable for verdict in verdicts)
    rejections = [verdict for verdict in verdicts if not verdict.accepted]
    unsure = bool(rejections) and all(verdict.unsure for verdict in rejections)
    blames = any(verdict.blames_input for verdict in rejections)
    return {"usable": usable, "unsure": unsure, "spend": spend, "blames_input": blames}


def _score(verdict: Verdict) -> float:
    return float(verdict.accepted) if verdict.score is None else verdict.score


def _mean(verdicts: list[Verdict]) -> float:
    return sum(map(_score, verdicts)) / len(verdicts)


def _best(verdicts: list[Verdict]) -> float:
    return max(map(_score, verdicts))
