"""How alike two answers are: by their fields, their final number, or the words they share."""

import re
from collections import Counter
from itertools import islice
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
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_OPENING = re.compile(
    r"[\s*_#\"'-]*(?:(yes|yeah|yep|correct|true|ja|oui|sí|sim|да)|(no|nope|incorrect|false|nein|nee|non|não|нет))"
    r"(?=\**\s*(?:[,.;:!–—-]|\Z)|\s+(?:it|this|that|they|there|he|she|i|we)\b)",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"n't\b|\b(?:not(?! only\b)|cannot|never|neither|nor|none|nobody|nothing|no(?!\.? ?\d)|nicht|kein\w{0,2}"
    r"|nie|niemals|pas|jamais|aucune?|nunca|non|não|niet|geen|не|нет)\b",
    re.IGNORECASE,
)
_MAX_SENTENCES = 40
_MAX_SENTENCE_CHARS = 500
_SAME_MATTER = 0.6
"""Share of common words from which two sentences speak of the same, so that one may deny the other."""

_ARTICLES = frozenset({"a", "an", "the"})
_SMALL_WORDS = (
    "am and are as at be been but by ca can could did do does for had has have he i in is it its of on or "
    "she should that their there they this to was we were will with wo would you"
)


def data_likeness(one: Any, other: Any) -> float:
    """Return the share of fields with the same value: the same words, or the same number."""
    first, second = _fields(one), _fields(other)
    return _f1(first, second) if first or second else 1.0


def answer_likeness(one: str, other: str) -> float:
    """Return how alike two answers are in [0, 1].

    Where either gives a short answer (at most 8 words, or after "answer:", "answer is", "####"), the
    final numbers decide if both have one: 1 or 0. Else the share of common words (F1), articles aside.
    Answers of which one denies what the other says share most words, but are not alike: 0.
    """
    if _opposed(one[:_MAX_CHARS], other[:_MAX_CHARS]):
        return 0.0
    first, second = _final_answer(one[-_MAX_CHARS:]), _final_answer(other[-_MAX_CHARS:])
    if first is None and second is None:
        return _f1(_words(one), _words(other))
    first, second = first or one[-_MAX_CHARS:], second or other[-_MAX_CHARS:]
    numbers = _last_number(first), _last_number(second)
    if all(numbers):
        return float(numbers[0] == numbers[1])
    return _f1(_words(first), _words(second))


def _opposed(one: str, other: str) -> bool:
    """Return whether one answer says yes and the other no, or one sentence denies one of the other's.

    Where each is a single sentence, a negation in only one of them is enough.
    """
    says, rest = _opened(one)
    other_says, other_rest = _opened(other)
    if says is not None and other_says is not None and says != other_says:
        return True
    first, second = _sentences(rest), _sentences(other_rest)
    if len(first) > 1 or len(second) > 1:
        return _denied(first, second) or _denied(second, first)
    if says is not None and other_says is not None:
        return False
    return _negative(first, says=says) != _negative(second, says=other_says)


def _opened(text: str) -> tuple[bool | None, str]:
    """Return whether a text opens with yes or no (None: with neither), and what follows."""
    text = text.replace("’", "'")
    opening = _OPENING.match(text)
    return (bool(opening[1]), text[opening.end() :]) if opening else (None, text)


def _sentences(text: str) -> list[str]:
    sentences = (sentence for sentence in _SENTENCE.split(text) if _WORD.search(sentence))
    return [sentence[:_MAX_SENTENCE_CHARS] for sentence in islice(sentences, _MAX_SENTENCES)]


def _negative(sentences: list[str], *, says: bool | None) -> bool:
    return bool(_NEGATION.search(sentences[0])) if sentences else says is False


def _denied(one: list[str], other: list[str]) -> bool:
    """Return whether a negated sentence has its nearest counterpart, not negated, in the other text."""
    matters = [(_matter(sentence), bool(_NEGATION.search(sentence))) for sentence in other]
    for sentence in one:
        if matters and _NEGATION.search(sentence):
            own = _matter(sentence)
            likeness, negated = max((_f1(own, matter), negated) for matter, negated in matters)
            if likeness >= _SAME_MATTER and not negated:
                return True
    return False


def _matter(sentence: str) -> Counter[str]:
    """Return what a sentence speaks of: its words without negations, auxiliaries and other small ones."""
    words = _words(_NEGATION.sub(" ", sentence))
    small = set(_SMALL_WORDS.split())
    return Counter({word: count for word, count in words.items() if word not in small}) or words


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
