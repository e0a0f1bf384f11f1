"""Histories that travel: a conversation that one provider began, in a form that another accepts.

LangChain's integrations translate most of what a message can hold. What they leave to be refused, or
lose without a word, is mended here before the call, on copies. What is written is kept: text always,
calls and results in pairs. What only its writer can read is left out: the thinking, reasoning items,
signatures and server-tool blocks of another model. A picture in another model's reply becomes a note.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langroute.blocks import blank, plain, respelt, understood
from langroute.dialects import Dialect, canonical, dialect_of, same_model
from langroute.exchanges import paired

__all__ = ["Callee", "Named", "callee_of", "portable"]

_BEGINNING = "(The conversation begins with the assistant.)"
_NOTED = "Noted."
_GO_ON = "Go on."
_PICTURE = "(Here the assistant showed a picture.)"

_NAME = re.compile(r"[^\s<|\\/>]{1,64}")
"""Names of speakers that OpenAI takes; nobody else refuses any."""

_KINDS = {
    f"{name}MessageChunk": kind for kind, name in (("ai", "AI"), ("human", "Human"), ("system", "System"))
}
_KINDS["ToolMessageChunk"] = "tool"
"""Pieces of a stream that were put together are messages like others."""


class Named(Protocol):
    """What is called: an endpoint of a policy, or whatever else says its provider and its model."""

    @property
    def provider(self) -> str:
        """LangChain's name of the provider."""

    @property
    def model_name(self) -> str:
        """The provider's name of the model."""


@dataclass(frozen=True, slots=True)
class Callee:
    """Who is called; "" for what is not known."""

    dialect: Dialect
    provider: str
    model: str = ""
    endpoint: str = ""

    def understands(self, reply: AIMessage) -> bool:
        """Whether what a reply holds beside text and calls was written by the same model."""
        said = reply.response_metadata
        record = said.get("langroute")
        if self.endpoint and isinstance(record, Mapping) and isinstance(record.get("endpoint"), str):
            return _base(record["endpoint"]) == _base(self.endpoint)
        writer = said.get("model_provider")
        if not isinstance(writer, str):
            return isinstance(reply.content, str) or understood(reply.content, self.dialect)
        if canonical(writer) != self.provider:
            return False
        written = said.get("model_name") or said.get("model")
        return not (self.model and isinstance(written, str) and not same_model(written, self.model))


def _base(endpoint: str) -> str:
    """Return an endpoint's name without the number of a model that a policy uses twice."""
    return endpoint.partition("#")[0]


def portable(
    messages: Sequence[BaseMessage], to: str | BaseChatModel | Named | Callee
) -> Sequence[BaseMessage]:
    """Return the conversation in a form that `to` accepts: the very same object where it is one already.

    The same history always gives the same result, and the result gives itself. Nothing given is changed.

    - An id of a tool call that `to` refuses, or that comes a second time, becomes 9 letters and digits
      of its SHA-256; the result's id follows.
    - Results stand right after their calls; a call without one gets one that says so; a result without
      its call becomes a person's message.
    - Replies of another model keep text and tool calls alone. Where nothing names the writer, this is
      so if they hold blocks that `to` does not read.
    - Late system messages move to the front and empty messages go, where `to` refuses them; pictures,
      documents, cache marks and names take its spelling; a turn is put in where it demands one.

    Args:
        messages: The conversation.
        to: Who is called: an endpoint, a chat model, `provider:model`, or a provider as LangChain names
            it. For a provider that is not known here only what every provider wants is mended.
    """
    if _is_talk(messages):
        return messages
    callee = to if isinstance(to, Callee) else callee_of(to)
    if _travels(messages, callee):
        return messages
    history = _told(messages, callee)
    if not callee.dialect.late_system:
        history.sort(key=lambda message: not isinstance(message, SystemMessage))
    history = _filled(paired(history, callee.dialect), callee.dialect)
    if not history:  # nothing was said: the provider's own error tells it best
        return messages
    history = _alternating(history, callee.dialect)
    same = len(history) == len(messages) and all(a is b for a, b in zip(history, messages, strict=True))
    return messages if same else history


