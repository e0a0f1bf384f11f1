"""Replies that say that the documents do not hold the answer, and say nothing else."""

import re

__all__ = ["states_absence"]

_MAX_CHARS = 600
"""Longer replies say more than that something is missing."""

_PIECE = re.compile(
    r"[.!?;:\n]+(?:\s|\Z)|,? (?:because|but|however|although|so(?= i\b| we\b| it\b))\b|, and\b"
)
_WORD = re.compile(r"\w")
_SOURCES = (
    r"(?:documents?|sources?|passages?|excerpts?|materials?|articles?|texts?|contexts?|snippets?|pages?"
    r"|dokumente?n?|unterlagen|quellen?|auszügen?)\b"
)
_HOLD = (
    r"(?:contain|include|say|state|mention|provide|specify|give|address|cover|answer|discuss|list|tell|indicate"
    r"|describe|explain|have|hold|show|name)s?\b"
)
_HELD = (
    r"(?:contained|included|stated|mentioned|provided|specified|given|found|available|present|covered|addressed"
    r"|answered|listed|in)\b"
)
_FIND = r"(?:find|locate|answer|determine|identify|tell|say|provide|give)\b"
_NOT = r"(?:not|n't)\b"
_ABSENT = re.compile(
    rf"{_SOURCES}.{{0,60}}?(?:do|does|did) ?{_NOT} (?:\w+ ){{0,2}}{_HOLD}"
    rf"|{_SOURCES}.{{0,60}}?{_HOLD} (?:no|nothing|neither)\b"
    rf"|(?:is|are|was|were) ?{_NOT}.{{0,20}}?\b{_HELD}.{{0,60}}?{_SOURCES}"
    rf"|\b(?:no|none|nothing)\b.{{0,80}}?{_SOURCES}"
    rf"|(?:can|could|did|am|was)(?: ?{_NOT}|not| unable to) (?:be )?(?:\w+ )?{_FIND}.{{0,80}}?{_SOURCES}"
    rf"|{_SOURCES}.{{0,30}}?\b(?:i|we|it) (?:can|could|am|is) ?(?:{_NOT}|unable to)(?: be)?"
    rf" (?:{_FIND}|determined|answered)"
    rf"|{_SOURCES}.{{0,80}}?\b(?:kein\w{{0,2}}|nichts?)\b"
    rf"|\b(?:kein\w{{0,2}}|nichts?)\b.{{0,80}}?{_SOURCES}"
)
_SAYS_NOTHING = re.compile(
    rf"(?:i'm |i am )?(?:very )?(?:sorry|unfortunately|leider)\W*|(?:please|if you|let me know|would you)\b.*"
    rf"|(?:so |therefore,? )?(?:i|we|it) (?:can|could|am|is|do)(?: ?{_NOT}|not| unable to) (?:be )?(?:{_FIND}"
    rf"|know|answered|determined|help).*"
)


def states_absence(text: str) -> bool:
    """Return whether a reply says that the documents lack the answer, and claims nothing beside.

    Every part of it must say so, apologise, or ask for more: "The documents do not say, but it was 1932"
    makes a claim. Read in English and German.
    """
    if len(text) > _MAX_CHARS:
        return False
    folded = text.casefold().replace("’", "'")
    pieces = [piece.strip(" ,*_\n") for piece in _PIECE.split(folded) if _WORD.search(piece)]
    absent = [bool(_ABSENT.search(piece)) for piece in pieces]
    return any(absent) and all(
        known or _SAYS_NOTHING.fullmatch(piece) for known, piece in zip(absent, pieces, strict=True)
    )
