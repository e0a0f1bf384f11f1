"""A chat model that was given from Python: what is inside it, what was bound to it, what it is called."""

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableBinding, RunnableConfig
from langchain_core.runnables.config import merge_configs

from langroute.errors import EndpointError
from langroute.request import EMPTY

__all__ = ["ls_params", "unwrapped", "warn_of_retries"]


def unwrapped(model: Any) -> tuple[BaseChatModel | None, Mapping[str, Any], RunnableConfig | None]:
    """Return the chat model inside a given one, and what was bound to it; binding tools would lose both."""
    if isinstance(model, str):
        return None, EMPTY, None
    kwargs: dict[str, Any] = {}
    config: RunnableConfig | None = None
    inner: Any = model
    while isinstance(inner, RunnableBinding):
        kwargs = {**inner.kwargs, **kwargs}
        made = [make(inner.config) for make in inner.config_factories]
        if inner.config or made:
            config = merge_configs(inner.config, *made, config)
        inner = inner.bound
    if not isinstance(inner, BaseChatModel):
        raise EndpointError(
            f"{type(inner).__name__} is no chat model: give a `provider:model` string, a chat model,"
            " or a chat model with `.bind()` or `.with_config()`"
        )
    return inner, MappingProxyType(kwargs), config


def ls_params(model: BaseChatModel, bound: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the provider's and the model's name as the model gives them to traces."""
    return model._get_ls_params(**bound)  # noqa: SLF001 - LangChain has no public form of it


def warn_of_retries(name: str, model: BaseChatModel) -> None:
    """Warn of retries inside a given client: they multiply with the fallback chain and delay it."""
    retries = getattr(model, "max_retries", 0)
    if retries == 0:
        return
    count = "its SDK's default" if retries is None else str(retries)
    warnings.warn(
        f"endpoint {name}: the client retries by itself (max_retries: {count}), which delays every"
        " fallback and multiplies the calls; build it with max_retries=0",
        stacklevel=2,
    )
