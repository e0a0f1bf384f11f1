"""Grounding: what a reply states occurs in the text it was given."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from langchain_core.messages import AIMessage
from pydantic import Field

from langroute.cascade import Verdict
from langroute.request import message_text
from langroute.verifiers.base import Case, Verifier, shown
from langroute.verifiers.citations import QUOTE
from langroute.verifiers.language import detect_language
from langroute.verifiers.sources import Source
from langroute.verifiers.structured import NotJsonError, leaves, reply_data

__all__ = ["Grounded"]

_MAX_VALUES = 5_000
"""Values that are looked up; what a reply states beyond them counts as not grounded."""

_BRACKET = re.compile(r"\[[^\[\]\n]{1,200}\]")
_LIST_MARK = re.compile(r"^[ \t]*(?:\d{1,3}[.)]|[-*•])[ \t]+", re.MULTILINE)
_HEADING = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_FIGURE = re.compile(r"\d[\d.,']*")
# Capitalised words inside a sentence; where one may begin, a capital says nothing.
_NAME = re.compile(r"(?<=[\w,;)] )[A-ZÀ-ÖØ-ÞĀ-ŽΑ-ΩА-Я][\w'’-]+(?: [A-ZÀ-ÖØ-ÞĀ-ŽΑ-ΩА-Я][\w'’-]+)*")

Claim = tuple[str, Any]
"""Where a value stands (a dotted path, or "" in prose), and the value."""


class Grounded(Verifier):
    """What the reply states occurs in the source: a value that was made up is found out.

    Of a structured reply (parsed, or JSON in the text) every string and number is looked up; case,
    white space, punctuation and number formats do not matter. Of prose, the numbers, the quotations
    and the names (capitalised words within a sentence; not in German, where every noun has one). A
    category the model was asked to choose occurs nowhere: name the `fields` that are extracted. The
    score is the share of values that occur.
    """

    name: ClassVar[str] = "grounded"
    shorthand: ClassVar[str | None] = "in"

    source: Literal["documents", "prompt"] = Field(alias="in")
    """`documents` the caller supplied, or the whole `prompt` but the model's own earlier turns."""
    fields: tuple[str, ...] | None = None
    """Dotted names of the fields that must be grounded, with all that is inside them; None is all."""
    min: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    """Share of the values that must occur."""

    def check(self, case: Case) -> Verdict:
        """Accept a reply of which enough values occur in the source."""
        texts = self._texts(case)
        if not any(texts):
            nothing = f"there is nothing in the {self.source} that the reply could be grounded in"
            return self.rejects(nothing, 0.0, unsure=True)
        claims = self._claims(case)
        if claims is None:
            return self.rejects("the reply has no object that could be grounded", 0.0)
        if not claims:
            return self.accepts("the reply states no value that needs a source")
        source = Source(texts)
        loose = [claim for claim in claims[:_MAX_VALUES] if not _occurs(source, claim[1])]
        beyond = max(len(claims) - _MAX_VALUES, 0)
        score = 1 - (len(loose) + beyond) / len(claims)
        if score >= self.min:
            return self.accepts(
                f"{len(claims) - len(loose)} of {len(claims)} values occur in the {self.source}", score
            )
        return self.rejects(f"{_listed(loose, beyond)} not occur in the {self.source}", score)

    def _texts(self, case: Case) -> list[str]:
        if self.source == "documents":
            return [document.text for document in case.request.documents]
        return [message_text(m) for m in case.request.messages if not isinstance(m, AIMessage)]

    def _claims(self, case: Case) -> list[Claim] | None:
        """Return what the reply states; None where a structured reply was asked for and there is none."""
        try:
            data = reply_data(case)
        except NotJsonError:
            return None if case.request.schema is not None or self.fields else list(_prose_claims(case.text))
        return list(dict.fromkeys((path, value) for path, value in leaves(data) if self._counts(path, value)))

    def _counts(self, path: str, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            return False
        return self.fields is None or any(path == name or path.startswith(f"{name}.") for name in self.fields)


def _occurs(source: Source, value: Any) -> bool:
    return source.has(value) if isinstance(value, str) else source.has_number(value)


def _prose_claims(text: str) -> Iterator[Claim]:
    """Yield numbers, quotations and names of a text; citations, list marks and headings are none."""
    text = _BRACKET.sub(" ", _LIST_MARK.sub("", _HEADING.sub("", text)))
    found = [match.group().rstrip(".,'") for match in _FIGURE.finditer(text)]
    found += [next(filter(None, match.groups())) for match in QUOTE.finditer(text)]
    if detect_language(text) != "de":
        found += [match.group() for match in _NAME.finditer(text)]
    yield from (("", value) for value in dict.fromkeys(found))


def _listed(loose: list[Claim], beyond: int) -> str:
    """Return the subject of a rejection: the first values that do not occur, with their fields."""
    parts = [f"{shown(str(value), 60)!r}" + (f" ({path})" if path else "") for path, value in loose[:3]]
    more = len(loose) + beyond - len(parts)
    listed = ", ".join(parts) + (f" and {more} more" if more else "")
    return f"{listed} {'does' if len(loose) + beyond == 1 else 'do'}"
