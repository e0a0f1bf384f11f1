"""The two shapes of a stream, message chunks and protocol events (LangChain's v3).

`CHUNKS` and `EVENTS` know how to open, read and end each, so that the drivers and the gates do not.
"""

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, closing
from typing import Any, Protocol, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_model_stream import ChatModelStream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from langroute.arguments import is_whole
from langroute.errors import DoubledReply
from langroute.gates import Shown
from langroute.heeding import OUTLIVED, Heeding, used_in
from langroute.replies import end_once, identify
from langroute.request import message_text
from langroute.targets import Target

__all__ = ["CHUNKS", "EVENTS", "Shape", "refuse_doubled"]

_PAIRS = 3
"""Different pieces that all come in pairs: fewer may be what the model said."""

_REASONING = frozenset({"reasoning", "reasoning_content", "thinking", "redacted_thinking"})
"""Content blocks in which a model thinks: no reply yet, so they open no gate."""


class Opened(Protocol):
    """What a shape needs of the call it opens."""

    target: Target
    config: RunnableConfig

    @property
    def prompt(self) -> PromptValue:
        """The messages to send."""


class Shape(Shown, Protocol):
    """What the drivers must know about one shape of stream."""

    def open(self, call: Opened) -> Generator[Any, None, None]:
        """Make the call and yield its items; closing the generator closes the model's stream."""

    def aopen(self, call: Opened) -> AsyncGenerator[Any, None]:
        """Make the call in the running event loop; otherwise as `open`."""

    def assemble(self, items: Sequence[Any]) -> AIMessage:
        """Return the whole reply that the items make."""

    def size(self, item: Any) -> int:
        """Return the characters of text and tool arguments that an item adds."""

    def is_progress(self, item: Any) -> bool:
        """Whether the item brings anything: content, or what the model thinks."""

    def ending(self, held: Sequence[Any], reply: AIMessage) -> Sequence[Any]:
        """Return what is still to be shown of an accepted reply, the record in the last item."""


