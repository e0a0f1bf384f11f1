"""What is known before a call: messages, tools, schema, what the caller said, and cheap features of the text.

No feature reads a long prompt with a regular expression from end to end but the search for
`<document id=…>` tags, which is one linear pass and is skipped where a prompt has none; the rest look
at the head and the tail: a decision on a million characters takes little longer than on five thousand.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langroute.attempts import Failure, is_function
from langroute.budget import Purse
from langroute.decision import StepAnswer
from langroute.records import maker
from langroute.redaction import printable, unquoted

__all__ = ["EMPTY", "Document", "Request", "as_documents", "made_request", "message_text", "tool_name"]

EMPTY: Mapping[str, Any] = MappingProxyType({})

_WINDOW_CHARS = 2_000
"""Characters read at each end of a prompt; 2 x 2,000 take 9 to 34 microseconds whatever its length."""

_BYTES_PER_TOKEN = 4.0
"""UTF-8 bytes, not characters: English keeps the usual 4 a token; a Chinese character is 0.75 tokens."""

_MESSAGE_TOKENS = 3
"""Role and separators of one message."""

_TOOL_CHARS = 100
"""Braces and keywords of one tool or schema, as it is written into a prompt."""

_FIELD_CHARS = 40
"""Quotes, type and braces of one argument of a tool."""

_NAME_CHARS = 100
"""Longest name of a tool in a reason: providers allow 64, a model may write any."""

# Neither part may run over a "<", so that a thousand openings without an end cost a thousand short looks.
_TAG = re.compile(r"<(/?)(document|doc|source|passage)(?=[\s/>])([^<>]{0,500})>", re.IGNORECASE)
_ID = re.compile(
    r"(?:^|\s)(?:id|index|name|source)\s*=\s*(?:\"([^\"]+)\"|'([^']+)'|([^\s\"'/]+))", re.IGNORECASE
)


T = TypeVar("T")


# Until Python 3.12 `functools.cached_property` takes a lock at each first read: a third of a short plan.
class _cached(Generic[T]):  # noqa: N801 - read as the decorator that it is
    """A property that is worked out once; two threads at once may both do it, to the same end."""

    def __init__(self, read: Callable[[Any], T]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, request: Any, owner: type | None = None) -> T:
        if request is None:
            return self  # type: ignore[return-value]  # asked of the class, for its documentation
        value = self._read(request)
        request.__dict__[self._name] = value
        return value


@dataclass(frozen=True, slots=True)
class Document:
    """One source text that a reply may cite."""

    id: str
    text: str = field(repr=False)


@dataclass(frozen=True, eq=False)
class Request:
    """One call as it came in. A value: nothing of the call is stored anywhere else."""

    messages: tuple[BaseMessage, ...] = field(repr=False)
    step: str | None = None
    """The step that the caller said, by `for_step()` or `langroute_step`."""
    metadata: Mapping[str, Any] = field(default_factory=lambda: EMPTY, repr=False)
    """The config's metadata, merged from every place where it can be; holds `langgraph_node` in a graph."""
    tools: tuple[Any, ...] = field(default=(), repr=False)
    """Tools as they were bound, unconverted: `BaseTool`, function, pydantic class or OpenAI dict."""
    schema: Any = None
    """The schema of `with_structured_output`: pydantic class, TypedDict or JSON Schema; None without."""
    given_documents: tuple[Document, ...] | None = field(default=None, repr=False)
    """Documents that the caller passed (see `as_documents`); None where the prompt is searched for them."""
    kwargs: Mapping[str, Any] = field(default_factory=lambda: EMPTY, repr=False)
    """What else goes to the model's call, unread."""
    binding: Any = field(default=None, repr=False)
    """How the tools or the schema are bound to an endpoint's model: see `langroute.targets`."""
    overrides: Mapping[str, Any] = field(default_factory=lambda: EMPTY, repr=False)
    """Settings of the routed chat model that hold for every endpoint's model, e.g. `output_version`."""
    answer: StepAnswer | None = None
    """Which step it is, where the door has found out already; it is not looked for again then."""
    held: bool = False
    """Whether the door may still ask another step after an accepted reply, so that none is shown early."""
    more_tools: bool = False
    """Whether tools may be bound that the door does not see, as an agent's other middleware can add them."""
    purse: Purse | None = None
    """What its calls, judges and classifiers spend from; None where the policy has no budget."""

    @_cached
    def texts(self) -> tuple[str, ...]:
        """Text of each message, in order."""
        return tuple([message_text(message) for message in self.messages])

    @_cached
    def characters(self) -> int:
        """Characters of text in all messages; a picture or a file counts nothing."""
        return sum(map(len, self.texts))

    @_cached
    def estimated_tokens(self) -> int:
        """Estimated input tokens: messages with the tool calls in them, bound tools and the schema as text.

        A token for 4 UTF-8 bytes, and 3 a message. Text that is not plain ASCII is measured on its sample.
        """
        bound = sum([_schema_chars(tool) for tool in self.tools]) if self.tools else 0
        if self.schema is not None:
            bound += _schema_chars(self.schema)
        return self._tokens(self.messages, self.texts) + int(bound / _BYTES_PER_TOKEN)

    @_cached
    def held_tokens(self) -> int:
        """Estimated tokens up to and with the latest reply in the messages: what its endpoint has cached."""
        count = self._replied_at + 1
        return self._tokens(self.messages[:count], self.texts[:count])

    @_cached
    def holder(self) -> str | None:
        """Endpoint, no function, that gave the latest reply in the messages: it holds the cached prefix."""
        if self._replied_at < 0:
            return None
        record = self.messages[self._replied_at].response_metadata.get("langroute")
        endpoint = record.get("endpoint") if isinstance(record, Mapping) else None
        return endpoint if isinstance(endpoint, str) and not is_function(endpoint) else None

    @_cached
    def question(self) -> str:
        """Text of the last human message, head and tail of it where it is long; "" where there is none."""
        for message, text in zip(reversed(self.messages), reversed(self.texts), strict=True):
            if isinstance(message, HumanMessage):
                return _head_and_tail(text)
        return ""

    @_cached
    def asked(self) -> str:
        """The question without the text of `<document id=…>` blocks; the sample where no person asks."""
        at = next(
            (i for i in range(len(self.messages) - 1, -1, -1) if self.messages[i].type == "human"), None
        )
        if at is None:
            return self.sample
        text, spans = self.texts[at], self._document_spans.get(at, [])
        starts = [0, *(end for _, _, end in spans)]
        ends = [*(start for _, start, _ in spans), len(text)]
        return _head_and_tail("\n".join([text[start:end] for start, end in zip(starts, ends, strict=True)]))

    @_cached
    def sample(self) -> str:
        """Head and tail (2,000 characters each) of everything but the tools, for keywords and features."""
        if len(self.texts) == 1:
            return _head_and_tail(self.texts[0])
        if self.characters <= 2 * _WINDOW_CHARS:
            return "\n".join(self.texts)
        head = _collect(self.texts, _WINDOW_CHARS)
        tail = _collect_back(self.texts, _WINDOW_CHARS)
        return f"{head}\n{tail}"

    @_cached
    def folded(self) -> str:
        """The sample with all differences of case removed."""
        return self.sample.casefold()

    @_cached
    def documents(self) -> tuple[Document, ...]:
        """Documents that a reply may cite: those passed, else `<document id=…>…</document>` in the prompt.

        The tags `document`, `doc`, `source` and `passage` count, with an `id`, `index`, `name` or `source`.
        What a model wrote is no source; nor are numbered paragraphs, as a list of references looks the same.
        """
        if self.given_documents is not None:
            return self.given_documents
        return tuple(
            Document(document_id, self.texts[at][start:end].strip())
            for at, found in self._document_spans.items()
            for document_id, start, end in found
        )

    @_cached
    def document_count(self) -> int:
        """Number of documents, counted without copying them."""
        if self.given_documents is not None:
            return len(self.given_documents)
        return sum(map(len, self._document_spans.values()))

    @_cached
    def last_tool_messages(self) -> tuple[ToolMessage, ...]:
        """The tool results that end the conversation, in order; empty where something else ends it."""
        last: list[ToolMessage] = []
        for message in reversed(self.messages):
            if not isinstance(message, ToolMessage):
                break
            last.append(message)
        return tuple(reversed(last))

    @_cached
    def last_tool_names(self) -> tuple[str, ...]:
        """Names of the tools whose results end the conversation; "" where nothing names one."""
        reply = self.messages[self._replied_at] if self._replied_at >= 0 else None
        calls = reply.tool_calls if isinstance(reply, AIMessage) else []
        named = {call["id"]: call["name"] for call in calls}
        return tuple(
            printable(message.name or named.get(message.tool_call_id, ""))[:_NAME_CHARS]
            for message in self.last_tool_messages
        )

    def marked(self, **marks: Any) -> "Request":
        """Return the request with another `answer`, `binding` or `held`; what was worked out of it stays."""
        marked = object.__new__(type(self))
        marked.__dict__.update(self.__dict__, **marks)
        return marked

    def untold(self, failure: Failure) -> Failure:
        """Return the failure without what its message quotes of the prompt, as providers do."""
        return replace(failure, message=unquoted(failure.message, self.texts))

    @_cached
    def digest(self) -> str:
        """SHA-256, as hex, of each message's role and text: the same conversation is sampled the same way."""
        hashed = hashlib.sha256()
        for message, text in zip(self.messages, self.texts, strict=True):
            encoded = text.encode("utf-8", "surrogatepass")
            hashed.update(f"{message.type} {len(encoded)}\n".encode())
            hashed.update(encoded)
        return hashed.hexdigest()

    @_cached
    def _replied_at(self) -> int:
        """Index of the latest reply in the messages, -1 where there is none."""
        for index in range(len(self.messages) - 1, -1, -1):
            if isinstance(self.messages[index], AIMessage):
                return index
        return -1

    @_cached
    def _document_spans(self) -> dict[int, list[tuple[str, int, int]]]:
        """Id, start and end of the tagged documents in each message that has some, by the message's index."""
        may_have = [
            at
            for at, text in enumerate(self.texts)
            if "<" in text and "</" in text and not isinstance(self.messages[at], AIMessage)
        ]
        return {at: found for at in may_have if (found := list(_tagged(self.texts[at])))}

    def _tokens(self, messages: Sequence[BaseMessage], texts: Sequence[str]) -> int:
        """Return the estimated tokens of these messages, whose texts are `texts`."""
        size = float(sum(map(len, texts)))
        if not all(map(str.isascii, texts)):
            size *= self._bytes_per_char
        for message in messages:
            if isinstance(message, AIMessage) and message.tool_calls:
                size += sum(_chars(call["args"]) + _FIELD_CHARS for call in message.tool_calls)
        return int(size / _BYTES_PER_TOKEN) + _MESSAGE_TOKENS * len(texts)

    @_cached
    def _bytes_per_char(self) -> float:
        return len(self.sample.encode("utf-8", "surrogatepass")) / len(self.sample)


