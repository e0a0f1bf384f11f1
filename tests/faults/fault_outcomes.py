"""One cell of the matrix: what came of a call, and the one verdict on it."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fault_answers import whole
from fault_cases import LIMIT_S, Case

from langroute.errors import AllAttemptsFailed, PartialStream

__all__ = ["GOOD", "HANG_S", "Outcome", "Seen", "happened", "verdict"]

HANG_S = 20.0
"""Seconds after which a call counts as hung."""

_CALLERS = ("BadRequestError", "InvalidRequestError", "UnprocessableEntityError")

SLACK_S = 8.0
"""Seconds that a call may take beyond the primary's limit: the backup's time on a machine under load."""

GOOD = frozenset({"right", "partial", "flagged", "typed"})
"""Verdicts that keep the promise."""


@dataclass
class Seen:
    """What the caller of one mode saw."""

    kind: str = "text"
    """`text`, `tools` or `object`."""
    questions: tuple[str, ...] = ("Q1",)
    streamed: bool = False
    rounds: int = 1
    """Model calls that one question makes."""
    shown: str = ""
    """Text or tool arguments that came in pieces so far."""
    answers: list[Any] = field(default_factory=list)
    finish: str | None = None


@dataclass
class Outcome:
    """What came of one call of one mode."""

    seen: Seen
    error: BaseException | None
    seconds: float
    hung: bool
    primary: int = 0
    """Requests that reached the primary."""
    backup: int = 0


def happened(mode: Callable[[Any, Seen], Any], subject: Any, seen: Seen) -> Outcome:
    """Run one mode in a thread of its own, so that nothing it does can hang the matrix."""
    ended: list[BaseException | None] = []

    def work() -> None:
        try:
            if inspect.iscoroutinefunction(mode):
                asyncio.run(mode(subject, seen))
            else:
                mode(subject, seen)
        except BaseException as error:
            ended.append(error)
        else:
            ended.append(None)

    started_s = time.monotonic()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(HANG_S)
    seconds = time.monotonic() - started_s
    return Outcome(seen, ended[0] if ended else None, seconds, not ended)


def verdict(case: Case, outcome: Outcome, *, backup: bool) -> str:
    """Return what to think of an outcome: one of `GOOD`, or a word on what is wrong with it."""
    seen = outcome.seen
    if outcome.hung:
        return "hung"
    if outcome.seconds > LIMIT_S * seen.rounds + SLACK_S:
        return f"late: {outcome.seconds:.1f} s"
    most = len(seen.questions) * seen.rounds
    if outcome.primary > most * case.hops or outcome.backup > most:
        return f"calls: {outcome.primary} and {outcome.backup} of {most}"
    if outcome.error is not None:
        return _of_error(case, outcome, backup=backup)
    return _of_answers(case, seen, backup=backup)


def _of_answers(case: Case, seen: Seen, *, backup: bool) -> str:
    if case.callers or len(seen.answers) != len(seen.questions):
        return f"wrong: answered with {seen.answers!r}"
    verdicts = set()
    for question, answer in zip(seen.questions, seen.answers, strict=True):
        rights = [whole(seen.kind, who, question) for who in ("primary", "backup")]
        # Where nothing better can come, the reply is returned with the provider's own word on it.
        may_be_flagged = case.flagged is not None and (seen.streamed or not backup)
        if answer in rights:
            verdicts.add("right")
        elif may_be_flagged and seen.finish == case.flagged and _begins(rights[0], answer):
            verdicts.add("flagged")
        else:
            return f"wrong: {str(answer)[:120]!r}"
    return "flagged" if "flagged" in verdicts else "right"


def _begins(right: Any, answer: Any) -> bool:
    if answer == []:
        return True  # no tool is called: a call that was cut would not be passed on as whole
    return isinstance(right, str) and isinstance(answer, str) and right.startswith(answer)


def _of_error(case: Case, outcome: Outcome, *, backup: bool) -> str:
    error, seen = outcome.error, outcome.seen
    told = f"{type(error).__name__}: {str(error)[:160]}"
    if case.callers:
        right = type(error).__name__.endswith(_CALLERS)
        first_turn = outcome.primary == len(seen.questions) and not outcome.backup
        return "right" if right and (first_turn or len(seen.questions) > 1) else f"wrong: {told}"
    if isinstance(error, PartialStream):
        if not seen.streamed or not seen.shown:
            return f"missed: {told}"
        return "partial" if "backup" not in seen.shown else f"wrong: joined {seen.shown[:120]!r}"
    if isinstance(error, AllAttemptsFailed):
        return f"missed: {told}" if backup else "typed"
    return f"untyped: {told}"
