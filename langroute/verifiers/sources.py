"""Whether words, numbers, dates and names occur in a source, however they are written there."""

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property

from langroute.verifiers.dates import Day, dates_in

__all__ = ["FIGURE", "Source", "number_text"]

_SEARCH_CHARS = 300_000_000
"""Characters that one source may be searched for phrases: a second or two; what comes after is not found."""

_PATTERN_COST = 10
"""How much longer the search for a pattern takes than that for a phrase, about."""

# Scripts that write no spaces: every character is a word.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"\d+(?:\.\d+)?|[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+")
_SPACED = re.compile(r"(?<![\d.,'])\d{1,3}(?: \d{3})+(?!\d)")
# The look-behind keeps a megabyte of digits from being tried from each of them.
_NUMBER = re.compile(r"(?<!\d)\d++(?:[.,']\d++)+")
_GROUPED = re.compile(r"\d{1,3}(?:([.,'])\d{3})(?:\1\d{3})*(?:(?!\1)[.,](\d+))?")
_POINTED = re.compile(r"(?<![\d.,'])\d{1,3}\.\d{3}(?![\d.,']*\d)")

_SCALES = {
    **dict.fromkeys(("k", "thousand", "thousands", "tausend"), 3),
    **dict.fromkeys(("million", "millions", "millionen", "millones", "mio", "mn"), 6),
    **dict.fromkeys(
        ("billion", "billions", "bn", "milliard", "milliards", "milliarde", "milliarden", "mrd"), 9
    ),
    **dict.fromkeys(("trillion", "trillions", "billionen"), 12),
}
"""Powers of ten of the words that follow a number; not "m", which is metres as well."""

_SCALE = rf"(?:k|[ -]?(?:{'|'.join(word for word in _SCALES if word != 'k')}))\b"
_SCALED = re.compile(rf"(?<![\w.])(\d{{1,15}}(?:\.\d{{1,15}})?+)({_SCALE})")

FIGURE = re.compile(rf"\d[\d.,']*+(?:{_SCALE})?", re.IGNORECASE)
"""A number with what scales it: `1,200`, `2.5 million`, `3k`."""

_BETWEEN = r"(?:[^\W\d_a-z][\w'’-]*+\.?+|van|von|der|den|de|del|della|di|da|du|la|le|bin|al|el|y)\s++"
"""A further part of a person's name: capitalised, an initial, or a particle."""


class Source:
    """Texts that are searched together; a phrase never spans two of them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = list(texts)
        folded = [_folded(text) for text in self._texts]
        words = [_words(text) for text in folded]
        self._line = " " + " | ".join(" ".join(some) for some in words) + " "
        self._words = {word for some in words for word in some}
        # 1.234 is taken for a decimal; a source may mean 1234 by it.
        self._words.update(number.replace(".", "") for text in folded for number in _POINTED.findall(text))
        self._words.update(match[1] for text in folded for match in _SCALED.finditer(_in_digits(text)))
        self._left = _SEARCH_CHARS

    def has(self, phrase: str) -> bool:
        """Return whether the words of `phrase` stand in the source, in order and together.

        A number is found in any of its forms: 1,234.50 and 1234.5 and 1.234,5 are one, and so are 2.5
        million and 2,500,000. A phrase without words is found everywhere.
        """
        words = _words(_folded(phrase))
        if not self._words.issuperset(words):
            return False
        if not words[1:]:
            return True
        self._left -= len(self._line)
        return self._left >= 0 and f" {' '.join(words)} " in self._line

    def has_number(self, number: float) -> bool:
        """Return whether the source states this number, whatever its sign and the grouping of its digits."""
        return self.has(number_text(number))

    def has_day(self, day: Day) -> bool:
        """Return whether the source states this date in any form.

        A date that the source states without its year is found where the year stands anywhere in it.
        """
        if day.year is None:
            return any(other[1:] == day[1:] for other in self._days)
        return day in self._days or (day._replace(year=None) in self._days and str(day.year) in self._words)

    def has_name(self, name: str) -> bool:
        """Return whether the parts of a person's name occur in order, with at most two more between them.

        So `Cyrus Field` is found in `Cyrus W. Field`.
        """
        first, *others = (f"(?i:{re.escape(part)})" for part in name.split())
        if not others or not self._words.issuperset(_words(_folded(name))):
            return False
        self._left -= _PATTERN_COST * sum(map(len, self._texts))
        gap = rf"\s++(?:{_BETWEEN}){{0,2}}"
        pattern = re.compile(rf"\b{gap.join([first, *others])}\b")
        return self._left >= 0 and any(map(pattern.search, self._texts))

    @cached_property
    def _days(self) -> set[Day]:
        return {found.day for text in self._texts for found in dates_in(text)}


def number_text(number: float) -> str:
    """Return a number in plain digits: 1e-05 as 0.00001, 5.0 as 5."""
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'")


def _words(text: str) -> list[str]:
    return _WORD.findall(_SCALED.sub(_unscaled, _in_digits(text)))


def _in_digits(text: str) -> str:
    """Return a text whose numbers have no separators but a decimal point."""
    text = _SPACED.sub(lambda match: match.group().replace(" ", ""), text)
    return _NUMBER.sub(lambda match: _canonical(match.group()), text)


def _unscaled(match: re.Match[str]) -> str:
    power = _SCALES[match[2].strip(" -")]
    text = format(Decimal(match[1]).scaleb(power), "f")
    return f" {text.rstrip('0').rstrip('.') if '.' in text else text} "


def _canonical(number: str) -> str:
    """Return digits with a point: `1,234.50` as 1234.5, `3,5` as 3.5; no number (`1.2.3`) in its parts."""
    separators = [char for char in number if not char.isdigit()]
    # A single point is a decimal point, also before three digits: in most data 1.234 is not 1234.
    grouped = None if separators == ["."] else _GROUPED.fullmatch(number)
    if grouped:
        fraction = grouped.group(2) or ""
        whole = number[: len(number) - len(fraction) - 1] if fraction else number
        return _joined("".join(filter(str.isdigit, whole)), fraction)
    if separators in (["."], [","]):
        return _joined(*re.split(r"[.,]", number))
    return " ".join(re.split(r"[.,']", number))


def _joined(whole: str, fraction: str) -> str:
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole
