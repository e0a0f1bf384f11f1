"""Values in plain text: numbers, dates, addresses, names and labelled lines, and which one a field means."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from langroute.testing.standins.words import stems

__all__ = ["Value", "candidates", "labelled_value", "nearest", "spoken_date", "spoken_number"]

_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONGEST_MONTH_DAYS = 31
_MONTH = rf"(?:{'|'.join(_MONTHS)})[a-z]*\.?"

_PATTERNS: dict[str, re.Pattern[str]] = {
    "number": re.compile(
        rf"(?<![\w.])-?(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?(?!\w)|\b(?:{'|'.join(_NUMBER_WORDS)})\b",
        re.IGNORECASE,
    ),
    "date": re.compile(
        rf"\b\d{{4}}-\d\d-\d\d\b|\b\d{{1,2}}[./]\d{{1,2}}[./]\d{{4}}\b"
        rf"|\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}\s+\d{{4}}\b"
        rf"|\b{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}\b",
        re.IGNORECASE,
    ),
    "email": re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"),
    "url": re.compile(r"https?://[^\s<>\"')\]]+[^\s<>\"')\].,;]"),
    "phone": re.compile(r"(?<!\w)\+?\(?\d[\d ()/-]{6,}\d(?!\w)"),
    "code": re.compile(r"\b(?=[A-Z0-9-]{0,40}\d)[A-Z0-9]+(?:-[A-Z0-9]+)*\b"),
    "quoted": re.compile(r"(?<!\w)[\"“'‘«「`]([^\"”'’»」`\n]{1,200})[\"”'’»」`](?!\w)"),
    "place": re.compile(
        r"\b(?:in|at|from|to|for|near|of)\s+([A-Z][\w'’-]*(?:,?\s+[A-Z][\w'’-]*)*)"
        r"|\b(?:in|at|for|near)\s+(\w+)\s*[?.!]*$"
    ),
    "name": re.compile(r"(?:\b[A-Z][\w'’&.-]*\w)(?:\s+(?:[A-Z][\w'’&.-]*\w))*"),
}


@dataclass(frozen=True, slots=True)
class Value:
    """One value that stands in a text."""

    text: str
    at: int
    """Where it begins, in characters."""


def candidates(kind: str, text: str) -> Iterator[Value]:
    """Yield what a text has of one kind of value, in order; the kinds are those of the patterns above."""
    groups = [(found, found.lastindex or 0) for found in _PATTERNS[kind].finditer(text)]
    found = [Value(match.group(group), match.start(group)) for match, group in groups]
    if kind == "name":
        named = [value for value in found if stems(value.text)]
        # The first word of a sentence has its capital anyway.
        found = [
            value for value in named if " " in value.text or not _opens_sentence(value.at, text)
        ] or named
    yield from found


def _opens_sentence(at: int, text: str) -> bool:
    before = text[:at].rstrip()
    return not before or before[-1] in ".!?:"


def nearest(values: list[Value], label: list[str], text: str, used: set[int]) -> Value | None:
    """Return the value closest to a word of the field's label, the first unused one where no word is near."""
    free = [value for value in values if value.at not in used]
    places = [
        m.start() for m in re.finditer(r"[^\W_]+", text) if stems(m.group()) and stems(m.group())[0] in label
    ]
    if not free or not places:
        return free[0] if free else None
    # A label usually stands before its value: what it follows counts twice as far.
    return min(free, key=lambda value: min(max(value.at - p, 2 * (p - value.at)) for p in places))


def labelled_value(label: str, text: str) -> Value | None:
    """Return what follows `Label:` on its line, or `label is`, `label was`, `named`, `called`."""
    words = r"[\s_-]+".join(re.escape(word) for word in re.split(r"[\s_-]+", label) if word)
    found = re.search(
        rf"^[ \t*#-]*{words}[ \t*]*[:=][ \t*]*(\S[^\n]*)", text, re.IGNORECASE | re.MULTILINE
    ) or re.search(rf"\b{words}\b\s+(?:is|was|of|=|named|called)\s+([^\n.,;]+)", text, re.IGNORECASE)
    return Value(found.group(1).strip(" *"), found.start(1)) if found else None


def spoken_number(value: str) -> float:
    """Return the number that a text such as `1,250.5` or `three` says."""
    word = value.lower()
    return float(_NUMBER_WORDS.index(word) if word in _NUMBER_WORDS else word.replace(",", ""))


def spoken_date(value: str) -> str:
    """Return a date as `YYYY-MM-DD`, `3/4/2025` read day first; the text itself where it is no date."""
    figures = [int(figure) for figure in re.findall(r"\d+", value)]
    month = next((at for at, name in enumerate(_MONTHS, 1) if re.search(rf"\b{name}", value.lower())), None)
    try:
        if month:
            day, year = figures
            return date(year, month, day).isoformat()
        year, month_, day = figures if figures[0] > _LONGEST_MONTH_DAYS else figures[::-1]
        return date(year, month_, day).isoformat()
    except ValueError:
        return value