made_request = maker(Request)


def as_documents(value: Any) -> tuple[Document, ...]:
    """Return LangChain documents, mappings or strings, or one of them, as `Document`s; None is no document.

    A document's id is its metadata's (or a mapping's own) `id`, `source` or `title`, else its own id,
    else its position counted from 1.

    Raises:
        TypeError: Something in it is no document.
    """
    if value is None:
        return ()
    single = isinstance(value, str | Mapping | Document) or hasattr(value, "page_content")
    items: Iterable[Any] = [value] if single else value
    return tuple(_as_document(item, position) for position, item in enumerate(items, start=1))


def message_text(message: BaseMessage) -> str:
    """Return the text of a message, its text blocks joined; "" where it has none."""
    content = message.content
    return content if isinstance(content, str) else str(message.text)


def tool_name(tool: Any) -> str:
    """Return the name of a tool in any form in which it can be bound; "" where it has none."""
    if isinstance(tool, Mapping):
        function = tool.get("function")
        name = (
            function.get("name") if isinstance(function, Mapping) else tool.get("name") or tool.get("title")
        )
        return str(name or "")
    return str(getattr(tool, "name", None) or getattr(tool, "__name__", ""))


def _as_document(item: Any, position: int) -> Document:
    if isinstance(item, Document):
        return item
    if isinstance(item, str):
        return Document(str(position), item)
    fields: Mapping[str, Any] = item if isinstance(item, Mapping) else getattr(item, "__dict__", EMPTY)
    text = next((fields[key] for key in ("text", "page_content", "content") if key in fields), None)
    if not isinstance(text, str):
        raise TypeError(
            f"document {position}, a {type(item).__name__}, has no text; give LangChain documents or strings"
        )
    metadata = fields.get("metadata") or {}
    own = fields if isinstance(item, Mapping) else {}
    named = [places.get(key) for places in (metadata, own) for key in ("id", "source", "title")]
    found = next((name for name in (*named, fields.get("id")) if name not in (None, "")), position)
    return Document(str(found), text)


