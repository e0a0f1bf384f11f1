"""Whether words occur in a source, however they are cased, spaced, punctuated, or their numbers written."""

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property

__all__ = ["Source", "number_text"]

_SEARCH_CHARS = 300_000_000
"""Characters that one source may be searched for phrases: a second or two; what comes after is not found."""

# Scripts that write no spaces: every character is a word.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"\d+(?:\.\d+)?|[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+")
_PLAIN_WORD = re.compile(rf"\d+|[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+")
_NUMBER = re.compile(r"\d+(?:[.,' ]\d+)+")
_SPACED = re.compile(r"\d{1,3}(?: \d{3})+(?:[.,]\d+)?")
_GROUPED = re.compile(r"\d{1,3}(?:([.,'])\d{3})(?:\1\d{3})*(?:(?!\1)[.,](\d+))?")


class Source:
    """Texts that are searched together; a phrase never spans two of them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [_folded(text) for text in texts]
        self._left = _SEARCH_CHARS

    def has(self, phrase: str) -> bool:
        """Return whether the words of `phrase` stand in the source, in order and together.

        A number is found in any of its forms: 1,234.50 and 1234.5 and 1.234,5 are one. A phrase
        without words is found everywhere.
        """
        text = _folded(phrase)
        return self._holds(self._by_value, _words(text)) or self._holds(
            self._as_written, _PLAIN_WORD.findall(text)
        )

    def has_number(self, number: float) -> bool:
        """Return whether the source states this number, in any grouping of its digits."""
        return self.has(number_text(number)) or (isinstance(number, int) and self.has(f"{abs(number):,}"))

    @cached_property
    def _by_value(self) -> tuple[str, frozenset[str]]:
        return _searchable([_words(text) for text in self._texts])

    @cached_property
    def _as_written(self) -> tuple[str, frozenset[str]]:
        return _searchable([_PLAIN_WORD.findall(text) for text in self._texts])

    def _holds(self, form: tuple[str, frozenset[str]], words: list[str]) -> bool:
        line, vocabulary = form
        if not all(word in vocabulary for word in words):
            return False
        if len(words) < 2:
            return True
        self._left -= len(line)
        return self._left >= 0 and f" {' '.join(words)} " in line


def number_text(number: float) -> str:
    """Return a number in plain digits: 1e-05 as 0.00001, 5.0 as 5."""
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _searchable(texts: list[list[str]]) -> tuple[str, frozenset[str]]:
    line = " | ".join(" ".join(words) for words in texts)
    return f" {line} ", frozenset(word for words in texts for word in words)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'")


def _words(text: str) -> list[str]:
    return _WORD.findall(_NUMBER.sub(lambda match: _canonical(match.group()), text))


def _canonical(number: str) -> str:
    """Return digits with a point: `1,234.50` as 1234.5, `1 234,5` as 1234.5, `3,5` as 3.5, `1.2.3` as `1 2 3`."""
    if _SPACED.fullmatch(number):
        whole, _, fraction = number.replace(" ", "").replace(",", ".").partition(".")
        return _joined(whole, fraction)
    return " ".join(_one_number(part) for part in number.split(" "))


def _one_number(number: str) -> str:
    separators = [char for char in number if not char.isdigit()]
    if not separators:
        return number
    # A single point is a decimal point, also before three digits: 1.234 is not 1234 in most of the world's data.
    if separators == ["."]:
        return _joined(*number.split("."))
    grouped = _GROUPED.fullmatch(number)
    if grouped:
        fraction = grouped.group(2) or ""
        whole = number[: len(number) - len(fraction) - 1] if fraction else number
        return _joined("".join(filter(str.isdigit, whole)), fraction)
    if separators == [","]:
        return _joined(*number.split(","))
    return " ".join(re.split(r"[.,']", number))


def _joined(whole: str, fraction: str) -> str:
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole
