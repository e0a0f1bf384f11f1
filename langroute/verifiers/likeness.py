"""How alike two answers are: by their fields, their final number, or the words they share."""

import re
from collections import Counter
from typing import Any

from langroute.verifiers.sources import number_text
from langroute.verifiers.structured import leaves

__all__ = ["answer_likeness", "data_likeness"]

_MAX_CHARS = 100_000
"""Characters of an answer that are compared."""

_SHORT_WORDS = 8
"""Words up to which a whole text is taken for a bare answer."""

_FINAL = re.compile(
    r"(?:\b(?:answer|result)\**(?:\s+is\b|\s*[:=])|####|\\boxed\{)[\s:*=$]*([^\n]{1,200})", re.IGNORECASE
)
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
_WORD = re.compile(r"\w+")
_ARTICLES = frozenset({"a", "an", "the"})


def data_likeness(one: Any, other: Any) -> float:
    """Return the share of fields with the same value: the same words, or the same number."""
    first, second = _fields(one), _fields(other)
    return _f1(first, second) if first or second else 1.0


def answer_likeness(one: str, other: str) -> float:
    """Return how alike two answers are in [0, 1].

    Where either gives a short answer (at most 8 words, or after "answer:", "answer is", "####"), the
    final numbers decide if both have one: 1 or 0. Else the share of common words (F1), articles aside.
    """
    first, second = _final_answer(one[-_MAX_CHARS:]), _final_answer(other[-_MAX_CHARS:])
    if first is None and second is None:
        return _f1(_words(one), _words(other))
    first, second = first or one[-_MAX_CHARS:], second or other[-_MAX_CHARS:]
    numbers = _last_number(first), _last_number(second)
    if all(numbers):
        return float(numbers[0] == numbers[1])
    return _f1(_words(first), _words(second))


def _final_answer(text: str) -> str | None:
    """Return the bare answer of a text; None where it is prose without one."""
    stated = _FINAL.findall(text)
    if stated:
        return str(stated[-1])
    return text if len(text) < _MAX_CHARS and len(_WORD.findall(text)) <= _SHORT_WORDS else None


def _last_number(text: str) -> str | None:
    numbers = _NUMBER.findall(text)
    return _plain_number(numbers[-1]) if numbers else None


def _plain_number(number: str) -> str:
    text = number.replace(",", "")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _words(text: str) -> Counter[str]:
    words = _WORD.findall(text[:_MAX_CHARS].casefold())
    return Counter(word for word in words if word not in _ARTICLES) or Counter(words)


def _f1(one: Counter[Any], other: Counter[Any]) -> float:
    common = (one & other).total()
    return 2 * common / (one.total() + other.total()) if common else 0.0


def _fields(data: Any) -> Counter[tuple[str, str]]:
    """Return each field's value in one spelling; a value that comes n times under a path has n entries."""
    return Counter((path, _spelled(value)) for path, value in leaves(data))


def _spelled(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value)
    return " ".join(_WORD.findall(value.casefold())) if isinstance(value, str) else str(value)