def callee_of(to: str | BaseChatModel | Named) -> Callee:
    """Return all that `portable` asks of whom it is for."""
    if isinstance(to, str):
        provider, _, model = to.partition(":")
        return _known(provider, model, "")
    if isinstance(to, BaseChatModel):
        params: Mapping[str, Any] = to._get_ls_params()  # noqa: SLF001 - LangChain has no public form of it
        return _known(str(params.get("ls_provider") or ""), str(params.get("ls_model_name") or ""), "")
    return _known(to.provider, to.model_name, getattr(to, "name", ""))


@lru_cache(maxsize=256)
def _known(provider: str, model: str, endpoint: str) -> Callee:
    return Callee(dialect_of(provider), canonical(provider), model, endpoint)


# Whether there is anything to do -------------------------------------------------------------------------


def _is_talk(messages: Sequence[BaseMessage]) -> bool:
    """Whether a conversation is text of a person and replies to it, and nothing else: everybody takes it."""
    if not messages or type(messages[0]) is not HumanMessage:
        return False
    for message in messages:
        text = message.content
        if not isinstance(text, str) or not text or text.isspace() or message.name is not None:
            return False
        if type(message) is AIMessage:
            if message.tool_calls or message.invalid_tool_calls or message.additional_kwargs:
                return False
        elif type(message) is not HumanMessage:
            return False
    return True


def _travels(messages: Sequence[BaseMessage], callee: Callee) -> bool:
    """Whether the conversation can stay as it is; in doubt, not. Read on every call, so in one plain loop."""
    dialect = callee.dialect
    waiting: list[str] = []
    seen: set[str] = set()
    before = ""
    for message in messages:
        kind = _KINDS.get(message.type, message.type)
        if kind == "ai":
            fine = not waiting and _reply_travels(cast("AIMessage", message), callee, waiting, seen)
        elif not _content_travels(message.content, dialect):
            fine = False
        elif kind == "tool":
            fine = _answers(cast("ToolMessage", message), waiting, dialect)
        else:
            fine = not (waiting or (kind == "system" and before and not dialect.late_system))
        if message.name is not None and kind != "tool":  # a tool's name has its own rule
            fine = fine and _NAME.fullmatch(message.name) is not None
        if not fine or _between(before, kind, message, dialect) is not None:
            return False
        before = before if kind == "system" else kind
    return not waiting


def _between(before: str, kind: str, message: BaseMessage, dialect: Dialect) -> BaseMessage | None:
    """Return the turn that the provider wants before a message, None where it wants none."""
    if kind == "ai":
        if not before and dialect.user_first:
            return HumanMessage(_BEGINNING)
        if before == "ai" and not dialect.reply_after_reply and cast("AIMessage", message).tool_calls:
            return HumanMessage(_GO_ON)
    elif kind == "human" and before == "tool" and not dialect.user_after_tool:
        return AIMessage(_NOTED)
    return None


def _content_travels(content: str | list[Any], dialect: Dialect) -> bool:
    if isinstance(content, str):
        return dialect.empty or not (not content or content.isspace())
    return bool(content) and plain(content, dialect)


def _reply_travels(reply: AIMessage, callee: Callee, waiting: list[str], seen: set[str]) -> bool:
    """Whether a reply can stay as it is; its calls go on the lists of those to answer and those seen."""
    content, calls, dialect = reply.content, reply.tool_calls, callee.dialect
    if reply.invalid_tool_calls or not (content or calls):
        return False
    if content and not dialect.empty and blank(content):
        return False
    if (not dialect.text_with_calls and _tells_and_calls(reply)) or (
        _carries(reply) and not callee.understands(reply)
    ):
        return False
    for call in calls:
        call_id = call["id"]
        if not call_id or call_id in seen:
            return False
        if dialect.ids.fullmatch(call_id) is None or dialect.tool_names.fullmatch(call["name"]) is None:
            return False
        seen.add(call_id)
        waiting.append(call_id)
    return True


