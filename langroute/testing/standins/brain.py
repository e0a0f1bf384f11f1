"""A stand-in model: reads the request, infers the job from its instructions and schema, and does it."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from langroute.testing.standins.answering import answer
from langroute.testing.standins.calling import call
from langroute.testing.standins.chatting import chat
from langroute.testing.standins.filling import Filler
from langroute.testing.standins.planning import plan
from langroute.testing.standins.prompt import Prompt, read
from langroute.testing.standins.rewriting import rewrite
from langroute.testing.standins.schemas import from_instructions
from langroute.testing.standins.skill import LARGE, SMALL, Skill
from langroute.testing.wire import Answer

__all__ = ["large", "small", "stand_in"]

_Job = Callable[[Prompt, Skill], Answer]

_JOBS: tuple[tuple[re.Pattern[str], _Job], ...] = (
    (
        re.compile(r"\bre-?writ|\brephras|\breformulat|\bsearch quer|\bstandalone question", re.IGNORECASE),
        rewrite,
    ),
    (
        re.compile(
            r"\b(?:draft|make|write|create|produce|give|list)\b[^.\n]{0,40}\b(?:plan|outline|steps)\b"
            r"|\byou plan\b|^plan\b",
            re.IGNORECASE,
        ),
        plan,
    ),
    (
        re.compile(r"\banswer|\bsynthesi[sz]|\bsummari[sz]|\bcit(?:e|ation)|\bdocuments?\b", re.IGNORECASE),
        answer,
    ),
)
"""What an instruction says when it wants a job; where it says several things, the first counts."""


def small(body: Mapping[str, Any]) -> Answer:
    """Answer a chat-completions request as the small stand-in: right on easy input, wrong beyond it."""
    return stand_in(body, SMALL)


def large(body: Mapping[str, Any]) -> Answer:
    """Answer a chat-completions request as the large stand-in."""
    return stand_in(body, LARGE)


def stand_in(body: Mapping[str, Any], skill: Skill) -> Answer:
    """Answer a chat-completions request with one grade of skill; the same request, the same answer.

    The job is read off the request as any model would: a schema or a forced tool is extraction, bound
    tools may be called, the instructions say whether to rewrite, plan or answer; else it is chat.
    """
    prompt = read(body, skill)
    if prompt.schema is not None:
        return _structured(prompt, skill)
    if prompt.tools or any(turn.role == "tool" for turn in prompt.turns):
        used = call(prompt, skill)
        if used is not None:
            return used
    return _job(prompt)(prompt, skill)


def _structured(prompt: Prompt, skill: Skill) -> Answer:
    filler = Filler(
        prompt, skill, prompt.schema or from_instructions(f"{prompt.instructions}\n{prompt.request}")
    )
    return Answer(json.dumps(filler.fill(), ensure_ascii=False), probability=filler.sureness)


def _job(prompt: Prompt) -> _Job:
    """Return the job that the instructions want first, those of the system before those of the user."""
    for told in (prompt.instructions, prompt.request):
        wanted = [(found.start(), job) for pattern, job in _JOBS if (found := pattern.search(told))]
        if wanted:
            return min(wanted, key=lambda item: item[0])[1]
    return answer if prompt.documents else chat
