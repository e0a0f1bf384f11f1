"""A chat model's twin: it shares all that the model holds, and has other methods in place of some.

The host reads a model's stream where no callback hears it, and runs a model without async methods in the
event loop's own workers. What it calls there are methods that every model overrides, so a twin is of a class
that overrides them once more; the model that a person gave is left as it is.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache, partial
from typing import Any, cast

from langchain_core.language_models import BaseChatModel

from langroute.beside import abeside, abeside_items

__all__ = ["beside_the_loop", "derived", "overrides", "twin"]

_STATE = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
"""Where pydantic keeps what a model holds: the very same objects in both."""

_SLOTS = ("langroute_told",)
_HOSTS = frozenset(BaseChatModel.__mro__)


def overrides(kind: type, *names: str) -> bool:
    """Whether a class of chat models has one of these methods of its own."""
    return any(getattr(kind, name, None) is not getattr(BaseChatModel, name) for name in names)


def derived(kind: type, methods: Mapping[str, Any]) -> type | None:
    """Return a class like `kind` with these methods; None where no class can be derived from it.

    What a twin's methods go by is in its `langroute_told`, which its own twins and copies have too.
    """

    def copied(self: Any) -> Any:
        return twin(kind.__copy__(self), type(self), **self.langroute_told)  # type: ignore[attr-defined]  # pydantic's

    slots = [vars(base).get("__slots__", ()) for base in kind.__mro__ if base not in _HOSTS]
    if set(slots) - {(), _SLOTS}:
        return None  # it holds something in slots of its own
    named = {name: getattr(kind, name) for name in ("__doc__", "__module__", "__qualname__")}
    own: dict[str, Any] = {"__slots__": () if _SLOTS in slots else _SLOTS, "__copy__": copied, **methods}
    if hasattr(kind, "__del__"):
        own["__del__"] = _nothing  # what it would close is still the model's
    try:
        return type(kind)(kind.__name__, (kind,), {**named, **own})
    except Exception:  # whatever its class does where one is derived from it
        return None


def twin(model: Any, kind: type, **told: Any) -> Any:
    """Return the twin of a model, of a class that was derived from the model's, that is told this."""
    made: Any = object.__new__(kind)
    for name in _STATE:
        object.__setattr__(made, name, getattr(model, name))
    object.__setattr__(made, "langroute_told", {**getattr(model, "langroute_told", {}), **told})
    return made


def beside_the_loop(model: BaseChatModel, name: Callable[[], str]) -> BaseChatModel:
    """Return a model without async methods as one whose late calls are bounded and counted; another as it is.

    Args:
        model: The model.
        name: Returns the name under which they count.
    """
    kind = _beside(type(model))
    return model if kind is None else cast("BaseChatModel", twin(model, kind, name=name))


@lru_cache(maxsize=256)
def _beside(kind: Any) -> type | None:
    if overrides(kind, "ainvoke", "agenerate", "_agenerate"):
        return None
    methods: dict[str, Any] = {"_agenerate": _agenerate}
    if overrides(kind, "_stream") and not overrides(kind, "_astream"):
        methods["_astream"] = _astream
    return derived(kind, methods)


async def _agenerate(
    self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
) -> Any:
    """Make the blocking call as the host does, but in a thread that is let go of."""
    heard = run_manager.get_sync() if run_manager else None
    return await abeside(
        partial(self._generate, messages, stop, heard, **kwargs), self.langroute_told["name"]()
    )


async def _astream(
    self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
) -> AsyncIterator[Any]:
    """Read the blocking stream likewise."""
    heard = run_manager.get_sync() if run_manager else None
    source = abeside_items(
        partial(self._stream, messages, stop, heard, **kwargs), self.langroute_told["name"]()
    )
    try:
        async for chunk in source:
            yield chunk
    finally:
        await source.aclose()


def _nothing(self: Any) -> None:
    """End nothing."""
