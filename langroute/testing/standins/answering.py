"""Extractive synthesis: the sentences that answer the question, each with the document it comes from."""

import re

from langroute.testing.standins.evidence import find
from langroute.testing.standins.prompt import Prompt, labelled
from langroute.testing.standins.skill import Skill
from langroute.testing.wire import Answer

__all__ = ["answer"]

_NOTHING_FOUND = "The documents do not say."


def answer(prompt: Prompt, skill: Skill) -> Answer:
    """Answer the question from the documents, citing each sentence as `[id]`.

    An overloaded stand-in remembers of its first source the book but not the page (`try` for `try:3`),
    of the others nothing, and is less sure.
    """
    outline = labelled(prompt.request, "outline", "plan")
    # A bracket in the text itself could not be told from a citation.
    finding = find(f"{prompt.question}\n{outline}", prompt.documents, skill, avoid="[")
    if not finding.evidence:
        return Answer(_NOTHING_FOUND, probability=0.2)
    sureness = 0.3 + 0.65 * finding.coverage
    if not prompt.overloaded:
        return Answer(
            " ".join(_cited(item.sentence, item.document) for item in finding.evidence), probability=sureness
        )
    first, *others = finding.evidence
    half_remembered = _cited(first.sentence, re.sub(r"[\W_]*\d+$", "", first.document))
    return Answer(
        " ".join([half_remembered, *(item.sentence for item in others)]), probability=0.7 * sureness
    )


def _cited(sentence: str, document: str) -> str:
    """Return a sentence on one line, with its citation before the full stop."""
    line = " ".join(sentence.lstrip("-*• ").split())
    end = line[-1] if line[-1] in ".!?" else ""
    citation = f" [{document}]" if document else ""
    return f"{line.removesuffix(end).rstrip(':;,')}{citation}{end or '.'}"
