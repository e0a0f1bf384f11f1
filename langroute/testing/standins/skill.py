"""How much a stand-in model can do: how far it reads, how many hops it follows, how carefully it works."""

from dataclasses import dataclass

__all__ = ["LARGE", "SMALL", "Skill"]


@dataclass(frozen=True, slots=True)
class Skill:
    """One grade of skill; everything a stand-in does is bounded by it."""

    name: str
    context_chars: int
    """Characters of one message, or of all documents together, that it reads before it stops reading."""
    max_documents: int
    """Documents it keeps apart; given more, it reads the first ones and loses track of sources."""
    turns: int
    """Earlier turns of the conversation it remembers."""
    hops: int
    """1 looks for the question's own words; 2 also follows what the first evidence speaks of."""
    sentences: int
    """Sentences it puts into one answer, and facts it extracts at most."""

    def overloaded(self, characters: int, documents: int) -> bool:
        """Return whether a prompt of that many characters and documents is more than it can hold."""
        return characters > self.context_chars or documents > self.max_documents


SMALL = Skill("small", context_chars=3_000, max_documents=2, turns=2, hops=1, sentences=2)
"""Right on one or two short documents; beyond that it reads half, quotes loosely and forgets to cite."""

LARGE = Skill("large", context_chars=40_000, max_documents=40, turns=50, hops=2, sentences=5)
"""Reads everything it is likely to be given, follows two hops, quotes word for word."""
