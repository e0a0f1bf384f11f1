"""Whether words occur in a source, however they are cased, spaced, punctuated, or their numbers written."""

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal

__all__ = ["Source", "number_text"]

_SEARCH_CHARS = 300_000_000
"""Characters that one source may be searched for phrases: a second or two; what comes after is not found."""

# Scripts that write no spaces: every character is a word.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"\d+(?:\.\d+)?|[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+")
_SPACED = re.compile(r"(?<![\d.,'])\d{1,3}(?: \d{3})+(?!\d)")
# The look-behind keeps a megabyte of digits from being tried from each of them.
_NUMBER = re.compile(r"(?<!\d)\d++(?:[.,']\d++)+")
_GROUPED = re.compile(r"\d{1,3}(?:([.,'])\d{3})(?:\1\d{3})*(?:(?!\1)[.,](\d+))?")
_POINTED = re.compile(r"(?<![\d.,'])\d{1,3}\.\d{3}(?![\d.,']*\d)")


class Source:
    """Texts that are searched together; a phrase never spans two of them."""

    def __init__(self, texts: Iterable[str]) -> None:
        folded = [_folded(text) for text in texts]
        words = [_words(text) for text in folded]
        self._line = " " + " | ".join(" ".join(some) for some in words) + " "
        self._words = {word for some in words for word in some}
        # 1.234 is taken for a decimal; a source may mean 1234 by it.
        self._words.update(number.replace(".", "") for text in folded for number in _POINTED.findall(text))
        self._left = _SEARCH_CHARS

    def has(self, phrase: str) -> bool:
        """Return whether the words of `phrase` stand in the source, in order and together.

        A number is found in any of its forms: 1,234.50 and 1234.5 and 1.234,5 are one. A phrase
        without words is found everywhere.
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


def number_text(number: float) -> str:
    """Return a number in plain digits: 1e-05 as 0.00001, 5.0 as 5."""
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'")


def _words(text: str) -> list[str]:
    text = _SPACED.sub(lambda match: match.group().replace(" ", ""), text)
    return _WORD.findall(_NUMBER.sub(lambda match: _canonical(match.group()), text))


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
