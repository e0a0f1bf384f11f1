"""Dates in running text, however they are written, as values that can be compared."""

import re
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

__all__ = ["Day", "FoundDay", "date_of", "dates_in"]


class Day(NamedTuple):
    """A day of the calendar; the year is None where the text leaves it out."""

    year: int | None
    month: int
    day: int


class FoundDay(NamedTuple):
    """A date in a text, and the characters in which it stands."""

    day: Day
    start: int
    end: int


_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar janvier enero gennaio januari janeiro jänner",
            "february feb februar février febrero febbraio februari fevereiro",
            "march mar märz mars marzo maart março",
            "april apr avril abril aprile",
            "may mai mayo maggio mei maio",
            "june jun juni juin junio giugno junho",
            "july jul juli juillet julio luglio julho",
            "august aug août agosto augustus",
            "september sept sep septembre septiembre settembre setembro",
            "october oct oktober okt octobre octubre ottobre outubro",
            "november nov novembre noviembre novembro",
            "december dec dezember dez décembre diciembre dicembre dezembro",
        ),
        start=1,
    )
    for name in names.split()
}
_MONTH = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\b\.?"
_GAP = r"\s{1,3}"
_DATE = re.compile(
    rf"""
      (?<![\d.,/-])(?=\d{{4}}[-/.年]|\d{{1,2}}[-/.]\d)(?:
          (?P<iso>\d{{4}})(?P<s1>[-/.])(?P<iso_m>\d{{1,2}})(?P=s1)(?P<iso_d>\d{{1,2}})(?!\d)
        | (?P<n1>\d{{1,2}})(?P<s2>[./-])(?P<n2>\d{{1,2}})(?P=s2)(?P<num_y>\d{{4}})(?!\d)
        | (?P<cjk>\d{{4}})年(?P<cjk_m>\d{{1,2}})月(?P<cjk_d>\d{{1,2}})日
      )
    | (?<![\d.,])(?=\d{{1,2}}[^\d,])(?P<dm_d>\d{{1,2}})(?:st|nd|rd|th|er|[.º])?
      (?:{_GAP}(?:day{_GAP})?(?:of|de))?(?:{_GAP}|-)
      (?P<dm_m>{_MONTH})(?:(?:,?{_GAP}(?:(?:de|of){_GAP})?|-)(?P<dm_y>\d{{4}})(?!\d))?
    | (?<![^\W_])(?=[{"".join(sorted({name[0] for name in _MONTHS}))}])(?P<md_m>{_MONTH}){_GAP}
      (?P<md_d>\d{{1,2}})(?!\d)(?:st|nd|rd|th)?(?:,?{_GAP}(?:of{_GAP})?(?P<md_y>\d{{4}})(?!\d))?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_TIMED = re.compile(r"(\d{4}-\d\d-\d\d)[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]\d\d:?\d\d)?")

_MAX_MONTH = 12


def date_of(text: str) -> Day | None:
    """Return the date that a whole text is, at midnight where it says a time; None where it is none."""
    timed = _TIMED.fullmatch(text.strip())
    text = timed.group(1) if timed else text.strip()
    found = next(dates_in(text), None)
    return found.day if found and (found.start, found.end) == (0, len(text)) else None


def dates_in(text: str) -> Iterator[FoundDay]:
    """Yield the dates of a text, in order.

    `03.05.2026` is the third of May. `3/5/2026`, which is that or the fifth of March, is no date; with a
    number above 12, or twice the same, it can be told. Nor is a day that no calendar has.
    """
    for match in _DATE.finditer(text):
        day = _day(match)
        if day is not None and _exists(day):
            yield FoundDay(day, match.start(), match.end())


def _day(match: re.Match[str]) -> Day | None:
    part = match.groupdict()
    if part["iso"]:
        return Day(int(part["iso"]), int(part["iso_m"]), int(part["iso_d"]))
    if part["cjk"]:
        return Day(int(part["cjk"]), int(part["cjk_m"]), int(part["cjk_d"]))
    if part["num_y"]:
        return _numeric(int(part["n1"]), int(part["n2"]), int(part["num_y"]), dotted=part["s2"] == ".")
    kind = "dm" if part["dm_d"] else "md"
    month = _MONTHS[part[f"{kind}_m"].casefold().rstrip(".")]
    year = part[f"{kind}_y"]
    return Day(int(year) if year else None, month, int(part[f"{kind}_d"]))


def _numeric(first: int, second: int, year: int, *, dotted: bool) -> Day | None:
    """Return a date of three numbers; None where day and month cannot be told apart."""
    if dotted or first > _MAX_MONTH or first == second:
        return Day(year, second, first)
    return Day(year, first, second) if second > _MAX_MONTH else None


def _exists(day: Day) -> bool:
    try:
        date(day.year or 2000, day.month, day.day)  # 2000 has a 29 February
    except ValueError:
        return False
    return True
