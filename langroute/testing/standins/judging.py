"""Judging: how far a reply answers its question and stands on its documents; which label fits a text."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langroute.testing.standins.prompt import Prompt, labelled
from langroute.testing.standins.schemas import label_of
from langroute.testing.standins.words import stems

__all__ = ["best_option", "measure", "scaled"]

_REFUSAL = re.compile(
    r"\bI(?: am|'m) (?:unable|sorry)|\bI can(?:no|')t\b|\bdo(?:es)? not (?:say|know)\b", re.IGNORECASE
)
_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:to|and|-|–|\.\.)\s*(\d+(?:\.\d+)?)")


def measure(prompt: Prompt) -> tuple[float, str]:
    """Return how good the reply in the prompt is, in [0, 1], and the reason in one sentence."""
    everything = "\n".join(turn.text for turn in prompt.turns)
    spoken = next((turn.text for turn in reversed(prompt.turns) if turn.role == "assistant"), "")
    reply = labelled(everything, "reply", "answer", "response", "draft", "output") or spoken
    if not reply:
        return 0.0, "There is no reply to judge."
    if _REFUSAL.search(reply):
        return 0.1, "The reply declines to answer."
    asked = set(stems(labelled(everything, "question", "request", "prompt", "task")))
    said = set(stems(reply))
    relevance = len(asked & said) / len(asked) if asked else 0.5
    taken_up = f"It takes up {len(asked & said)} of the {len(asked)} words of the question."
    sources = [labelled(everything, "documents"), *(document.text for document in prompt.documents)]
    known = {term for source in sources for term in stems(source)}
    if not known:
        return 0.5 + 0.5 * relevance, taken_up
    support = len(said & known) / max(len(said), 1)
    return min(
        1.0, 0.7 * support + 0.6 * relevance
    ), f"{support:.0%} of its words stand in the documents. {taken_up}"


def scaled(score: float, schema: Mapping[str, Any]) -> int | float:
    """Return a score in [0, 1] on the scale that a number's schema or its description names."""
    named = _RANGE.search(str(schema.get("description", "")))
    whole = schema.get("type") == "integer"
    low = float(schema.get("minimum", named.group(1) if named else 0))
    high = float(schema.get("maximum", named.group(2) if named else (10 if whole else 1)))
    value = low + score * (high - low)
    return round(value) if whole else round(value, 3)


def best_option(options: Sequence[Any], prompt: Prompt, text: str) -> tuple[Any, bool]:
    """Return the option that fits a text best, and whether anything speaks for it.

    An option's own words count double; the words that explain it in the prompt (`option: what it is`) once.
    """
    told = f"{prompt.instructions}\n{prompt.request}"
    seen = set(stems(text))
    scores = [
        2 * _overlap(label_of(str(o), {}), seen) + _overlap(_gloss(str(o), told), seen) for o in options
    ]
    best = max(range(len(options)), key=scores.__getitem__)
    return options[best], scores[best] > 0


def _overlap(words: str, seen: set[str]) -> float:
    """Return how many of some words were seen, the long lists held back by the root of their length."""
    terms = set(stems(words))
    return len(terms & seen) / math.sqrt(len(terms) or 1)


def _gloss(option: str, told: str) -> str:
    """Return what the prompt says an option is: the rest of its line after a colon or a dash."""
    found = re.search(
        rf"(?<!\w){re.escape(option)}[`\"'*]*\s*(?:[:=–—-]|\(|means|is)\s*([^\n.;]+)", told, re.IGNORECASE
    )
    return found.group(1) if found else ""
