"""How the attempts of one decision stand in LangChain's run tree, and what a graph's stream shows of them.

A plan that may make several calls gets one grouping chain run, so that every attempt is a child of
it; a plan with one call gets none, because a run costs as much as half a call. Inside a LangGraph
node the handler that streams messages is replaced, for one attempt, by a copy that passes its chunks
through a gate: a rejected draft is dropped there and nobody sees it.
"""

import copy
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any, cast

from langchain_core.callbacks import (
    AsyncCallbackManager,
    BaseCallbackHandler,
    BaseCallbackManager,
    CallbackManager,
)
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from langroute.cascade import Call, Plan
from langroute.direct import passed_on
from langroute.effects import Io, made_io
from langroute.gates import Commit, Gate, Joint, Shown
from langroute.streams import CHUNKS, EVENTS

__all__ = [
    "Group",
    "Recording",
    "attempt_config",
    "record",
    "show_whole",
    "shown_already",
    "stamp",
    "start_group",
    "tags",
    "unheard",
]

_NAME = "langroute"

_NONE: RunnableConfig = {}


class Group:
    """The open chain run under which attempts stand."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def child(self, attempt: int) -> BaseCallbackManager:
        """Return the callbacks for one attempt."""
        manager: BaseCallbackManager = self._run.get_child(f"attempt:{attempt + 1}")
        return manager

    def end(self, reply: AIMessage) -> Io:
        """Return the effect that ends the run with the accepted reply."""
        return Io(lambda: self._run.on_chain_end(reply), lambda: self._run.on_chain_end(reply))

    def fail(self, error: BaseException) -> Io:
        """Return the effect that ends the run with an error."""
        return Io(lambda: self._run.on_chain_error(error), lambda: self._run.on_chain_error(error))

    def leave(self, error: GeneratorExit) -> None:
        """End the run at once: a flow that is closed may wait for nothing more."""
        run = self._run.get_sync() if hasattr(self._run, "get_sync") else self._run
        run.on_chain_error(error)


def start_group(config: RunnableConfig, messages: Sequence[BaseMessage]) -> Io:
    """Return the effect that opens the grouping run; its result is a `Group`, None where nobody listens."""
    told = passed_on(config).get
    # In the order in which `CallbackManager.configure` takes them.
    given: Any = told("callbacks"), None, False, told("tags"), None, told("metadata"), None
    run: dict[str, Any] = {"name": told("run_name") or _NAME, "run_id": told("run_id")}

    def start() -> Group | None:
        manager = CallbackManager.configure(*given)
        if not manager.handlers:
            return None
        return Group(manager.on_chain_start({}, {"messages": list(messages)}, **run))

    async def astart() -> Group | None:
        manager = AsyncCallbackManager.configure(*given)
        if not manager.handlers:
            return None
        return Group(await manager.on_chain_start({}, {"messages": list(messages)}, **run))

    return made_io(start, astart)


def stamp(plan: Plan, call: Call, attempt: int, call_id: str, policy: str) -> dict[str, Any]:
    """Return what the metadata of an attempt's run says of it: plain values to filter by, and no text.

    Args:
        plan: The step's plan.
        call: The attempt's call.
        attempt: Its number in the step, from 0.
        call_id: Id of the decision.
        policy: Digest of the policy.
    """
    told: dict[str, Any] = {
        "langroute_step": plan.step,
        "langroute_tier": call.tier,
        "langroute_endpoint": call.endpoint,
        "langroute_attempt": attempt,
        "langroute_why": call.why,
        "langroute_call_id": call_id,
        "langroute_policy": policy,
    }
    for rung in plan.rungs:
        for choice in rung.choices:
            if choice.endpoint == call.endpoint and choice.expected_usd is not None:
                told["langroute_expected_usd"] = choice.expected_usd
    return told


def tags(plan: Plan, call: Call) -> list[str]:
    """Return the tags of an attempt's run."""
    return [f"langroute:step:{plan.step}", f"langroute:tier:{call.tier}", f"langroute:why:{call.why}"]


