"""Plan drafting: one numbered step for each part of the question, with the documents that speak to it."""

import re

from langroute.testing.standins.evidence import find
from langroute.testing.standins.prompt import Prompt
from langroute.testing.standins.skill import Skill
from langroute.testing.standins.words import stems, unique
from langroute.testing.wire import Answer

__all__ = ["plan", "steps"]

_PART = re.compile(
    r"\?\s*|;\s*|,?\s+(?:and then|and also|as opposed to|versus|vs\.?)\s+"
    r"|,?\s+and\s+(?=(?:how|what|when|why|which|where|who|does|do|is|are|in)\b)",
    re.IGNORECASE,
)
_COMPARISON = re.compile(
    r"differ|compar|versus|\bvs\b|opposed|\bor\b|rather than|relat|interact", re.IGNORECASE
)


def plan(prompt: Prompt, skill: Skill) -> Answer:
    """Return the steps as a numbered list."""
    found = steps(prompt, skill)
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(found, 1))
    return Answer(numbered, probability=0.9 if not prompt.overloaded else 0.5)


def steps(prompt: Prompt, skill: Skill) -> list[str]:
    """Return one step for each part of the question, and a last one that brings them together."""
    parts = [part.strip(" .,\n") for part in _PART.split(" ".join(prompt.question.split())) if stems(part)]
    found = [f"Settle: {part}{_sources(part, prompt, skill)}." for part in unique(parts)[: skill.sentences]]
    if len(found) > 1 or _COMPARISON.search(prompt.question):
        found.append("Bring these together into one answer to the whole question.")
    return found or ["Answer the request directly."]


def _sources(part: str, prompt: Prompt, skill: Skill) -> str:
    evidence = find(part, prompt.documents, skill, limit=2).evidence
    ids = unique(item.document for item in evidence)
    return f" (see {', '.join(f'[{document}]' for document in ids)})" if ids else ""
