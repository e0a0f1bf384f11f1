"""The whole reply of a model to messages that are there already: what its `invoke` adds is left out.

The host's `invoke` makes messages of its input, completes its config and calls `generate`; that is a
twentieth of a call to the quickest model. It is left out where it is known to do nothing else: a model
with an `invoke` of its own, a chain, or a host whose `invoke` uses other names than today's is invoked.
"""

from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import var_child_runnable_config

from langroute.targets import Target

__all__ = ["acall", "call", "passed_on", "prompt_of"]

_COMPLETE = frozenset(
    {"callbacks", "tags", "metadata", "run_name", "run_id", "recursion_limit", "max_concurrency"}
)
"""Keys of a config that `ensure_config` leaves as they are; others it looks into."""

_NAMES: Mapping[str, set[str]] = {
    "invoke": {
        "ensure_config",
        "cast",
        "generate_prompt",
        "_convert_input",
        "get",
        "pop",
        "generations",
        "message",
    },
    "ainvoke": {
        "ensure_config",
        "cast",
        "agenerate_prompt",
        "_convert_input",
        "get",
        "pop",
        "generations",
        "message",
    },
    "generate_prompt": {"generate"},
    "agenerate_prompt": {"agenerate"},
}
"""What the host's methods call and read (langchain-core 1.7)."""


def _host_is_known() -> bool:
    methods = {name: vars(BaseChatModel).get(name) for name in _NAMES}
    return all(
        isinstance(method, FunctionType)
        and not hasattr(method, "__wrapped__")  # somebody listens in there
        and _NAMES[name] == set(method.__code__.co_names)
        for name, method in methods.items()
    )


_KNOWN = _host_is_known()
_INVOKE, _AINVOKE = BaseChatModel.invoke, BaseChatModel.ainvoke
_PROMPT, _APROMPT = BaseChatModel.generate_prompt, BaseChatModel.agenerate_prompt
_CONVERT = BaseChatModel._convert_input  # noqa: SLF001 - looked at, not called


def call(target: Target, messages: Sequence[BaseMessage], config: RunnableConfig) -> Any:
    """Return what a target replies to the messages."""
    kind: Any = type(target.runnable)
    own = kind.invoke is _INVOKE and kind.generate_prompt is _PROMPT and kind._convert_input is _CONVERT  # noqa: SLF001
    if not (own and _KNOWN):
        given = prompt_of(messages) if target.prompted else messages
        return target.runnable.invoke(given, config, **target.kwargs)
    model: Any = target.runnable
    return model.generate([list(messages)], **passed_on(config), **target.kwargs).generations[0][0].message


async def acall(target: Target, messages: Sequence[BaseMessage], config: RunnableConfig) -> Any:
    """Await what a target replies to the messages.

    A cancellation raised inside the model is raised as what it is: `agenerate` of langchain-core 1.7
    takes it for a result and trips over it with an `AttributeError`.
    """
    kind: Any = type(target.runnable)
    own = kind.ainvoke is _AINVOKE and kind.agenerate_prompt is _APROMPT and kind._convert_input is _CONVERT  # noqa: SLF001
    try:
        if not (own and _KNOWN):
            given = prompt_of(messages) if target.prompted else messages
            return await target.runnable.ainvoke(given, config, **target.kwargs)
        model: Any = target.runnable
        result = await model.agenerate([list(messages)], **passed_on(config), **target.kwargs)
    except AttributeError as error:
        if isinstance(error.obj, BaseException) and not isinstance(error.obj, Exception):
            raise error.obj from None
        raise
    return result.generations[0][0].message


def prompt_of(messages: Sequence[BaseMessage]) -> ChatPromptValue:
    """Return the messages in the host's form; not validated, for they are messages already: 5 us less."""
    return ChatPromptValue.model_construct(messages=messages)


def passed_on(config: RunnableConfig) -> Mapping[str, Any]:
    """Return what `invoke` passes on of a config, completed by what is around it."""
    alone = not var_child_runnable_config.get()
    if alone and len(config) == 1 and "metadata" in config:
        return config  # most calls outside graphs; `generate` takes what it is not given as None
    if not (alone and config.keys() <= _COMPLETE):
        config = ensure_config(config)
    told = config.get
    return {
        "callbacks": told("callbacks"),
        "tags": told("tags"),
        "metadata": told("metadata"),
        "run_name": told("run_name"),
        "run_id": told("run_id"),
    }