def attempt_config(
    config: RunnableConfig,
    group: Group | None,
    attempt: int,
    metadata: dict[str, Any],
    tags: Sequence[str] = (),
) -> RunnableConfig:
    """Return the config of one attempt: the caller's, under the group, with the metadata and more tags.

    Without callbacks or tags of its own it is given those of the ambient config, which would be inherited.
    """
    own: RunnableConfig = {**config, "metadata": metadata}
    ambient = var_child_runnable_config.get() or _NONE
    if tags:
        before = config.get("tags")
        if before is None:
            before = ambient.get("tags")
        own["tags"] = [*before, *tags] if before else [*tags]
    if group is not None:
        own["callbacks"] = group.child(attempt)
        own.pop("run_id", None)
        own.pop("run_name", None)
    elif ambient and not config.get("callbacks"):
        own["callbacks"] = ambient.get("callbacks")
    if attempt:
        own.pop("run_id", None)  # a run id may be used once
    return own


class Recording:
    """One graph stream handler, replaced for one attempt by a copy whose output passes a gate."""

    def __init__(self, handler: Any, gate: Gate) -> None:
        self.gate = gate
        self.handler = handler
        """The graph's own."""
        self.proxy = copy.copy(handler)
        self.proxy.stream = self._take
        self.proxy.metadata = {}
        self.proxy.seen = set()
        self._heard = False
        self._events_only = hasattr(handler, "_streamed_run_ids")
        if self._events_only:
            self.proxy._streamed_run_ids = set()  # noqa: SLF001 - the copy must not share its original's state

    def _take(self, chunk: Any) -> None:
        self._heard = True
        for released in self.gate.push(chunk):
            self._show(released)

    def is_seen_in(self, config: RunnableConfig) -> bool:
        """Whether something was shown to a graph's stream that still listens."""
        return self.gate.open and any(handler is self.handler for handler in _handlers(config))

    def replay(self, old_id: str | None, new_id: str | None) -> None:
        """Show what is still held: the attempt's reply is the one that is returned, as message `new_id`."""
        for namespace, mode, (payload, metadata) in self.gate.rest():
            if isinstance(payload, BaseMessage) and payload.id == old_id != new_id:
                payload = payload.model_copy(update={"id": new_id})  # noqa: PLW2901 - the cache repeats old ids
            self._show((namespace, mode, (payload, metadata)))
        if self._heard:  # else the model is in a subgraph that is not streamed: its node shows the message
            self.handler.seen |= self.proxy.seen | ({new_id} - {None})

    def _show(self, chunk: Any) -> None:
        namespace, mode, (payload, metadata) = chunk
        if self._events_only and isinstance(payload, AIMessageChunk):
            # A graph's v3 stream passes over chunks: a node that streams would show nothing (langgraph 1.2).
            payload = message_chunk_to_message(payload)
        self.handler.stream((namespace, mode, (payload, metadata)))


def show_whole(config: RunnableConfig, message: AIMessage) -> None:
    """Show a reply at once in the running node's graph streams: what was held of it is in another process."""
    node = (config.get("metadata") or {}).get("langgraph_node")
    for handler in _handlers(config):
        if _streams_messages(handler) and message.id not in handler.seen:  # type: ignore[attr-defined]  # by its name
            places = list(handler.metadata.values())  # type: ignore[attr-defined]  # by its name
            for namespace, metadata in places:
                if metadata.get("langgraph_node") == node:
                    handler.seen.add(message.id)  # type: ignore[attr-defined]  # by its name
                    handler.stream((namespace, "messages", (message, metadata)))  # type: ignore[attr-defined]
                    break


def shown_already(config: RunnableConfig, message_id: str) -> None:
    """Keep a message out of the running node's graph streams: its text was shown under another id."""
    for handler in _handlers(config):
        if _streams_messages(handler):
            handler.seen.add(message_id)  # type: ignore[attr-defined]  # by its name


