"""A cascade as one of the host's v3 event streams: text, tool calls and output as typed projections."""

import asyncio
from contextlib import aclosing

from langchain_core.language_models.chat_model_stream import AsyncChatModelStream, ChatModelStream

from langroute import drive
from langroute.streams import EVENTS

__all__ = ["aevent_stream", "event_stream"]


def event_stream(cascade: drive.Cascade) -> ChatModelStream:
    """Return the stream that performs the cascade as it is read."""
    events = drive.stream(cascade, EVENTS)
    shown = ChatModelStream()

    def pump() -> bool:
        try:
            shown.dispatch(next(events))
        except StopIteration:
            return False
        except BaseException as error:
            shown.fail(error)
            return False
        return True

    shown.bind_pump(pump)
    return shown


async def aevent_stream(cascade: drive.Cascade) -> AsyncChatModelStream:
    """Return the stream that performs the cascade in a task of its own, from the first read on."""
    shown = AsyncChatModelStream()

    async def produce() -> None:
        try:
            async with aclosing(drive.astream(cascade, EVENTS)) as events:
                async for event in events:
                    shown.dispatch(event)
        except BaseException as error:
            shown.fail(error)
            if isinstance(error, asyncio.CancelledError):
                raise

    async def start() -> None:
        if shown._producer_task is None:  # noqa: SLF001 - `aclose` of the host's stream looks for it here
            shown._producer_task = asyncio.get_running_loop().create_task(produce())  # noqa: SLF001

    shown.set_start(start)
    return shown
