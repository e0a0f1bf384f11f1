"""A check of your own: any function of a case, sync or async, that says what is wrong with a reply."""

import asyncio
import inspect
from collections.abc import Callable, Generator
from typing import Any, ClassVar

from langroute.cascade import Verdict
from langroute.effects import Io, threaded
from langroute.verifiers.base import Case, CustomResult, Verifier

__all__ = ["Custom"]


class Custom(Verifier):
    """Wraps a callable that takes a `Case` and returns what it thinks of the reply.

    True accepts; False rejects; a string rejects and is the reason, which a repair passes on; a `Verdict`
    is taken as it is; None is no answer, since a check that forgot to return would pass everything. A
    coroutine function works in sync calls too (in a loop and thread of its own); a plain function is run in
    a thread in async calls, so that it may wait.

    Example:
        >>> from langroute.verifiers import Custom
        >>> def in_euros(case):
        ...     return True if "€" in case.text else "the reply names no price in euros"
        >>> Custom(function=in_euros).label
        'in_euros'
    """

    name: ClassVar[str] = "custom"

    function: Callable[..., Any]
    """Takes a `Case`; returns a bool, a string or a `Verdict`, or an awaitable of one."""

    @property
    def label(self) -> str:
        """The function's name, which stands for the verifier's in verdicts."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    @property
    def may_blame_input(self) -> bool:
        """Whether a rejection may blame the step's input: what the function returns is not known before."""
        return True

    @property
    def qualified_name(self) -> str:
        """Module and name of the function: what a dumped policy holds in its place."""
        named = self.function if hasattr(self.function, "__qualname__") else type(self.function)
        return f"{named.__module__}.{named.__qualname__}"

    def judge(self, case: Case) -> Generator[Any, Any, Verdict]:
        """Call the function and read its answer.

        Raises:
            TypeError: It returned something else than a bool, a string or a `Verdict`.
        """
        answer: Any = yield Io(lambda: _call(self.function, case), lambda: _acall(self.function, case))
        return self._verdict(answer)

    def _verdict(self, answer: Any) -> Verdict:
        if isinstance(answer, Verdict):
            return answer
        if answer is True:
            return Verdict(self.label, accepted=True, reason=f"{self.label} accepts the reply")
        if answer is False:
            return Verdict(self.label, accepted=False, reason=f"{self.label} rejects the reply")
        if isinstance(answer, str):
            return Verdict(self.label, accepted=False, reason=answer)
        what = "None" if answer is None else type(answer).__name__
        raise TypeError(f"{self.qualified_name} returned {what}: return a bool, a reason or a Verdict")


def _call(function: Callable[..., Any], case: Case) -> CustomResult:
    """Call in this thread; wait for an awaitable in a thread and loop of its own."""
    answer = function(case)
    if not inspect.isawaitable(answer):
        return answer  # type: ignore[no-any-return]  # what it is, `_verdict` finds out

    async def wait() -> CustomResult:
        return await answer  # type: ignore[no-any-return]  # as above

    # Not in this thread: a loop may be running in it already.
    return threaded(lambda: asyncio.run(wait())).result()


async def _acall(function: Callable[..., Any], case: Case) -> CustomResult:
    """Await a coroutine function here; call any other in a thread, so that the loop goes on."""
    named = function if inspect.isroutine(function) else type(function).__call__
    direct = inspect.iscoroutinefunction(named)
    answer: Any = function(case) if direct else await asyncio.wrap_future(threaded(lambda: function(case)))
    return await answer if inspect.isawaitable(answer) else answer  # type: ignore[no-any-return]  # as above
