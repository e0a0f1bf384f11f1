"""What every verifier is: settings a person writes, and one check of one reply.

A verifier is a frozen pydantic model whose fields are its settings in the policy file. Those that
only look override `check`; those that must call a model override `judge`, a flow (see
`langroute.effects`), so that the check is written once for sync and async.
"""

import re
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from langroute.attempts import made_verdict
from langroute.beside import abeside
from langroute.cascade import Verdict
from langroute.cost import Spend
from langroute.effects import ASIDE, Io
from langroute.records import maker
from langroute.redaction import printable
from langroute.request import Request, message_text

__all__ = [
    "PREFIX_CHARS",
    "Asker",
    "Case",
    "CustomCheck",
    "Opinion",
    "Verifier",
    "made_case",
    "shown",
    "without_thoughts",
]

_OWN = "langroute.verifiers."

PREFIX_CHARS = 300
"""Characters that a `prefix` check looks at, streamed or not: a stream may start when it has so many."""

_REASON_CHARS = 500
"""A reason goes into logs and repair prompts, so it never carries a whole hostile reply."""

_THOUGHTS = re.compile(r"\s*+(?:<(think(?:ing)?)>.*?(?:</\1>|\Z)\s*+)++", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a second model answered, and what that cost."""

    message: AIMessage
    parsed: Any
    """The parsed object where a schema was given, else None."""
    spend: Spend


class Asker(Protocol):
    """How a verifier calls a model: a flow of an `Opinion`, on the step's bill and inside its boundary."""

    def __call__(
        self,
        prompt: str | list[Any],
        *,
        purpose: Literal["judge", "agreement", "self_rated"],
        tier: str | None = None,
        schema: type[BaseModel] | None = None,
    ) -> Generator[Any, Any, Opinion]:
        """Ask the first endpoint of `tier` that is not the one under check.

        Without `tier`, ask the very endpoint that gave the reply (self-rating).

        Raises:
            NoEndpointAvailable: The step's boundary or the tier leaves nothing to ask.
        """
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """One reply under check, and everything a verifier may look at."""

    request: Request
    reply: AIMessage
    tier: str
    endpoint: str
    ask: Asker
    parsed: Any = None
    """The parsed object where the request has a schema and parsing went well."""
    parsing_error: BaseException | None = None
    verdicts: tuple[Verdict, ...] = ()
    """What the checks before this one found."""
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict, repr=False)
    """What was registered from Python, by name."""

    @property
    def text(self) -> str:
        """The reply's text, its text blocks joined."""
        return message_text(self.reply)


made_case = maker(Case)


class Verifier(BaseModel):
    """Base of all verifiers. `name` is the word in the policy; the fields are its settings."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `true` where a number is wanted; pydantic would take it for 1."""
        wanted = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and wanted in (float, int, float | None, int | None):
            raise ValueError("should be a number, not true or false")
        return value

    name: ClassVar[str]
    reads: ClassVar[Literal["prefix", "reply"]] = "reply"
    """`prefix` where the check needs only the first words of a reply, so that a stream may start early."""
    shorthand: ClassVar[str | None] = None
    """The setting that a bare value sets: with `min`, `{confidence: 0.7}` is `{confidence: {min: 0.7}}`."""

    def tiers(self) -> tuple[str, ...]:
        """Return the tiers that this check calls, so that loading a policy finds the unknown ones."""
        return ()

    @property
    def asks(self) -> bool:
        """Whether the check calls a model: such checks run last, and only while nothing was found wrong."""
        return bool(self.tiers())

    @property
    def may_blame_input(self) -> bool:
        """Whether a rejection may blame the step's input: the check compares the reply with its sources."""
        return False

    @property
    def only_looks(self) -> bool:
        """Whether `check` is one of langroute's own, which never wait."""
        return type(self).check.__module__.startswith(_OWN)

    def check(self, case: Case) -> Verdict:  # noqa: ARG002  # subclasses look at it
        """Return the verdict on one reply.

        It may wait, and ends with the step's deadline all the same. Where it reads a `prefix`, it is made in
        the middle of a stream as well, which does not wait for it: what it looks at is shown once it is done.
        """
        raise TypeError(f"{type(self).__name__} must define check() or judge()")

    def judge(self, case: Case) -> Generator[Any, Any, Verdict]:
        """Return the verdict as a flow; the default calls `check`, in a thread where that may wait."""
        if self.only_looks:
            return self.check(case)
        verdict: Verdict = yield Io(
            lambda: self.check(case), lambda: abeside(lambda: self.check(case), ASIDE)
        )
        return verdict

    def accepts(self, reason: str, score: float | None = None, **kwargs: Any) -> Verdict:
        """Return an accepting verdict in this verifier's name."""
        return made_verdict(
            self.name, accepted=True, reason=shown(reason, _REASON_CHARS), score=score, **kwargs
        )

    def rejects(self, reason: str, score: float | None = None, **kwargs: Any) -> Verdict:
        """Return a rejecting verdict in this verifier's name."""
        return made_verdict(
            self.name, accepted=False, reason=shown(reason, _REASON_CHARS), score=score, **kwargs
        )


CustomResult = Verdict | bool | str
CustomCheck = Callable[[Case], CustomResult | Awaitable[CustomResult]]
"""What a person may pass for a verifier: see `langroute.verifiers.custom`."""


def without_thoughts(text: str) -> str:
    """Return a reply's text without the `<think>…</think>` that some models open it with, closed or not."""
    opening = _THOUGHTS.match(text)
    return text[opening.end() :] if opening else text


def shown(text: str, limit: int = 80) -> str:
    """Return text of a reply as it may stand in a reason: one line, at most `limit` characters."""
    line = printable(" ".join(text[: 2 * limit].split()))
    return line if len(line) <= limit and len(text) <= 2 * limit else f"{line[: limit - 1]}…"
