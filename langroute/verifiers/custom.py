"""A check of your own: any function of a case, sync or async, that says what is wrong with a reply."""

from collections.abc import Callable, Generator
from typing import Any, ClassVar

from pydantic import Field

from langroute.cascade import Verdict
from langroute.effects import Io, acalled_with, called_with
from langroute.verifiers.base import Case, Verifier

__all__ = ["Custom", "Registered"]


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
        return _qualified(self.function)

    def judge(self, case: Case) -> Generator[Any, Any, Verdict]:
        """Call the function and read its answer.

        Raises:
            TypeError: It returned something else than a bool, a string or a `Verdict`.
        """
        return (yield from _judged(self.function, self.label, case))


class Registered(Verifier):
    """A check of your own that a policy file names, registered from Python: `{function: in_euros}`.

    The function is what `Custom` takes; its verdicts stand under the name that it was registered by, as in
    `RoutedChatModel("langroute.yaml", functions={"in_euros": in_euros})`.
    """

    name: ClassVar[str] = "function"
    shorthand: ClassVar[str | None] = "function"

    function: str = Field(min_length=1, max_length=200)
    """Name of the function."""

    @property
    def label(self) -> str:
        """The name that stands for the verifier's in verdicts."""
        return self.function

    @property
    def may_blame_input(self) -> bool:
        """Whether a rejection may blame the step's input: what the function returns is not known before."""
        return True

    def judge(self, case: Case) -> Generator[Any, Any, Verdict]:
        """Call the function of this name and read its answer.

        Raises:
            TypeError: It returned something else than a bool, a string or a `Verdict`.
        """
        return (yield from _judged(case.functions[self.function], self.label, case))


def _judged(function: Callable[..., Any], label: str, case: Case) -> Generator[Any, Any, Verdict]:
    answer: Any = yield Io(lambda: called_with(function, case), lambda: acalled_with(function, case))
    if isinstance(answer, Verdict):
        return answer
    if answer is True:
        return Verdict(label, accepted=True, reason=f"{label} accepts the reply")
    if answer is False:
        return Verdict(label, accepted=False, reason=f"{label} rejects the reply")
    if isinstance(answer, str):
        return Verdict(label, accepted=False, reason=answer)
    what = "None" if answer is None else type(answer).__name__
    raise TypeError(f"{_qualified(function)} returned {what}: return a bool, a reason or a Verdict")


def _qualified(function: Callable[..., Any]) -> str:
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
