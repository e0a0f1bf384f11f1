"""How a `provider:model` string becomes a chat model, and what is said when it cannot."""

import importlib.util
import os
import re
from collections.abc import Mapping
from typing import Any, cast

from langchain_core.language_models import BaseChatModel

from langroute.errors import EndpointError
from langroute.redaction import redact

__all__ = ["address", "build", "placeholder", "providers", "setting_names", "split"]

_ADDRESS_FIELDS = ("base_url", "openai_api_base", "anthropic_api_url")
"""Where LangChain's integrations keep the address of their server."""

_MESSAGE_CHARS = 500
"""Longest text of a provider's that is quoted."""


def split(model: str) -> tuple[str, str]:
    """Return provider and model of a `provider:model` string; the provider is "" where it has none."""
    provider, colon, name = model.partition(":")
    return (provider, name) if colon else ("", model)


def build(endpoint: str, model: str, settings: Mapping[str, Any], timeout_s: float | None) -> BaseChatModel:
    """Return the chat model that a string names.

    Its client does not retry unless the settings say so: retries multiply with the fallback chain.

    Args:
        endpoint: Name of the endpoint, for messages.
        model: `provider:model`.
        settings: Arguments of the chat model's class.
        timeout_s: Seconds after which its client gives up a request; None keeps the client's own limit.

    Raises:
        EndpointError: A key or a package is missing, the provider is unknown, or the settings do not fit.
    """
    provider, name = split(model)
    wanted = {"max_retries": 0, **({} if timeout_s is None else {"timeout": timeout_s})}
    try:
        if provider == "openai":
            return _openai(name, {**wanted, **settings})
        return _other(model, wanted, settings)
    except EndpointError:
        raise
    except ImportError as error:
        raise EndpointError(f"endpoint {endpoint}: {_line(error)}") from error
    except Exception as error:
        raise EndpointError(_explained(endpoint, provider, error)) from error


def placeholder(model: str) -> BaseChatModel | None:
    """Return a model that can be asked for its profile alone, without a key; None where none can."""
    provider, name = split(model)
    if provider != "openai":
        return None
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=name, api_key="placeholder")  # type: ignore[arg-type]  # a SecretStr is made of it


def providers() -> frozenset[str]:
    """Return the providers of which LangChain builds models by name; empty where it is not installed."""
    if importlib.util.find_spec("langchain") is None:
        return frozenset()
    from langchain.chat_models import base

    # No public list: without it, an unknown provider is only found when its model is built.
    return frozenset(getattr(base, "_BUILTIN_PROVIDERS", ()))


def setting_names() -> frozenset[str]:
    """Return the names of the settings that an `openai:` model has."""
    from langchain_openai import ChatOpenAI

    aliases = (field.alias for field in ChatOpenAI.model_fields.values())
    return frozenset((*ChatOpenAI.model_fields, *filter(None, aliases)))


def address(model: BaseChatModel | None, provider: str, settings: Mapping[str, Any]) -> str | None:
    """Return the server's address where it was set; None where the provider's own is called."""
    holder = settings.get if model is None else lambda field: getattr(model, field, None)
    variables = ("OPENAI_API_BASE", "OPENAI_BASE_URL") if provider == "openai" else ()
    found = (*map(holder, _ADDRESS_FIELDS), *map(os.environ.get, variables))
    return next((str(value) for value in found if value), None)


def _openai(name: str, settings: dict[str, Any]) -> BaseChatModel:
    from langchain_openai import ChatOpenAI

    # LangChain switches usage in streams off with an address of one's own; the bill would read "unknown".
    return ChatOpenAI(model=name, **{"stream_usage": True, **settings})


def _other(model: str, wanted: dict[str, Any], settings: Mapping[str, Any]) -> BaseChatModel:
    if importlib.util.find_spec("langchain") is None:
        raise ImportError(f"{model} needs the langchain package: pip install 'langroute[agents]'")
    from langchain.chat_models import init_chat_model

    plain = init_chat_model(model, **settings)
    fields = type(plain).model_fields
    known = {*fields, *(field.alias for field in fields.values())}
    # Integrations differ in what they take, and only the built class tells: ask first, then build again.
    missing = {key: value for key, value in wanted.items() if key in known and key not in settings}
    return cast("BaseChatModel", init_chat_model(model, **settings, **missing) if missing else plain)


def _explained(endpoint: str, provider: str, error: Exception) -> str:
    text = _line(error)
    variable = _variable(text) or f"{provider.upper()}_API_KEY"
    about_a_key = re.search(r"credential|api[_ ]?key", text, re.IGNORECASE)
    if about_a_key and not os.environ.get(variable):
        return f"endpoint {endpoint}: no key: set the environment variable {variable} ({text})"
    return f"endpoint {endpoint}: the model cannot be built: {text}"


def _variable(text: str) -> str | None:
    """Return the environment variable that a provider's own message names."""
    found = re.search(r"\b[A-Z][A-Z0-9_]*_(?:KEY|TOKEN)\b", text)
    return found.group() if found else None


def _line(error: Exception) -> str:
    """Return an error's text on one line, short and without secrets."""
    return " ".join(redact(str(error)[:_MESSAGE_CHARS]).split())
