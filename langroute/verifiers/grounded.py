"""Grounding: what a reply states occurs in the text it was given."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from langchain_core.messages import AIMessage
from pydantic import Field

from langroute.cascade import Verdict
from langroute.request import message_text
from langroute.verifiers.base import Case, Verifier, shown, without_thoughts
from langroute.verifiers.citations import QUOTE
from langroute.verifiers.dates import date_of, dates_in
from langroute.verifiers.language import detect_language
from langroute.verifiers.sources import FIGURE, Source
from langroute.verifiers.structured import NotJsonError, leaves, stated_data

__all__ = ["Grounded"]

_MAX_VALUES = 5_000
"""Values that are looked up; what a reply states beyond them counts as not grounded."""

_BRACKET = re.compile(r"\[[^\[\]\n]{1,200}\]")
_LIST_MARK = re.compile(r"^[ \t]*(?:\d{1,3}[.)]|[-*•])[ \t]+", re.MULTILINE)
# A line with more below it that is all bold, or ends in a colon, is a heading, too.
_HEADING = re.compile(
    r"^[ \t]*+(?:#.*|(?:\*\*[^*\n]{1,80}\*\*:?|[^.!?:\n]{1,80}:)[ \t]*(?=\n\s*+\S))$", re.MULTILINE
)
# Capitalised words inside a sentence; where one may begin, a capital says nothing.
_NAME = re.compile(r"(?<=[\w,;)] )[A-ZÀ-ÖØ-ÞĀ-ŽΑ-ΩА-Я][\w'’-]+(?: [A-ZÀ-ÖØ-ÞĀ-ŽΑ-ΩА-Я][\w'’-]+)*")
_POSSESSIVE = re.compile(r"['’]s?$")
_PERSON = re.compile(r"[^\W\d_a-z][\w'’.-]*(?: [^\W\d_][\w'’.-]*){0,3} [^\W\d_a-z][\w'’.-]*")

_NO_NAMES = (
    "a an the my your our their his her its this that these those i i'm i've i'd i'll it it's he she we you "
    "they yes no not and or but if as in on at by for from of to with is are was were "
    "answer answers summary conclusion note notes question questions source sources result results reason "
    "finding findings key final short full main document documents detail details overview background total "
    "table figure section chapter page part step point example date name here there however therefore"
)
"""Words that are no names, also where a title or a label capitalises them: "The Answer: …"."""

Claim = tuple[str, Any]
"""Where a value stands (a dotted path, or "" in prose), and the value."""


class Grounded(Verifier):
    """What the reply states occurs in the source: a value that was made up is found out.

    Of a structured reply (parsed, or JSON in the text) every string and number is looked up; of a
    pydantic object, those that the model set and not the defaults. Of prose, the numbers, the dates, the
    quotations and the names (capitalised words within a sentence; not in German, where every noun has
    one). Case, white space and punctuation do not matter, and numbers and dates are compared by value:
    2.5 million is 2,500,000, and 3 May 2026 is 2026-05-03, but 3/5/2026 could be another day and is only
    found as it is written. A person's name may leave out what stands between its parts. A category the
    model was asked to choose occurs nowhere: name the `fields` that are extracted. The score is the share
    of values that occur.

    A value that does not occur blames the step's input, and so does a list of documents that was given and
    is empty; a reply that holds no object is its model's own fault.
    """

    name: ClassVar[str] = "grounded"
    shorthand: ClassVar[str | None] = "in"

    source: Literal["documents", "prompt"] = Field(alias="in")
    """`documents` the caller supplied, or the whole `prompt` but the model's own earlier turns."""
    fields: tuple[str, ...] | None = None
    """Dotted names of the fields that must be grounded, with all that is inside them; None is all."""
    min: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    """Share of the values that must occur."""

    @property
    def may_blame_input(self) -> bool:
        """Whether a rejection may blame the step's input: it may lack what is stated."""
        return True

    def check(self, case: Case) -> Verdict:
        """Accept a reply of which enough values occur in the source."""
        texts = self._texts(case)
        if not any(texts):
            nothing = f"there is nothing in the {self.source} that the reply could be grounded in"
            empty = self.source == "documents" and case.request.given_documents == ()
            return self.rejects(nothing, 0.0, unsure=True, blames_input=empty)
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
        return self.rejects(
            f"{_listed(loose, beyond)} not occur in the {self.source}", score, blames_input=True
        )

    def _texts(self, case: Case) -> list[str]:
        if self.source == "documents":
            return [document.text for document in case.request.documents]
        return [message_text(m) for m in case.request.messages if not isinstance(m, AIMessage)]

    def _claims(self, case: Case) -> list[Claim] | None:
        """Return what the reply states; None where a structured reply was asked for and there is none."""
        try:
            data = stated_data(case)
        except NotJsonError:
            structured = case.request.schema is not None or self.fields
            return None if structured else list(_prose_claims(without_thoughts(case.text)))
        return list(dict.fromkeys((path, value) for path, value in leaves(data) if self._counts(path, value)))

    def _counts(self, path: str, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            return False
        return self.fields is None or any(path == name or path.startswith(f"{name}.") for name in self.fields)


def _occurs(source: Source, value: Any) -> bool:
    if not isinstance(value, str):
        return source.has_number(value)
    if source.has(value):
        return True
    day = date_of(value)
    return source.has_day(day) if day else bool(_PERSON.fullmatch(value)) and source.has_name(value)


def _prose_claims(text: str) -> Iterator[Claim]:
    """Yield dates, numbers, quotations and names of a text; citations, list marks and headings are none."""
    text = _BRACKET.sub(" ", _LIST_MARK.sub("", _HEADING.sub("", text)))
    quotes = [next(filter(None, match.groups())) for match in QUOTE.finditer(text)]
    dates, rest = _dates_cut_out(text)
    found = dates + [match.group().rstrip(".,'") for match in FIGURE.finditer(rest)] + quotes
    if detect_language(text) != "de":
        no_names = set(_NO_NAMES.split())
        names = (_POSSESSIVE.sub("", match.group()) for match in _NAME.finditer(rest))
        found += [
            name for name in names if not no_names.issuperset(name.casefold().replace("’", "'").split())
        ]
    yield from (("", value) for value in dict.fromkeys(found))


def _dates_cut_out(text: str) -> tuple[list[str], str]:
    """Return the dates of a text as written, and the text without them."""
    dates, rest, end = [], [], 0
    for found in dates_in(text):
        written = text[found.start : found.end]
        # "may 3" is a verb and a number, "May 3" a date.
        if found.day.year is not None or not written.islower():
            dates.append(written)
            rest.append(text[end : found.start])
            end = found.end
    return dates, "; ".join((*rest, text[end:]))


def _listed(loose: list[Claim], beyond: int) -> str:
    """Return the subject of a rejection: the first values that do not occur, with their fields."""
    parts = [f"{shown(str(value), 60)!r}" + (f" ({path})" if path else "") for path, value in loose[:3]]
    more = len(loose) + beyond - len(parts)
    listed = ", ".join(parts) + (f" and {more} more" if more else "")
    return f"{listed} {'does' if len(loose) + beyond == 1 else 'do'}"
