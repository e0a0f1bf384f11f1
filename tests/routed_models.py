"""Routed models over scripted endpoints, and one way to call them in every mode."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelConnectionError
from langchain_core.language_models import BaseChatModel
from pydantic import PrivateAttr

from langroute import RoutedChatModel
from langroute.testing import ScriptedChatModel

__all__ = ["BAD", "GOOD", "MODES", "STREAMS", "Closing", "Runs", "calls", "down", "routed", "shown", "texts"]

GOOD = "The cable was laid in 1866, says the log."
BAD = "I cannot help with that."

MODES = ("invoke", "ainvoke", "batch", "stream", "astream", "v3", "av3")
STREAMS = ("stream", "astream", "v3", "av3")


def down() -> ModelConnectionError:
    return ModelConnectionError("connection refused")


def routed(
    endpoints: dict[str, Any], *, policy: dict[str, Any] | None = None, **step: Any
) -> RoutedChatModel:
    """Return a model whose every call is the step `answer`, bound as `step` says.

    An endpoint belongs to the tier that its name begins with (`small-a`), and is a chat model, a script
    (list) or one reply for every call.
    """
    tiers: dict[str, Any] = {}
    for name, said in endpoints.items():
        price = {"input": 1.0, "output": 4.0}
        spec = {"model": _model(name, said), "name": name, "price": price}
        tiers.setdefault(name.partition("-")[0], {"models": []})["models"].append(spec)
    binding = {"cascade": list(tiers), **step}
    return RoutedChatModel({"tiers": tiers, "steps": {"answer": binding}, **(policy or {})}).for_step(
        "answer"
    )


def _model(name: str, said: Any) -> BaseChatModel:
    if isinstance(said, BaseChatModel):
        return said
    return ScriptedChatModel(name=name, **({"replies": said} if isinstance(said, list) else {"reply": said}))


def calls(model: RoutedChatModel) -> dict[str, int]:
    """Return how often each scripted endpoint was called."""
    return {name: len(endpoint.model.calls) for name, endpoint in model.router.endpoints.by_name.items()}


def texts(model: Any, mode: str, prompt: Any = "When?", config: Any = None) -> Iterator[str]:
    """Call a model by one of the sync modes, and yield what it shows, piece by piece."""
    if mode == "invoke":
        yield model.invoke(prompt, config).text
    elif mode == "batch":
        yield model.batch([prompt], config)[0].text
    elif mode == "stream":
        for chunk in model.stream(prompt, config):
            yield chunk.text
    else:
        yield from model.stream_events(prompt, config, version="v3").text


async def shown(model: Any, mode: str, prompt: Any = "When?", config: Any = None) -> str:
    """Return all the text that a caller of any mode is shown."""
    return "".join([piece async for piece in pieces(model, mode, prompt, config)])


async def pieces(model: Any, mode: str, prompt: Any = "When?", config: Any = None) -> AsyncIterator[str]:
    """Call a model by any mode, and yield what it shows, piece by piece."""
    if mode == "ainvoke":
        yield (await model.ainvoke(prompt, config)).text
    elif mode == "astream":
        async for chunk in model.astream(prompt, config):
            yield chunk.text
    elif mode == "av3":
        stream = await model.astream_events(prompt, config, version="v3")
        async for piece in stream.text:
            yield piece
    else:
        for piece in texts(model, mode, prompt, config):
            yield piece


class Closing(ScriptedChatModel):
    """Lets others run between its chunks, and notes what ends one of its streams early."""

    _closed: list[str] = PrivateAttr(default_factory=list)

    @property
    def closed(self) -> list[str]:
        """What was thrown into the streams that were left."""
        return self._closed

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[Any]:
        try:
            yield from super()._stream(messages, stop, run_manager, **kwargs)
        except BaseException as error:
            self._closed.append(type(error).__name__)
            raise

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        try:
            async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
                await asyncio.sleep(0)
                yield chunk
        except BaseException as error:
            self._closed.append(type(error).__name__)
            raise


class Runs(BaseCallbackHandler):
    """Notes the runs that a call makes."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = []
        self.chains: list[dict[str, Any]] = []
        self.ended: list[Any] = []
        self.failed: list[Any] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: Any, **kwargs: Any) -> None:
        self.models.append({"run_id": run_id, **kwargs})

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: Any, **kwargs: Any) -> None:
        self.chains.append({"run_id": run_id, **kwargs})

    def on_chain_end(self, outputs: Any, *, run_id: Any, **kwargs: Any) -> None:
        self.ended.append(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: Any, **kwargs: Any) -> None:
        self.failed.append(run_id)

    def parents(self) -> Sequence[Any]:
        """Return the parent of every model run."""
        return [run["parent_run_id"] for run in self.models]
