"""Every way to run a graph to its end: each gives the last values of the state."""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["MODES", "ended"]

EVERY: dict[str, Any] = {"stream_mode": ["messages", "updates", "values", "custom"], "subgraphs": True}


def _last(events: list[Any]) -> Any:
    return [values for namespace, kind, values in events if kind == "values" and not namespace][-1]


async def _astream(graph: Any, given: Any, config: Any) -> Any:
    return _last([event async for event in graph.astream(given, config, **EVERY)])


async def _abatch(graph: Any, given: Any, config: Any) -> Any:
    return (await graph.abatch([given], config))[0]


async def _av3(graph: Any, given: Any, config: Any) -> Any:
    return await (await graph.astream_events(given, config, version="v3")).output()


SYNC: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "invoke": lambda graph, given, config: graph.invoke(given, config),
    "stream": lambda graph, given, config: _last(list(graph.stream(given, config, **EVERY))),
    "batch": lambda graph, given, config: graph.batch([given], config)[0],
    "v3": lambda graph, given, config: graph.stream_events(given, config, version="v3").output,
}
ASYNC: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "ainvoke": lambda graph, given, config: graph.ainvoke(given, config),
    "astream": _astream,
    "abatch": _abatch,
    "av3": _av3,
}
MODES = (*SYNC, *ASYNC)


async def ended(graph: Any, mode: str, given: Any, config: Any = None) -> Any:
    """Run a graph to its end by one of the modes, and return the last values of its state."""
    if mode in SYNC:
        return SYNC[mode](graph, given, config)
    return await ASYNC[mode](graph, given, config)