class _Chunks:
    """Message chunks, as `stream` and `astream` give them."""

    def open(self, call: Opened) -> Generator[Any, None, None]:
        source = call.target.runnable.stream(call.prompt, call.config, **call.target.kwargs)
        ended, begun = None, set[Any]()
        try:
            with closing(cast("Generator[Any, None, None]", source)):
                for chunk in source:
                    _identify(chunk, begun)
                    ended = end_once(chunk, ended)
                    yield chunk
        except OUTLIVED:
            if not ended:
                raise

    async def aopen(self, call: Opened) -> AsyncGenerator[Any, None]:
        source = call.target.runnable.astream(call.prompt, call.config, **call.target.kwargs)
        ended, begun = None, set[Any]()
        try:
            async with aclosing(cast("AsyncGenerator[Any, None]", source)):
                async for chunk in source:
                    _identify(chunk, begun)
                    ended = end_once(chunk, ended)
                    yield chunk
        except OUTLIVED:
            if not ended:
                raise

    def assemble(self, items: Sequence[Any]) -> AIMessage:
        if not items:
            return AIMessage("")
        if not isinstance(items[0], AIMessageChunk):
            return cast("AIMessage", items[0])  # a model that cannot stream gives its whole message at once
        refuse_doubled([message_text(item) for item in items])
        told = [item.usage_metadata for item in items if item.usage_metadata]
        if len(told) > 1:
            items = [item.model_copy(update={"usage_metadata": None}) for item in items]
        whole = add_ai_message_chunks(items[0], *items[1:])
        whole.usage_metadata = used_in(told)
        for call in whole.tool_call_chunks:
            if not is_whole(call["args"]):
                # The host mends cut arguments into valid ones; the tool would run with half a value.
                raise ConnectionResetError(f"the arguments of tool call {call['name']} were cut")
        return cast("AIMessage", message_chunk_to_message(whole))

    def content(self, item: Any) -> str | None:
        if text := message_text(item):
            return text
        calls = item.tool_calls or getattr(item, "tool_call_chunks", None)
        return "" if calls or any(map(_says, item.content or ())) else None

    def is_thought(self, item: Any) -> bool:
        blocks = [item.additional_kwargs.get(key) for key in _REASONING & item.additional_kwargs.keys()]
        if not isinstance(item.content, str):
            blocks += [block for block in item.content or () if _thinks(block)]
        return any(map(_brings, blocks))

    def is_plain(self, item: Any) -> bool:
        if item.tool_calls or getattr(item, "tool_call_chunks", None):
            return False
        return isinstance(item.content, str) or not any(map(_is_other, item.content or ()))

    def is_progress(self, item: Any) -> bool:
        blocks = [item.content] if isinstance(item.content, str) else item.content or ()
        return self.content(item) is not None or any(map(_brings, (*blocks, item.additional_kwargs)))

    def again(self, item: Any, text: str) -> AIMessageChunk:
        return AIMessageChunk(content=text, id=item.id)

    def finish(self, item: Any, text: str, came: Sequence[Any]) -> Sequence[Any]:  # noqa: ARG002 - no blocks here
        told: dict[str, Any] = {}
        for chunk in came:
            told |= chunk.response_metadata
        usage = used_in([chunk.usage_metadata for chunk in came if chunk.usage_metadata])
        # The host joins texts of two chunks' metadata: what the first model said of itself stands.
        rest = {key: told[key] for key in told if key not in item.response_metadata}
        last = AIMessageChunk(content="", id=item.id, chunk_position="last", response_metadata=rest)
        return (last.model_copy(update={"usage_metadata": usage}),)

    def message_id(self, item: Any) -> str | None:
        return item.id  # type: ignore[no-any-return]  # a message's

    def place(self, item: Any) -> None:  # noqa: ARG002 - chunks have no blocks
        return None

    def size(self, item: Any) -> int:
        arguments = [len(call["args"] or "") for call in getattr(item, "tool_call_chunks", ())]
        return len(message_text(item)) + sum(arguments)

    def is_last(self, item: Any) -> bool:
        return not isinstance(item, AIMessageChunk) or item.chunk_position == "last"

    def ending(self, held: Sequence[Any], reply: AIMessage) -> Sequence[Any]:
        record = {"langroute": reply.response_metadata["langroute"]}
        if not held or not self.is_last(held[-1]):
            last = AIMessageChunk(content="", id=reply.id, chunk_position="last", response_metadata=record)
            return (*held, last)
        metadata = {**held[-1].response_metadata, **record}
        return (*held[:-1], held[-1].model_copy(update={"response_metadata": metadata}))


def refuse_doubled(texts: Sequence[str]) -> None:
    """Refuse a stream whose every piece came twice, as behind a proxy that repeats itself.

    Raises:
        DoubledReply: So it did.
    """
    pieces = [text for text in texts if text]
    if len(set(pieces)) >= _PAIRS and pieces[::2] == pieces[1::2]:
        raise DoubledReply("every piece of the stream came twice")


def _identify(chunk: Any, begun: set[Any]) -> None:
    """Give ids to the tool calls that begin in a chunk without one, so that what is shown has them too."""
    if pieces := getattr(chunk, "tool_call_chunks", None):
        identify([piece for piece in pieces if piece["index"] not in begun])
        begun.update(piece["index"] for piece in pieces if piece["index"] is not None)
        for call, piece in zip(chunk.tool_calls, pieces, strict=False):
            call["id"] = call["id"] or piece["id"]


def _says(block: Any) -> bool:
    """Whether a content block is content: no empty text, not what the model thinks, nor that it refuses."""
    if not isinstance(block, dict):
        return bool(block)
    kind = block.get("type")
    return bool(block.get("text")) if kind == "text" else kind != "refusal" and kind not in _REASONING


def _brings(block: Any) -> bool:
    """Whether a content block, or a piece of one, brings anything at all."""
    if not isinstance(block, dict):
        return bool(block)
    return any(value for key, value in block.items() if key not in ("type", "index"))


