"""Plain chat: what the conversation or the text itself can answer, and a short honest reply to the rest."""

import re

from langroute.testing.standins.evidence import find
from langroute.testing.standins.prompt import Prompt, Source
from langroute.testing.standins.skill import Skill
from langroute.testing.standins.words import key_phrases
from langroute.testing.wire import Answer

__all__ = ["chat"]

_GREETING = re.compile(r"^\W*(?:hello|hi|hey|good (?:morning|afternoon|evening))\b", re.IGNORECASE)
_TO_REPEAT = re.compile(
    r"\b(?:say|reply|respond|answer|repeat|echo)\b[^\"'“‘`\n]{0,40}[\"'“‘`]([^\"'”’`\n]+)[\"'”’`]",
    re.IGNORECASE,
)
_LONG_CHARS = 400
_ENOUGH_COVERAGE = 0.5


def chat(prompt: Prompt, skill: Skill) -> Answer:
    """Return a reply that is never empty: a repetition, a recollection, a summary, or what was understood."""
    request = prompt.request.strip()
    if wanted := _TO_REPEAT.search(request):
        return Answer(wanted.group(1), probability=0.95)
    if _GREETING.match(request):
        return Answer("Hello. What would you like to know?", probability=0.9)
    earlier = [Source("", turn.text) for turn in prompt.turns[:-1] if turn.role == "user"]
    recalled = find(request, earlier, skill, limit=1)
    if recalled.evidence and recalled.coverage >= _ENOUGH_COVERAGE:
        return Answer(f"You said: {recalled.evidence[0].sentence}", probability=0.4 + 0.5 * recalled.coverage)
    if len(request) > _LONG_CHARS:
        summary = find(request, [Source("", request)], skill)
        return Answer(
            " ".join(e.sentence for e in summary.evidence) or request[:_LONG_CHARS], probability=0.6
        )
    topic = ", ".join(key_phrases(request)) or request or "nothing"
    return Answer(f"You ask about: {topic}.", probability=0.5)