def _tagged(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield id, start and end of each document in one pass over the tags.

    A tag of another name inside a document is part of its text; one of the same name starts anew.
    """
    name, document_id, start = "", "", 0
    for tag in _TAG.finditer(text):
        kind = tag[2].lower()
        if tag[1]:
            if kind == name:
                yield document_id, start, tag.start()
                name = ""
        elif name in ("", kind) and (found := _ID.search(tag[3])):
            name, document_id, start = kind, found[1] or found[2] or found[3], tag.end()


def _chars(value: Any) -> int:
    """Return roughly how many characters an argument takes, long texts in it neither copied nor quoted."""
    if isinstance(value, str):
        return len(value) + 2
    if isinstance(value, Mapping):
        return sum(_chars(key) + _chars(each) + 4 for key, each in value.items()) + 2
    if isinstance(value, list | tuple):
        return sum(_chars(each) + 2 for each in value) + 2
    return len(str(value))


def _schema_chars(tool: Any) -> int:
    """Return roughly how many characters a tool or a schema takes in the prompt, without converting it."""
    if isinstance(tool, Mapping):
        return len(str(tool))
    described = len(tool_name(tool)) + len(
        getattr(tool, "description", None) or getattr(tool, "__doc__", None) or ""
    )
    arguments = getattr(tool, "args_schema", tool)
    if isinstance(arguments, Mapping):
        return _TOOL_CHARS + described + len(str(arguments))
    fields = getattr(arguments, "model_fields", None) or getattr(arguments, "__annotations__", None) or {}
    named = sum(len(name) + len(getattr(spec, "description", None) or "") for name, spec in fields.items())
    return _TOOL_CHARS + described + named + _FIELD_CHARS * len(fields)


def _head_and_tail(text: str) -> str:
    if len(text) <= 2 * _WINDOW_CHARS:
        return text
    return f"{text[:_WINDOW_CHARS]}\n{text[-_WINDOW_CHARS:]}"


def _collect(texts: Sequence[str], limit: int) -> str:
    parts: list[str] = []
    for text in texts:
        parts.append(text[:limit])
        limit -= len(parts[-1])
        if limit <= 0:
            break
    return "\n".join(parts)


def _collect_back(texts: Sequence[str], limit: int) -> str:
    parts: list[str] = []
    for text in reversed(texts):
        parts.append(text[-limit:])
        limit -= len(parts[-1])
        if limit <= 0:
            break
    return "\n".join(reversed(parts))
