"""The four drivers of the one cascade: run and arun wait for the reply, stream and astream show it."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, closing
from typing import Any

from langroute.calls import ModelCall
from langroute.effects import arun, run
from langroute.following import Cascade, Routed
from langroute.streams import Shape

__all__ = ["Cascade", "arun", "astream", "run", "stream"]


def stream(cascade: Cascade, shape: Shape) -> Iterator[Any]:
    """Perform a cascade, showing what each attempt's gate releases; the last item holds the record."""
    flow = cascade.flow()
    try:
        effect = next(flow)
        while True:
            try:
                if isinstance(effect, ModelCall):
                    gate = effect.opened(shape)
                    with closing(effect.stream(shape)) as source:
                        for item in source:
                            effect.keep(item, shape.content(item), shape.size(item))
                            yield from gate.push(item)
                    result = shape.assemble(effect.items)
                else:
                    result = effect.perform()
            except BaseException as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        routed: Routed = stop.value
    yield from shape.ending(routed.call.rest(), routed.reply.message)


async def astream(cascade: Cascade, shape: Shape) -> AsyncGenerator[Any, None]:
    """Perform a cascade in the running event loop; otherwise as `stream`."""
    flow = cascade.flow()
    try:
        effect = next(flow)
        while True:
            try:
                if isinstance(effect, ModelCall):
                    gate = effect.opened(shape)
                    async with aclosing(effect.astream(shape)) as source:
                        async for item in source:
                            effect.keep(item, shape.content(item), shape.size(item))
                            for released in gate.push(item):
                                yield released
                    result = shape.assemble(effect.items)
                else:
                    result = await effect.aperform()
            except BaseException as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        routed: Routed = stop.value
    for item in shape.ending(routed.call.rest(), routed.reply.message):
        yield item
