"""Tool calls: the bound tool that the request speaks of, its arguments, and the answer from its result."""

import json
import re
from typing import Any

from langroute.testing.standins.evidence import find
from langroute.testing.standins.filling import Filler
from langroute.testing.standins.prompt import Prompt, Source, Tool, Turn
from langroute.testing.standins.schemas import label_of, properties
from langroute.testing.standins.skill import Skill
from langroute.testing.standins.words import stems
from langroute.testing.wire import Answer

__all__ = ["call"]

_ENOUGH = 1.0
"""Score from which a tool is called unasked: one word of its name, or three of its description."""
_ERROR = re.compile(r"^\W*(?:error|failed|exception|traceback|invalid)\b", re.IGNORECASE)


def call(prompt: Prompt, skill: Skill) -> Answer | None:
    """Return a tool call, an answer from results, or None where the request is not about the tools."""
    results = _results(prompt)
    called = [made for turn in _since_request(prompt) for made in turn.calls]
    forced = prompt.tool_choice not in ("auto", "none")
    if not forced and (prompt.tool_choice == "none" or not prompt.tools):
        return _answer_from(results, prompt, skill) if results else None
    if results and not forced:
        return _next_call(prompt, skill, called, results[-1]) or _answer_from(results, prompt, skill)
    tool, score = _choose(prompt, prompt.tools)
    return _made(tool, prompt, skill) if forced or score >= _ENOUGH else None


def _made(tool: Tool, prompt: Prompt, skill: Skill) -> Answer:
    filler = Filler(prompt, skill, tool.parameters)
    return Answer(tool_calls=((tool.name, filler.fill()),), probability=filler.sureness)


def _choose(prompt: Prompt, tools: tuple[Tool, ...]) -> tuple[Tool, float]:
    named = [tool for tool in tools if tool.name == prompt.tool_choice]
    ranked = sorted(named or tools, key=lambda tool: -_score(tool, prompt.request))
    return ranked[0], _score(ranked[0], prompt.request)


def _score(tool: Tool, request: str) -> float:
    """Return how much of a tool's name, description and parameters the request speaks of."""
    if re.search(rf"(?<!\w){re.escape(tool.name)}(?!\w)", request):
        return 100.0
    said = set(stems(request))
    fields = {term for name in properties(tool.parameters) for term in stems(label_of(name, {}))}
    name, description = set(stems(label_of(tool.name, {}))), set(stems(tool.description))
    return 1.0 * len(name & said) + 0.34 * len((description - name) & said) + 0.34 * len(fields & said)


def _next_call(prompt: Prompt, skill: Skill, called: list[tuple[str, Any]], last: str) -> Answer | None:
    """Return the call still missing: a failed one made better, or, with two hops, another tool."""
    if _ERROR.match(last) and called:
        tool = next((tool for tool in prompt.tools if tool.name == called[-1][0]), None)
        better = _made(tool, prompt, skill) if tool else None
        return better if better and better.tool_calls[0] not in called else None
    rest = tuple(tool for tool in prompt.tools if tool.name not in {name for name, _ in called})
    if skill.hops == 1 or not rest:
        return None
    tool, _ = _choose(prompt, rest)
    asked_for = set(stems(label_of(tool.name, {}))) & set(stems(prompt.request))
    return _made(tool, prompt, skill) if asked_for - _name_stems(called) else None


def _name_stems(called: list[tuple[str, Any]]) -> set[str]:
    return {term for name, _ in called for term in stems(label_of(name, {}))}


def _since_request(prompt: Prompt) -> list[Turn]:
    last = max((at for at, turn in enumerate(prompt.turns) if turn.role == "user"), default=-1)
    return list(prompt.turns[last + 1 :])


def _results(prompt: Prompt) -> list[str]:
    return [turn.text for turn in _since_request(prompt) if turn.role == "tool"]


def _answer_from(results: list[str], prompt: Prompt, skill: Skill) -> Answer:
    """Return what the tools said: short results whole, of long ones the sentences that answer."""
    told = "\n".join(_readable(result) for result in results) or "The tool returned nothing."
    if _ERROR.match(results[-1]):
        return Answer(f"The tool failed: {results[-1].strip()}", probability=0.4)
    if len(told) <= skill.context_chars // 8:
        return Answer(told, probability=0.9)
    finding = find(prompt.request, [Source("", told[: skill.context_chars])], skill)
    said = " ".join(item.sentence for item in finding.evidence) or told[: skill.context_chars // 8]
    return Answer(said, probability=0.3 + 0.6 * finding.coverage)


def _readable(result: str) -> str:
    """Return a JSON object as `key: value` pairs, anything else as it is."""
    try:
        value = json.loads(result)
    except ValueError:
        return result.strip()
    return (
        ", ".join(f"{key}: {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
    )
