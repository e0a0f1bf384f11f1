"""Where a reply that broke off is taken up by another model: joined only where the two are seen to meet.

The other model is asked to begin with the last words that were shown, so that the place is known to the
character. What begins elsewhere is another reply, and nothing of it is shown.
"""

from langroute.verifiers.language import detect_language
from langroute.verifiers.refusal import refuses

__all__ = ["Seam", "anchor"]

_ANCHOR_CHARS = (40, 80, 160, 320)
"""Last characters by which the place is told: the fewest that stand nowhere else in what was shown."""

_WORD_CHARS = 30
"""Characters by which an anchor may grow so that it begins with a word."""

_LOOK_CHARS = 80
"""Characters of a reply without the anchor that are read before it is judged."""

_SURE_CHARS = 12
"""From here on words count as repeated that are not the whole anchor: fewer may be said twice on purpose."""

_CLOSING = ",.;:!?)"


def anchor(shown: str) -> str | None:
    """Return the last words of `shown`, which stand in it once; None where no last words tell the place.

    A table of equal rows has none, and neither has what is only white space.
    """
    core = shown.strip()
    for chars in _ANCHOR_CHARS:
        start = _word_start(core, max(len(core) - chars, 0))
        if core and core.find(core[start:]) == start:
            return core[start:]
    return None


def _word_start(text: str, at: int) -> int:
    """Return where the word begins that `at` is in; `at` itself where it is too far, or nothing is a word."""
    for start in range(at, max(at - _WORD_CHARS, 0), -1):
        if text[start - 1].isspace():
            return start
    return at if at > _WORD_CHARS else 0


class Seam:
    """Takes the pieces of a continuation, and gives what goes on after the text shown.

    What is decided does not depend on how the continuation was cut into pieces.

    Args:
        shown: The text that was shown; it has an `anchor`.
    """

    def __init__(self, shown: str) -> None:
        self.refused = False
        """Whether the continuation does not meet the text shown: then nothing of it is given."""
        self._shown = shown
        self._core = shown.strip()
        self._space = shown[len(shown.rstrip()) :]
        self._anchor = anchor(shown) or ""
        self._look = max(len(self._anchor), _LOOK_CHARS)
        self._joined = False
        self._came = ""
        self._at = self._searched = 0

    def push(self, piece: str) -> str:
        """Return what may be shown now that `piece` has come."""
        if self._joined or self.refused:
            return piece if self._joined else ""
        self._came += piece
        return self._settle(ended=False)

    def end(self) -> str:
        """Return what may still be shown now that nothing more comes."""
        if self._joined or self.refused:
            return ""
        return self._settle(ended=True)

    def refuse(self) -> None:
        """Let the continuation be none: it does what no rest of a text does."""
        self.refused = not self._joined

    def _settle(self, *, ended: bool) -> str:
        came = self._came.lstrip()
        met = self._met(came)
        if met is not None:
            if self._space and not came[met:].strip() and not ended:
                return ""
            return self._join(self._after_space(came[met:]))
        if not ended and (len(came) < self._look or self._repeats(came)):
            return ""
        head = came[: self._look]
        fewer = self._fewer(head)
        if fewer is None and self._goes_on(self._came[: len(self._came) - len(came) + self._look]):
            return self._join(self._came)
        return self._join(self._after_space(came[fewer:]) if fewer else None)

    def _join(self, rest: str | None) -> str:
        self._joined, self.refused = rest is not None, rest is None
        self._came = ""
        return rest or ""

    def _met(self, came: str) -> int | None:
        """Return where what is new begins in a reply that repeats the anchor, more than it, or everything."""
        found = came.find(self._anchor, self._searched)
        if found < 0:
            self._searched = max(len(came) - len(self._anchor), 0)
            return None
        start = len(self._core) - len(self._anchor) - found
        meets = start >= 0 and self._core.startswith(came[:found], start)
        return found + len(self._anchor) if meets else None

    def _repeats(self, came: str) -> bool:
        """Whether the reply has only repeated what was shown so far, and has not come to its end."""
        if not self._core.startswith(came, self._at):
            self._at = self._core.find(came)
        return self._at >= 0

    def _fewer(self, head: str) -> int | None:
        """Return how much of the head repeats less than the anchor; None for nothing, 0 where not sure."""
        for chars in range(min(len(self._anchor) - 1, len(head)), 0, -1):
            start = len(self._core) - chars
            if not self._core.endswith(head[:chars]):
                continue
            if chars >= _SURE_CHARS and self._core.find(head[:chars]) == start:
                return chars
            if start == 0 or not (self._core[start - 1].isalnum() and head[0].isalnum()):
                return 0
        return None

    def _after_space(self, rest: str) -> str | None:
        """Return the rest after the white space that was shown; None where the reply has none there."""
        if rest.startswith(self._space) or self._space.startswith(rest):
            return rest[len(self._space) :]
        return rest.lstrip() if rest[0].isspace() else None

    def _goes_on(self, head: str) -> bool:
        """Whether a reply that repeats nothing cannot be the beginning of another one."""
        word = head.lstrip()[:1]
        if not word or self._core[-1] in ".!?…。" or head.strip() in self._core:
            return False
        if any(self._shown.endswith(head[:chars]) for chars in range(1, len(head))):
            return False
        if head[0] in _CLOSING and not self._space:
            return True
        spaced = (head[0] == " ") != bool(self._space) and not (self._space and head[0].isspace())
        begins = word.islower() or (word.isdigit() and self._core[-1].isalnum())
        return spaced and begins and not refuses(head) and self._same_language(head)

    def _same_language(self, head: str) -> bool:
        languages = {detect_language(self._core[-2_000:]), detect_language(head)} - {None}
        return len(languages) < 2  # noqa: PLR2004 - one, or none that could be told
