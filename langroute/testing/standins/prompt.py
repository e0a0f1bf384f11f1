"""What a stand-in sees of a request: the wire's messages, tools and schema, read as far as its skill goes."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langroute.testing.standins.skill import Skill

__all__ = ["Prompt", "Source", "Tool", "Turn", "labelled", "read"]

_TAGS = ("document", "doc", "source", "passage")
_OPENING = re.compile(rf"<({'|'.join(_TAGS)})\b([^<>]*)>", re.IGNORECASE)
_CLOSING = {tag: re.compile(f"</{tag}>", re.IGNORECASE) for tag in _TAGS}
_ID = re.compile(r"\b(?:id|index|name|source)\s*=\s*[\"']?([^\"'\s]+)")


@dataclass(frozen=True, slots=True)
class Source:
    """One document of the prompt, as far as it was read."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation, its documents taken out."""

    role: str
    text: str
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """Tool calls of an assistant's turn: name and arguments."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One bound tool."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request, read."""

    instructions: str
    """The system messages."""
    turns: tuple[Turn, ...]
    """Everything else, oldest first, as far back as the skill remembers."""
    documents: tuple[Source, ...]
    overloaded: bool
    """Whether there was more than the skill can hold."""
    tools: tuple[Tool, ...]
    tool_choice: str
    """`auto`, `none`, `required`, or the name of the one tool that must be called."""
    schema: Mapping[str, Any] | None
    """Schema that the reply must follow; empty for any JSON object, None for prose."""

    @property
    def request(self) -> str:
        """The last thing the user said; the instructions where the user said nothing."""
        return (
            next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "") or self.instructions
        )

    @property
    def question(self) -> str:
        """The question inside the request, where it is marked as one; else the whole request."""
        return labelled(self.request, "question", "query") or self.request


def read(body: Mapping[str, Any], skill: Skill) -> Prompt:
    """Read a chat-completions request as a model of that skill does."""
    said = [
        (str(m.get("role", "user")), *_split(_text(m.get("content"))), m) for m in body.get("messages", ())
    ]
    found = [document for role, _, documents, _ in said if role != "assistant" for document in documents]
    plain = [(role, text, message) for role, text, _, message in said]
    characters = max([sum(len(d.text) for d in found), *(len(text) for _, text, _ in plain)], default=0)
    turns = [
        Turn(role, text[: skill.context_chars], _calls(m)) for role, text, m in plain if role not in _SYSTEM
    ]
    return Prompt(
        instructions="\n".join(text for role, text, _ in plain if role in _SYSTEM)[: skill.context_chars],
        turns=tuple(turns[-_remembered(turns, skill) :]),
        documents=_within(found, skill),
        overloaded=skill.overloaded(characters, len(found)),
        tools=tuple(_tool(tool) for tool in body.get("tools") or ()),
        tool_choice=_tool_choice(body),
        schema=_schema(body.get("response_format")),
    )


_SYSTEM = frozenset({"system", "developer"})


def labelled(text: str, *labels: str) -> str:
    """Return what stands in `<label>` tags or after `Label:` up to an empty line; "" where nothing does."""
    for label in labels:
        # A tag may carry a mark that nobody can guess: `<reply-3f9a>`.
        opening = re.search(rf"<({label}(?:-\w+)?)(?:\s[^<>]*)?>", text, re.IGNORECASE)
        closing = (
            re.compile(f"</{opening.group(1)}>", re.IGNORECASE).search(text, opening.end())
            if opening
            else None
        )
        if opening and closing:
            return text[opening.end() : closing.start()].strip()
        line = re.search(rf"^[ \t#*]*{label}[ \t*]*:[ \t*]*\n?", text, re.IGNORECASE | re.MULTILINE)
        if line and (found := re.split(r"\n[ \t]*\n", text[line.end() :], maxsplit=1)[0].strip()):
            return found
    return ""


def _split(text: str) -> tuple[str, list[Source]]:
    """Return a text without its documents, and the documents, in time linear in the text."""
    rest, found, at = [], [], 0
    unclosed: set[str] = set()
    for opening in _OPENING.finditer(text):
        tag, named = opening.group(1).lower(), _ID.search(opening.group(2))
        if opening.start() < at or named is None or tag in unclosed:
            continue
        closing = _CLOSING[tag].search(text, opening.end())
        if closing is None:
            unclosed.add(tag)
            continue
        rest.append(text[at : opening.start()])
        found.append(Source(named.group(1), text[opening.end() : closing.start()].strip()))
        at = closing.end()
    return " ".join([*rest, text[at:]]).strip(), found


def _within(found: list[Source], skill: Skill) -> tuple[Source, ...]:
    """Return the first documents, cut where the skill stops reading."""
    taken: list[Source] = []
    left = skill.context_chars
    for document in found[: skill.max_documents]:
        if left > 0:
            taken.append(Source(document.id, document.text[:left]))
        left -= len(document.text)
    return tuple(taken)


def _remembered(turns: list[Turn], skill: Skill) -> int:
    """Return how many of the last turns are read: those remembered, and a running tool loop whole."""
    last_user = next((back for back, turn in enumerate(reversed(turns), 1) if turn.role == "user"), 1)
    return last_user + skill.turns


def _text(content: Any) -> str:
    """Return the text of a message's content, text parts joined, other parts left out."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(p.get("text") or "") if isinstance(p, Mapping) else str(p) for p in parts).strip()


def _calls(message: Mapping[str, Any]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    calls = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    return tuple((str(call.get("name", "")), _object(call.get("arguments"))) for call in calls)


def _object(raw: Any) -> Mapping[str, Any]:
    try:
        value = json.loads(raw) if isinstance(raw, str) else raw
    except ValueError:
        return {}
    return value if isinstance(value, Mapping) else {}


def _tool(tool: Mapping[str, Any]) -> Tool:
    function = tool.get("function") or tool
    return Tool(
        str(function.get("name", "")),
        str(function.get("description") or ""),
        _object(function.get("parameters")),
    )


def _tool_choice(body: Mapping[str, Any]) -> str:
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, Mapping):
        return str((choice.get("function") or choice).get("name", "required"))
    return "required" if choice == "any" else str(choice)


def _schema(response_format: Any) -> Mapping[str, Any] | None:
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "json_schema":
        return _object(response_format.get("json_schema", {}).get("schema"))
    return {} if kind == "json_object" else None