def unheard(config: RunnableConfig) -> RunnableConfig:
    """Return the config without graph stream handlers: what a judge says is nobody's answer."""
    return _with_handlers(config, lambda handlers: [h for h in handlers if not _streams_messages(h)])


def record(
    config: RunnableConfig,
    commit: Commit,
    passes: Callable[[str], bool | None],
    before: Sequence[Recording] = (),
    said: str = "",
) -> tuple[RunnableConfig, tuple[Recording, ...]]:
    """Return the config with every graph stream handler replaced by a recording one, and the recordings.

    A handler that showed part of a reply that broke off, through one of the recordings `before`, shows
    what goes on from there; the text shown is `said`.
    """
    if not config.get("callbacks"):
        return config, ()
    showed = {id(recording.handler): recording.gate for recording in before if recording.gate.open}
    found: dict[int, Recording] = {}
    for handler in filter(_streams_messages, _handlers(config)):
        gate = showed.get(id(handler))
        opened = Gate(commit, _PAYLOADS, passes) if gate is None else Joint(_PAYLOADS, gate, said)
        found[id(handler)] = Recording(handler, opened)
    if not found:
        return config, ()
    recorded = _with_handlers(
        config, lambda handlers: [found[id(h)].proxy if id(h) in found else h for h in handlers]
    )
    return recorded, tuple(found.values())


def _handlers(config: RunnableConfig) -> Sequence[BaseCallbackHandler]:
    callbacks = config.get("callbacks")
    return callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks or ()


def _with_handlers(
    config: RunnableConfig, change: Callable[[Sequence[BaseCallbackHandler]], list[BaseCallbackHandler]]
) -> RunnableConfig:
    callbacks = config.get("callbacks")
    if not callbacks:
        return config
    if not isinstance(callbacks, BaseCallbackManager):
        return {**config, "callbacks": change(callbacks)}
    manager = callbacks.copy()
    manager.handlers = change(callbacks.handlers)
    manager.inheritable_handlers = change(callbacks.inheritable_handlers)
    return {**config, "callbacks": manager}


def _streams_messages(handler: BaseCallbackHandler) -> bool:
    return _is_stream_handler(cast("Hashable", type(handler)))


@lru_cache(maxsize=256)
def _is_stream_handler(kind: Hashable) -> bool:
    """Whether a class is LangGraph's `StreamMessagesHandler`, told by name: no import of langgraph."""
    return any(
        base.__name__ == "StreamMessagesHandler" and base.__module__.startswith("langgraph.")
        for base in cast("type", kind).__mro__
    )


def _shape_of(payload: Any) -> Shown:
    return CHUNKS if isinstance(payload, BaseMessage) else EVENTS


class _Payloads:
    """What a graph's stream is given: namespace, mode, and a chunk or an event with its metadata."""

    def content(self, item: Any) -> str | None:
        return _shape_of(item[2][0]).content(item[2][0])

    def is_thought(self, item: Any) -> bool:
        return _shape_of(item[2][0]).is_thought(item[2][0])

    def is_plain(self, item: Any) -> bool:
        return _shape_of(item[2][0]).is_plain(item[2][0])

    def is_last(self, item: Any) -> bool:
        return _shape_of(item[2][0]).is_last(item[2][0])

    def again(self, item: Any, text: str) -> Any:
        namespace, mode, (payload, metadata) = item
        return namespace, mode, (_shape_of(payload).again(payload, text), metadata)

    def finish(self, item: Any, text: str, came: Sequence[Any]) -> Sequence[Any]:
        namespace, mode, (payload, metadata) = item
        ending = _shape_of(payload).finish(payload, text, [each[2][0] for each in came])
        return [(namespace, mode, (each, metadata)) for each in ending]

    def message_id(self, item: Any) -> str | None:
        return _shape_of(item[2][0]).message_id(item[2][0])

    def place(self, item: Any) -> Any:
        return _shape_of(item[2][0]).place(item[2][0])


_PAYLOADS: Shown = _Payloads()
