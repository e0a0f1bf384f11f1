"""What a model's own stream says, chunk by chunk, and the end of a task that was cancelled and talks on."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, reduce
from itertools import pairwise
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelConnectionError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages.ai import UsageMetadata, add_usage
from pydantic import ValidationError

from langroute.cost import usage_of
from langroute.twins import derived, overrides, twin

__all__ = ["OUTLIVED", "Heeding", "ends", "used_in"]


OUTLIVED = (ValidationError, json.JSONDecodeError, AttributeError, KeyError, TypeError, ModelConnectionError)
"""What cannot be read, or a connection that ends: after the end of a reply nothing of it is missing."""


class Heeding(BaseCallbackHandler):
    """Hears what each chunk says was used, and ends a model's own task that was cancelled and goes on.

    `wait_for` of Python 3.11, with which integrations await each chunk, swallows a cancellation that meets
    a chunk: neither its limits nor its caller could then stop a model that talks without a pause.
    """

    run_inline = True

    def __init__(self) -> None:
        self.usage: list[UsageMetadata] = []
        self._caller = _task()
        self._reads = False
        self._inside = False

    def reading(self, model: Any) -> Any:
        """Return the model with its stream read here: not every model tells its run of each chunk.

        The host makes events of what it reads, and no end of a stream that breaks off. One that breaks off
        after the end of the reply, for its usage cannot be read, is whole: it ends here without that.
        """
        kind = _read(type(model)) if isinstance(model, BaseChatModel) else None
        self._reads = kind is not None
        return model if kind is None else twin(model, kind, reader=self)

    def read(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """Yield the chunks of a stream, to the end of its reply."""
        if self._inside:  # an async stream that reads the model's own blocking one
            yield from chunks
            return
        with self._reply() as taken:
            for chunk in chunks:
                yield taken(chunk)

    async def aread(self, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield the chunks of a stream in the running event loop; otherwise as `read`."""
        with self._reply() as taken:
            try:
                async for chunk in chunks:
                    yield taken(chunk)
            finally:
                if (close := getattr(chunks, "aclose", None)) is not None:
                    await close()

    @contextmanager
    def _reply(self) -> Iterator[Callable[[Any], Any]]:
        """Give what takes each chunk of a reply; what the host refuses after the reply's end is left out."""
        ended, self._inside = False, True

        def taken(chunk: Any) -> Any:
            nonlocal ended
            self._take(chunk)
            told = chunk.generation_info or {}
            ended = ended or ends(chunk.message) or bool(told.get("finish_reason"))
            return chunk

        try:
            yield taken
        except OUTLIVED:
            if not ended:
                raise
        finally:
            self._inside = False

    def on_llm_new_token(self, *_: Any, chunk: Any = None, **__: Any) -> None:
        """Take one chunk of a streamed reply, if anybody still wants it."""
        self.heed()
        if not self._reads:
            self._take(chunk)

    def _take(self, chunk: Any) -> None:
        if usage := getattr(getattr(chunk, "message", None), "usage_metadata", None):
            self.usage.append(usage)

    def billed(self, event: Any) -> Any:
        """Return an event, the last one with what was used: the host adds up what the chunks tell."""
        if event.get("event") != "message-finish" or len(self.usage) <= 1:
            return event
        return {**event, "usage": used_in(self.usage)}

    def on_stream_event(self, *_: Any, **__: Any) -> None:
        """Go no further than this event, if the task was cancelled before it."""
        self.heed()

    def heed(self) -> None:
        """Raise the cancellation that the running task has swallowed, unless it is the caller's own task.

        Raises:
            asyncio.CancelledError: There is one.
        """
        task = _task()
        if task is not None and task is not self._caller and task.cancelling():
            raise asyncio.CancelledError


def _task() -> "asyncio.Task[Any] | None":
    """Return the running task; None in a thread without an event loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


@lru_cache(maxsize=256)
def _read(kind: Any) -> type | None:
    """Return a class of chat models whose streams are read by what their twins are told."""

    def _stream(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return cast("Heeding", self.langroute_told["reader"]).read(kind._stream(self, *args, **kwargs))  # noqa: SLF001 - the model's own

    def _astream(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        return cast("Heeding", self.langroute_told["reader"]).aread(kind._astream(self, *args, **kwargs))  # noqa: SLF001 - likewise

    methods = {"_stream": _stream, "_astream": _astream}
    own = {name: method for name, method in methods.items() if overrides(kind, name)}
    return derived(kind, own) if own else None


def ends(message: Any) -> bool:
    """Whether a reply is whole with this chunk: what may follow it is what was used."""
    return bool(message.response_metadata.get("finish_reason"))


def used_in(told: Sequence[UsageMetadata]) -> UsageMetadata | None:
    """Return what a stream used, of the usage that its chunks tell; None where they tell none, or nonsense.

    Some servers tell in every chunk what was used so far, the whole prompt each time: there the last one
    counts. Parts are added, as the host does; nobody sends the prompt in equal or growing parts.
    """
    if len(told) <= 1:
        return told[0] if told else None
    counts = [usage_of(usage) for usage in told]
    known = [(count.input_tokens, count.output_tokens) for count in counts if count is not None]
    if len(known) < len(told):
        return None
    steps = pairwise(known)
    if known[0][0] and all(
        now >= before for last, new in steps for before, now in zip(last, new, strict=True)
    ):
        return told[-1]
    return reduce(add_usage, told)
