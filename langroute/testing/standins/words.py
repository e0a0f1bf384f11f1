"""Words, stems and sentences: all that the stand-ins know of language."""

import keyword
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

__all__ = ["is_prose", "key_phrases", "sentences", "stem", "stems", "unique"]

_CJK = "぀-ヿ㐀-鿿가-힯"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_WRITTEN = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+(?:[-.'’][^\W{_CJK}]+)*|[^\w\s]")
"""A word as it is written, `e-mail` and `sys.exit` whole, or one mark."""
_SENTENCE_END = re.compile(
    r"(?<!e\.g\.)(?<!i\.e\.)(?:(?<=[.!?])|(?<=[.!?][\"'”’)\]]))\s+|(?<=[。！？])|\n\s*\n\s*|\n(?=\s*[-*•]\s)"
)
_AS_NAME = re.compile(r"[\"'”’`]|\s+(?:statement|clause|keyword|loop|block|operator)", re.IGNORECASE)
"""What follows a function word that is spoken of rather than used: `the "with" statement`, `a for loop`."""

_STOP_LINES = (
    "a about above after again all also am an and any are as at be because been before being below",
    "between both but by can could did do does doing down during each every few for from further had has",
    "have having he her here hers him his how i if in into is it its just kindly know let like may me",
    "might more most must my need no nor not now of off on once only or other our out over own please s",
    "same shall she should so some such t tell than that the their them then there these they this those",
    "through to too under until up us very want was we were what when where whether which while who whom",
    "whose why will with would you your yours explain describe give show find write say",
)
_STOP = frozenset(word for line in _STOP_LINES for word in line.split())
_KEYWORDS = frozenset(keyword.kwlist)
_ENDINGS = ("ies", "ing", "ed", "es", "s", "ly", "e")
_SHORTEST_STEM = 3
_SHORTEST_SENTENCE, _LONGEST_SENTENCE = 12, 600
_SHARE_OF_LETTERS = 0.75
_CODE = re.compile(r"::=|\b(?:def|class)\s+\w+[(:]|^\s*(?:>>>|\.\.\.)|\n[ \t]{2,}\S", re.MULTILINE)
_POINTER = re.compile(r"see\b|for (?:more|further)\b|(?:changed|added|new) in version\b", re.IGNORECASE)
"""How a sentence begins that only points elsewhere."""
_SPACES_WITHOUT_END = 7
"""Spaces from which a line without a full stop is a sentence and no heading."""


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return a word without its ending, so that `raises`, `raised` and `raise` count as one."""
    word = word.lower()
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


def stems(text: str) -> list[str]:
    """Return the stems of the text's content words, in order; Chinese, Japanese and Korean by character."""
    return [stem(found.group()) for found in _WORD.finditer(text) if _has_content(found, text)]


def key_phrases(text: str) -> list[str]:
    """Return the runs of content words between function words, as written: `finally clause`, `sys.exit`."""
    phrases: list[list[str]] = [[]]
    for found in _WRITTEN.finditer(text):
        word = found.group()
        if (word[0].isalnum() or word[0] == "_") and _has_content(found, text):
            phrases[-1].append(word)
        elif word not in "\"'“”‘’`":
            phrases.append([])
    return unique(" ".join(phrase) for phrase in phrases if phrase)


def _has_content(found: re.Match[str], text: str) -> bool:
    word = found.group().lower()
    return word not in _STOP or (word in _KEYWORDS and _AS_NAME.match(text, found.end()) is not None)


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences and list items of a text, each exactly as it stands there."""
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if piece := text[start : end.start()].strip():
            yield piece
        start = end.end()
    if piece := text[start:].strip():
        yield piece


def is_prose(sentence: str) -> bool:
    """Return whether a sentence can stand in an answer: words, not code or grammar, and no bare heading."""
    if not _SHORTEST_SENTENCE <= len(sentence) <= _LONGEST_SENTENCE or _CODE.search(sentence):
        return False
    if _POINTER.match(sentence):
        return False
    letters = sum(char.isalpha() or char.isspace() for char in sentence)
    ended = sentence.rstrip("\"'”’)").endswith((".", "!", "?", ":", ";", "。", "！", "？"))
    return letters >= _SHARE_OF_LETTERS * len(sentence) and (
        ended or sentence.count(" ") >= _SPACES_WITHOUT_END
    )


def unique(items: Iterable[str]) -> list[str]:
    """Return the items once each, in order; case makes no difference."""
    seen: dict[str, str] = {}
    for item in items:
        seen.setdefault(item.lower(), item)
    return list(seen.values())