def _thinks(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") in _REASONING


def _is_other(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") not in {"text", *_REASONING}


class _Events:
    """Protocol events, as `stream_events(version="v3")` gives them."""

    def open(self, call: Opened) -> Generator[Any, None, None]:
        listener = Heeding()
        model = cast("BaseChatModel", listener.reading(call.target.runnable))
        config = merge_configs(call.config, {"callbacks": [listener]})
        events = model.stream_events(call.prompt, config, version="v3", **call.target.kwargs)
        try:
            yield from map(listener.billed, events)
        finally:
            if not events.done:
                events.fail(GeneratorExit())  # the host's stream cannot be closed; it ends when it is let go

    async def aopen(self, call: Opened) -> AsyncGenerator[Any, None]:
        listener = Heeding()
        model = cast("BaseChatModel", listener.reading(call.target.runnable))
        config = merge_configs(call.config, {"callbacks": [listener]})
        opening = model.astream_events(call.prompt, config, version="v3", **call.target.kwargs)
        async with await opening as events:
            async for event in events:
                yield listener.billed(event)

    def assemble(self, items: Sequence[Any]) -> AIMessage:
        refuse_doubled([self.content(event) or "" for event in items])
        stream = ChatModelStream()
        for event in items:
            stream.dispatch(event)
        return stream.output_message or AIMessage("")

    def content(self, item: Any) -> str | None:
        kind = item.get("event", "")
        if not kind.startswith("content-block"):
            return None
        part = _part(item)
        if kind == "content-block-delta":
            if part.get("type") == "reasoning-delta" or (
                part.get("type") == "text-delta" and not part["text"]
            ):
                return None
            return str(part.get("text") or "")
        # The start of a text block is empty and its finish repeats the deltas: neither adds text.
        return "" if kind == "content-block-start" and "tool" in str(part.get("type")) else None

    def is_thought(self, item: Any) -> bool:
        part = _part(item)
        return str(part.get("type")).removesuffix("-delta") in _REASONING and _brings(part)

    def is_plain(self, item: Any) -> bool:
        kind = str(_part(item).get("type") or "text")
        return kind.removesuffix("-delta") in {"text", *_REASONING}

    def is_progress(self, item: Any) -> bool:
        return _brings(_part(item))

    def again(self, item: Any, text: str) -> Any:
        return {**item, "delta": {**item["delta"], "text": text}}

    def finish(self, item: Any, text: str, came: Sequence[Any]) -> Sequence[Any]:
        content = {"type": "text", "text": text}
        block = {"event": "content-block-finish", "index": item["index"], "content": content}
        last = came[-1] if came else {}
        if isinstance(last, BaseMessage):  # what a graph's stream is given of a model that does not stream
            usage = getattr(last, "usage_metadata", None)
            last = {"event": "message-finish", "usage": usage, "metadata": last.response_metadata}
        return (block, last if last.get("event") == "message-finish" else {"event": "message-finish"})

    def message_id(self, item: Any) -> str | None:
        told = item.get("id") or item.get("message_id")
        return None if told is None else str(told)

    def place(self, item: Any) -> Any:
        return item.get("index")

    def size(self, item: Any) -> int:
        part = item.get("delta") or {}
        return len(str(part.get("text") or part.get("args") or ""))

    def is_last(self, item: Any) -> bool:
        # The block that a stream was cut in may go on: its end is shown with what comes after it.
        return item.get("event") in ("content-block-finish", "message-finish")

    def ending(self, held: Sequence[Any], reply: AIMessage) -> Sequence[Any]:
        record = {"langroute": reply.response_metadata["langroute"]}
        if not held or held[-1].get("event") != "message-finish":
            held = (*held, {"event": "message-finish"})
        *before, last = held
        return (*before, {**last, "metadata": {**(last.get("metadata") or {}), **record}})


def _part(event: Any) -> Any:
    """Return what an event says of a content block; an empty mapping where it says nothing."""
    return event.get("delta") or event.get("content_block") or event.get("content") or {}


CHUNKS: Shape = _Chunks()
EVENTS: Shape = _Events()
