"""The text of a reply: is it there, whole, as long as wanted, of the right form, and new?"""

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from langchain_core.messages import AIMessage
from pydantic import AfterValidator, Field, model_validator

from langroute.cascade import Verdict
from langroute.request import Request, message_text
from langroute.verifiers.base import Case, Verifier, without_thoughts
from langroute.verifiers.finish import ending
from langroute.verifiers.patterns import check_pattern, found
from langroute.visible import says_nothing

__all__ = ["Length", "NotDuplicate", "NotEmpty", "NotTruncated", "Patterns"]

_JSON_TOKEN = re.compile(r"\\.|[\"{}\[\]]", re.DOTALL)
# A bracket alone opens prose, too: "[see below". JSON goes on with a key, a value or the end.
_JSON_OPENING = re.compile(
    r"(?:\[\s*+)*+(?:\{\s*+(?:[\"}]|\Z)|[\"\]]|(?:-?\d[\d.eE+-]*+|true|false|null|-)?+\s*+(?:[,\]]|\Z))"
)
_FENCE = re.compile(r"\s*```\w*\s*")
_WORD = re.compile(r"\w+")

_RECENT = 5
"""Earlier replies that a new one is compared with."""

_MIN_WORDS = 8
"""Words below which a repetition says nothing: "Yes." may be the right answer twice."""

_MAX_WORDS = 20_000
"""Words of a reply that are compared."""

Pattern = Annotated[str, AfterValidator(check_pattern)]


class NotEmpty(Verifier):
    """The reply holds something: visible text, a tool call, a picture or a sound.

    Thoughts are nothing, neither in blocks of their own nor as `<think>…</think>` in the text.

    An empty reply is unusable: returned as the best there is, it would pass for an answer.
    """

    name: ClassVar[str] = "not_empty"
    reads: ClassVar[Literal["prefix", "reply"]] = "prefix"

    def check(self, case: Case) -> Verdict:
        """Accept a reply with content, however short."""
        if (
            not says_nothing(without_thoughts(case.text))
            or case.parsed is not None
            or any(_other_content(case.reply))
        ):
            return self.accepts("the reply is not empty")
        return self.rejects("the reply is empty", usable=False)


class NotTruncated(Verifier):
    """The reply was not cut: no limit ended it, and where it is JSON, every bracket is closed.

    A cut reply that calls tools is unusable, since a cut argument may look whole.
    """

    name: ClassVar[str] = "not_truncated"

    def check(self, case: Case) -> Verdict:
        """Accept a reply that ends where it meant to."""
        calls = bool(case.reply.tool_calls or case.reply.invalid_tool_calls)
        if ending(case.reply) == "cut":
            return self.rejects("the reply was cut by its token limit", usable=not calls)
        if _open_brackets(case.text):
            return self.rejects("the reply's JSON ends before its brackets are closed", usable=not calls)
        return self.accepts("the reply is whole")


class Length(Verifier):
    """The reply's text has a length within bounds, white space around it not counted."""

    name: ClassVar[str] = "length"

    min_chars: int = Field(default=0, ge=0)
    max_chars: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        if not self.min_chars and self.max_chars is None:
            raise ValueError("length needs min_chars or max_chars")
        if self.max_chars is not None and self.min_chars > self.max_chars:
            raise ValueError(f"min_chars ({self.min_chars}) is above max_chars ({self.max_chars})")
        return self

    def check(self, case: Case) -> Verdict:
        """Accept a reply that is neither too short nor too long."""
        chars = len(case.text.strip())
        if chars < self.min_chars:
            return self.rejects(f"the reply has {chars} characters, fewer than {self.min_chars}")
        if self.max_chars is not None and chars > self.max_chars:
            return self.rejects(f"the reply has {chars} characters, more than {self.max_chars}")
        return self.accepts(f"the reply has {chars} characters")


class Patterns(Verifier):
    """The reply's text matches every required pattern and no forbidden one, anywhere in it.

    Patterns are regular expressions without look-around and back-references, so that they take linear
    time on any reply; `(?i)` ignores case.
    """

    name: ClassVar[str] = "patterns"

    forbidden: tuple[Pattern, ...] = ()
    required: tuple[Pattern, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.forbidden and not self.required:
            raise ValueError("patterns needs a forbidden or a required pattern")
        return self

    def check(self, case: Case) -> Verdict:
        """Accept a reply that has what it must and nothing that it may not."""
        text = case.text
        for pattern in self.forbidden:
            if found(pattern, text):
                return self.rejects(f"the reply matches the forbidden pattern {pattern!r}")
        for pattern in self.required:
            if not found(pattern, text):
                return self.rejects(f"the reply does not match the required pattern {pattern!r}")
        return self.accepts("the reply matches what it must and nothing that it may not")


class NotDuplicate(Verifier):
    """The reply does not say again what one of the last five replies of the conversation said.

    The similarity is the share of three-word runs that two texts have in common (Jaccard index, after
    Broder 1997). Texts under 8 words are not compared.
    """

    name: ClassVar[str] = "not_duplicate"
    shorthand: ClassVar[str | None] = "max_similarity"

    max_similarity: float = Field(default=0.9, ge=0, le=1, allow_inf_nan=False)

    def check(self, case: Case) -> Verdict:
        """Accept a reply that is new; the score is 1 less its likeness to the nearest earlier one."""
        own = _runs(case.text)
        if not own:
            return self.accepts("the reply is too short to be compared")
        nearest = max((_likeness(own, _runs(text)) for text in _recent_texts(case.request)), default=0.0)
        if nearest > self.max_similarity:
            return self.rejects(
                f"the reply repeats an earlier one: {nearest:.0%} of its wording is the same", 1 - nearest
            )
        return self.accepts("the reply repeats no earlier one", 1 - nearest)


def _other_content(reply: AIMessage) -> Iterator[bool]:
    """Yield whether a reply holds tool calls, or blocks that are neither text nor thoughts about it."""
    yield bool(reply.tool_calls or reply.invalid_tool_calls)
    if not isinstance(reply.content, str):
        for block in reply.content:
            kind = block.get("type") if isinstance(block, dict) else "text"
            yield kind not in {"text", "output_text", "reasoning", "thinking", "redacted_thinking", "refusal"}


def _open_brackets(text: str) -> bool:
    """Return whether a text that begins as JSON ends inside it; in a fenced block, too."""
    fence = _FENCE.match(text)
    body = text[fence.end() :] if fence else text.lstrip()
    if body[:1] not in {"{", "["} or not _JSON_OPENING.match(body):
        return False
    depth, in_string = 0, False
    for match in _JSON_TOKEN.finditer(body):
        char = match.group()
        if char == '"':
            in_string = not in_string
        elif not in_string and char in "{[":
            depth += 1
        elif not in_string and char in "}]":
            depth -= 1
            if depth == 0:
                return False
    return depth > 0


def _recent_texts(request: Request) -> Iterator[str]:
    replies = (m for m in reversed(request.messages) if isinstance(m, AIMessage) and m.content)
    for _, message in zip(range(_RECENT), replies, strict=False):
        yield message_text(message)


def _runs(text: str) -> set[tuple[str, ...]]:
    """Return the three-word runs of a text; none where it is too short to be compared."""
    # Cutting the characters first keeps a text without spaces from being read whole.
    words = _WORD.findall(text[: 20 * _MAX_WORDS].casefold())[:_MAX_WORDS]
    if len(words) < _MIN_WORDS:
        return set()
    return set(zip(words, words[1:], words[2:], strict=False))


def _likeness(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other)