def _tells_and_calls(reply: AIMessage) -> bool:
    return bool(reply.content and reply.tool_calls)


def _carries(reply: AIMessage) -> bool:
    """Whether a reply holds anything beside text and calls that only its writer may read."""
    return not isinstance(reply.content, str) or any(reply.additional_kwargs.values())


def _answers(result: ToolMessage, waiting: list[str], dialect: Dialect) -> bool:
    """Strike a result's call off the list; whether it was there, in its place and with a fit name."""
    call_id = result.tool_call_id
    if call_id not in waiting or (dialect.in_order and waiting[0] != call_id):
        return False
    waiting.remove(call_id)
    return result.name is None or dialect.tool_names.fullmatch(result.name) is not None


# What each message holds ---------------------------------------------------------------------------------


def _told(messages: Iterable[BaseMessage], callee: Callee) -> list[BaseMessage]:
    """Return the messages with contents and names as the callee takes them."""
    told: list[BaseMessage] = []
    for given in messages:
        message = given
        if isinstance(message, AIMessage):
            if _carries(message) and not callee.understands(message):
                message = _retold(message)
        elif not isinstance(message.content, str):
            content = respelt(message.content, callee.dialect)
            if content != message.content:
                message = message.model_copy(update={"content": content})
        speaker = None if isinstance(message, ToolMessage) else message.name
        if speaker is not None and _NAME.fullmatch(speaker) is None:
            message = message.model_copy(update={"name": re.sub(r"[\s<|\\/>]", "_", speaker)[:64] or None})
        told.append(message)
    return told


def _retold(reply: AIMessage) -> AIMessage:
    """Return another model's reply as text and tool calls."""
    text = str(reply.text)
    blocks = [block for block in reply.content if isinstance(block, dict)]
    if not text:
        refusals = (*(block.get("refusal") for block in blocks), reply.additional_kwargs.get("refusal"))
        text = "".join(part for part in refusals if isinstance(part, str))
    if any(block.get("type") in ("image", "image_url", "image_generation_call") for block in blocks):
        text = f"{text}\n{_PICTURE}" if text else _PICTURE
    return AIMessage(
        text,
        tool_calls=reply.tool_calls,
        invalid_tool_calls=reply.invalid_tool_calls,
        name=reply.name,
        id=reply.id,
    )


# What stands where ---------------------------------------------------------------------------------------


def _filled(messages: Sequence[BaseMessage], dialect: Dialect) -> list[BaseMessage]:
    """Return the messages without the empty ones, where the provider refuses these; the last one stays."""
    filled: list[BaseMessage] = []
    for at, given in enumerate(messages):
        message = given
        if blank(message.content):
            calls = isinstance(message, AIMessage) and message.tool_calls
            needed = (
                calls
                or isinstance(message, ToolMessage)
                or (isinstance(message, HumanMessage) and at + 1 == len(messages))
            )
            if not (dialect.empty or needed):
                continue
            if message.content != "" and (calls or not message.content):
                message = message.model_copy(update={"content": ""})
        filled.append(message)
    return filled


def _alternating(messages: Iterable[BaseMessage], dialect: Dialect) -> list[BaseMessage]:
    """Return the messages with the turns between them that the provider wants."""
    ordered: list[BaseMessage] = []
    before = ""
    for given in messages:
        message = given
        kind = _KINDS.get(message.type, message.type)
        if (turn := _between(before, kind, message, dialect)) is not None:
            ordered.append(turn)
        if not dialect.text_with_calls and isinstance(message, AIMessage) and _tells_and_calls(message):
            ordered.append(message.model_copy(update={"tool_calls": [], "id": None}))
            message = message.model_copy(update={"content": ""})
        ordered.append(message)
        before = before if kind == "system" else kind
    return ordered
