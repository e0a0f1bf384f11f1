"""When a streamed reply may be shown: chunks are held at a gate until its commit point.

A stream comes in two shapes, message chunks and protocol events (LangChain's v3); `CHUNKS` and
`EVENTS` know how to open, read and end each, so that the drivers do not.
"""

import json
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing
from typing import Any, Literal, Protocol, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_model_stream import ChatModelStream
from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig

from langroute.request import message_text
from langroute.targets import Target
from langroute.verifiers.base import PREFIX_CHARS

__all__ = ["CHUNKS", "EVENTS", "Commit", "Gate", "Shape"]

Commit = Literal["start", "prefix", "end"]
"""From where a reply is shown: its first content, a checked prefix, or its end."""


class Opened(Protocol):
    """What a shape needs of the call it opens."""

    target: Target
    config: RunnableConfig

    @property
    def prompt(self) -> PromptValue:
        """The messages to send."""


class Shape(Protocol):
    """What the drivers must know about one shape of stream."""

    def open(self, call: Opened) -> Generator[Any, None, None]:
        """Make the call and yield its items; closing the generator closes the model's stream."""

    def aopen(self, call: Opened) -> AsyncGenerator[Any, None]:
        """Make the call in the running event loop; otherwise as `open`."""

    def assemble(self, items: Sequence[Any]) -> AIMessage:
        """Return the whole reply that the items make."""

    def content(self, item: Any) -> str | None:
        """Return the text an item adds, "" for content that is no text, None for no content."""

    def is_last(self, item: Any) -> bool:
        """Whether the item ends the reply; it is shown after the verdict and carries the record."""

    def ending(self, held: Sequence[Any], reply: AIMessage) -> Sequence[Any]:
        """Return what is still to be shown of an accepted reply, the record in the last item."""


class _Chunks:
    """Message chunks, as `stream` and `astream` give them."""

    def open(self, call: Opened) -> Generator[Any, None, None]:
        yield from call.target.runnable.stream(call.prompt, call.config, **call.target.kwargs)

    async def aopen(self, call: Opened) -> AsyncGenerator[Any, None]:
        source = call.target.runnable.astream(call.prompt, call.config, **call.target.kwargs)
        async with aclosing(cast("AsyncGenerator[Any, None]", source)):
            async for chunk in source:
                yield chunk

    def assemble(self, items: Sequence[Any]) -> AIMessage:
        if not items:
            return AIMessage("")
        if not isinstance(items[0], AIMessageChunk):
            return cast("AIMessage", items[0])  # a model that cannot stream gives its whole message at once
        whole = add_ai_message_chunks(items[0], *items[1:])
        for call in whole.tool_call_chunks:
            if not _is_whole(call["args"]):
                # The host mends cut arguments into valid ones; the tool would run with half a value.
                raise ConnectionResetError(f"the arguments of tool call {call['name']} were cut")
        return cast("AIMessage", message_chunk_to_message(whole))

    def content(self, item: Any) -> str | None:
        if text := message_text(item):
            return text
        has_content = item.content or item.tool_calls or getattr(item, "tool_call_chunks", None)
        return "" if has_content else None

    def is_last(self, item: Any) -> bool:
        return not isinstance(item, AIMessageChunk) or item.chunk_position == "last"

    def ending(self, held: Sequence[Any], reply: AIMessage) -> Sequence[Any]:
        record = {"langroute": reply.response_metadata["langroute"]}
        if not held or not self.is_last(held[-1]):
            last = AIMessageChunk(content="", id=reply.id, chunk_position="last", response_metadata=record)
            return (*held, last)
        metadata = {**held[-1].response_metadata, **record}
        return (*held[:-1], held[-1].model_copy(update={"response_metadata": metadata}))


def _is_whole(arguments: str | None) -> bool:
    try:
        json.loads(arguments or "{}")
    except ValueError:
        return False
    return True


class _Events:
    """Protocol events, as `stream_events(version="v3")` gives them."""

    def open(self, call: Opened) -> Generator[Any, None, None]:
        model = cast("BaseChatModel", call.target.runnable)
        events = model.stream_events(call.prompt, call.config, version="v3", **call.target.kwargs)
        try:
            yield from events
        finally:
            if not events.done:
                events.fail(GeneratorExit())  # the host's stream cannot be closed; it ends when it is let go

    async def aopen(self, call: Opened) -> AsyncGenerator[Any, None]:
        model = cast("BaseChatModel", call.target.runnable)
        opening = model.astream_events(call.prompt, call.config, version="v3", **call.target.kwargs)
        async with await opening as events:
            async for event in events:
                yield event

    def assemble(self, items: Sequence[Any]) -> AIMessage:
        stream = ChatModelStream()
        for event in items:
            stream.dispatch(event)
        return stream.output_message or AIMessage("")

    def content(self, item: Any) -> str | None:
        kind = item.get("event", "")
        if not kind.startswith("content-block"):
            return None
        part = item.get("delta") or item.get("content_block") or item.get("content") or {}
        text = part.get("text")
        if kind == "content-block-delta":
            return str(text or "")
        # The start of a text block is empty and its finish repeats the deltas: neither adds text.
        return "" if kind == "content-block-start" and "tool" in str(part.get("type")) else None

    def is_last(self, item: Any) -> bool:
        return bool(item.get("event") == "message-finish")

    def ending(self, held: Sequence[Any], reply: AIMessage) -> Sequence[Any]:
        record = {"langroute": reply.response_metadata["langroute"]}
        *before, last = held or ({"event": "message-finish"},)
        return (*before, {**last, "metadata": {**(last.get("metadata") or {}), **record}})


CHUNKS: Shape = _Chunks()
EVENTS: Shape = _Events()


class Gate:
    """Holds the items of one attempt until its commit point; the last item always waits for the verdict."""

    def __init__(
        self,
        commit: Commit,
        content: Callable[[Any], str | None],
        is_last: Callable[[Any], bool],
        passes: Callable[[str], bool],
    ) -> None:
        self.open = False
        """Whether something has been shown: from then on the reply can no longer be replaced."""
        self._commit = commit
        self._content = content
        self._is_last = is_last
        self._passes = passes
        self._closed = False
        self._held: list[Any] = []
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """The text that passed or is held, for the error of a stream that dies."""
        return "".join(self._parts)

    def push(self, item: Any) -> Sequence[Any]:
        """Take one item and return those that may be shown now, in order."""
        if self._closed:
            return ()
        content = self._content(item)
        if content:
            self._parts.append(content)
        if self._is_last(item):
            self._held.append(item)
            return ()
        if self.open:
            return (item,)
        self._held.append(item)
        self.open = self._may_open(content)
        return self.rest() if self.open else ()

    def close(self) -> None:
        """Let nothing more in: the attempt is over, and a call left behind may still be talking."""
        self._closed = True

    def rest(self) -> Sequence[Any]:
        """Return what is still held, on acceptance; nothing is held afterwards."""
        released, self._held = self._held, []
        return released

    def _may_open(self, content: str | None) -> bool:
        if content is None or self._commit == "end":
            return False
        if self._commit == "start":
            return True
        text = self.text
        if len(text) < PREFIX_CHARS:
            return False
        if not self._passes(text):
            self._commit = "end"
        return self._commit == "prefix"
