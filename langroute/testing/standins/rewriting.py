"""Query rewriting: filler dropped, pronouns resolved from earlier turns, key phrases kept as written."""

import re

from langroute.testing.standins.prompt import Prompt
from langroute.testing.standins.skill import Skill
from langroute.testing.standins.words import key_phrases, stems, unique
from langroute.testing.wire import Answer

__all__ = ["rewrite"]

_PRONOUN = re.compile(
    r"\b(?:it|its|they|them|their|this|that|these|those|he|she|him|her|the (?:former|latter|same))\b",
    re.IGNORECASE,
)
_NAMED = re.compile(r"[\"“'‘`]([^\"”'’`\n]{2,60})[\"”'’`]|\b([A-Z][\w-]*(?:\s+[A-Z][\w-]*)*)\b")


def rewrite(prompt: Prompt, skill: Skill) -> Answer:
    """Return a search query: the key phrases of the question, and what its pronouns stand for."""
    question = prompt.question[: skill.context_chars]
    phrases = key_phrases(question)
    topic = _topic(prompt) if _PRONOUN.search(question) or not phrases else ""
    query = ", ".join(unique([*([topic] if topic else []), *phrases])) or question.strip() or "everything"
    kept = len(stems(query)) / max(len(stems(question)), 1)
    return Answer(query, probability=min(0.95, 0.5 + 0.45 * kept))


def _topic(prompt: Prompt) -> str:
    """Return what was last spoken of: a name or quotation of earlier turns, else their longest phrase."""
    earlier = [turn.text for turn in prompt.turns[:-1] if turn.role == "user" and turn.text]
    for text in reversed(earlier):
        names = [a or b for a, b in _NAMED.findall(text) if stems(a or b)]
        if names or key_phrases(text):
            return max(names, key=len) if names else max(key_phrases(text), key=len)
    return ""
