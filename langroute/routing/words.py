"""Keywords as people mean them: whole words or phrases, any case, in any script."""

from collections.abc import Iterable

__all__ = ["Keywords"]


class Keywords:
    """Some words or phrases, ready to be looked for."""

    def __init__(self, words: Iterable[str]) -> None:
        self._folded = tuple((word, word.casefold()) for word in words if word)

    def first(self, folded: str) -> str | None:
        """Return the first of the words that stands in a case-folded text, None where none does."""
        return next((word for word, needle in self._folded if _stands_in(needle, folded)), None)

    def count(self, folded: str) -> int:
        """Return how many of the words stand in a case-folded text."""
        return sum(_stands_in(needle, folded) for _, needle in self._folded)


def _stands_in(needle: str, text: str) -> bool:
    """Tell whether `needle` is in `text` and not within a longer word.

    Found by plain search and checked at both ends: an alternation of many words as one regular
    expression takes some twenty times as long.
    """
    at = text.find(needle)
    while at >= 0:
        end = at + len(needle)
        inside = (at > 0 and _joined(text[at - 1], needle[0])) or (
            end < len(text) and _joined(needle[-1], text[end])
        )
        if not inside:
            return True
        at = text.find(needle, at + 1)
    return False


def _joined(left: str, right: str) -> bool:
    """Tell whether two neighbours belong to one word; a script without case is taken to have no spaces."""
    return _in_word(left) and _in_word(right)


def _in_word(char: str) -> bool:
    return char.isdigit() or char == "_" or char.upper() != char.lower()
