"""How a `provider:model` string becomes a chat model, and what is said when it cannot."""

import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from langroute.checking import ADDRESS_FIELDS
from langroute.errors import EndpointError
from langroute.redaction import names_secret, printable, redact, unveiled
from langroute.wire import Private, async_client, client

__all__ = [
    "address",
    "build",
    "credential",
    "key_variable",
    "lacking",
    "placeholder",
    "providers",
    "secrets",
    "setting_names",
    "split",
    "wired",
]

_OWN_NETWORK = {"http_client", "http_async_client", "http_socket_options", "openai_proxy"}
"""Settings with which a person has arranged the network: then nothing of ours comes between."""

_HEADERS = "default_headers"
"""The setting that holds headers, as LangChain's integrations call it."""

_INSTALL_LANGCHAIN = "pip install 'langroute[agents]'"
"""For all models but those of `openai:`, which langroute builds without LangChain's help."""

_SECRET_CHARS = 6
"""A shorter value is no secret, and taken out of messages it would take words with it."""

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
        settings: Arguments of the chat model's class, secrets among them `veiled`.
        timeout_s: Seconds after which its client gives up a request; None keeps the client's own limit.

    Raises:
        EndpointError: A key or a package is missing, the provider is unknown, or the settings do not fit.
    """
    provider, name = split(model)
    variable = f"{provider.upper()}_API_KEY"
    if os.environ.get(variable, "").isspace():  # a client would be built, and every call refused
        raise EndpointError(f"endpoint {endpoint}: no key: the environment variable {variable} is blank")
    wanted = {"max_retries": 0, **({} if timeout_s is None else {"timeout": timeout_s})}
    try:
        if provider == "openai":
            return _openai(name, {**wanted, **settings})
        return _other(model, wanted, settings)
    except ImportError as error:
        raise EndpointError(f"endpoint {endpoint}: {_line(error)}") from error
    except Exception as error:
        explained = _explained(endpoint, provider, error)
    # Not chained: the settings' own errors, pydantic's among them, quote what they were given as it is.
    raise EndpointError(explained)


def wired(model: Any, settings: Mapping[str, Any]) -> bool:
    """Whether `build` gives the model langroute's own HTTP clients: see `langroute.wire`."""
    return isinstance(model, str) and split(model)[0] == "openai" and not settings.keys() & _OWN_NETWORK


def placeholder(model: str) -> BaseChatModel | None:
    """Return a model that can be asked for its profile alone, without a key; None where none can."""
    provider, name = split(model)
    if provider != "openai":
        return None
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=name, api_key="placeholder")  # type: ignore[arg-type]  # a SecretStr is made of it


def providers() -> Mapping[str, str]:
    """Return the providers of which LangChain builds models by name, and the package that each needs.

    Empty where LangChain is not installed.
    """
    if importlib.util.find_spec("langchain") is None:
        return {}
    from langchain.chat_models import base

    # No public list: without it, an unknown provider is only found when its model is built.
    found = getattr(base, "_BUILTIN_PROVIDERS", {})
    return {name: str(entry[0]).partition(".")[0] for name, entry in found.items()}


def lacking(provider: str, package: str | None) -> str | None:
    """Return the line that installs what builds a provider's models; None where it is there, or unknown."""
    if provider != "openai" and importlib.util.find_spec("langchain") is None:
        return _INSTALL_LANGCHAIN
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return f"pip install {package.replace('_', '-')}"


def setting_names() -> frozenset[str]:
    """Return the names of the settings that an `openai:` model has."""
    from langchain_openai import ChatOpenAI

    aliases = (field.alias for field in ChatOpenAI.model_fields.values())
    return frozenset((*ChatOpenAI.model_fields, *filter(None, aliases)))


def address(model: BaseChatModel | None, provider: str, settings: Mapping[str, Any]) -> str | None:
    """Return the server's address where it was set; None where the provider's own is called."""
    holder = settings.get if model is None else lambda field: getattr(model, field, None)
    variables = ("OPENAI_API_BASE", "OPENAI_BASE_URL") if provider == "openai" else ()
    found = (*map(holder, ADDRESS_FIELDS), *map(os.environ.get, variables))
    return next((str(unveiled(value)) for value in found if value), None)


def credential(model: BaseChatModel, where: str, settings: Mapping[str, Any]) -> str:
    """Return a digest of the secrets that a model calls `where` with: 32 bits, which give no key away."""
    headers = {f"header {name}": value for name, value in (settings.get(_HEADERS) or {}).items()}
    fields = sorted({**vars(model), **headers}.items())
    secrets = [f"{name}={value.get_secret_value()}" for name, value in fields if isinstance(value, SecretStr)]
    return hashlib.blake2b("\0".join((where, *secrets)).encode(), digest_size=4).hexdigest()


def secrets(model: Any, provider: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what no message on a model's call may show, the longest first: headers, keys, passwords."""
    found = {*_held(settings), *_held(getattr(model, "__dict__", {}))}
    for where in (address(model, provider, settings), address(None, provider, settings)):
        if with_user := re.match(r"\w+://([^/?#]*)@", where or ""):
            password = with_user[1].partition(":")[2]
            found |= {with_user[1], password, unquote(password)}
    long = (value for value in found if len(value) >= _SECRET_CHARS)
    return tuple(sorted(long, key=lambda value: (-len(value), value)))


def _held(value: Any) -> Iterator[str]:
    """Yield the secrets inside settings."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _held(inner)


def key_variable(model: Any, settings: Mapping[str, Any]) -> str | None:
    """Return the environment variable that a model's key comes from; None where it is not known."""
    if not isinstance(model, str) or any(names_secret(key) for key in settings):
        return None
    variable = f"{split(model)[0].upper()}_API_KEY"
    return variable if os.environ.get(variable) else None


def _openai(name: str, settings: dict[str, Any]) -> BaseChatModel:
    from langchain_openai import ChatOpenAI

    # LangChain switches usage in streams off with an address of one's own; the bill would read "unknown".
    ours: dict[str, Any] = {"stream_usage": True}
    if wired("openai:", settings):
        private, settings = _parted(settings)
        ours |= {"http_client": client(private), "http_async_client": async_client(private)}
    return ChatOpenAI(model=name, **{**ours, **unveiled(settings)})


def _parted(settings: Mapping[str, Any]) -> tuple[Private, dict[str, Any]]:
    """Return what only the HTTP client need know, and the settings without it.

    A chat model shows its headers and addresses in its repr, in dumps and to every tracer.
    """
    shown = dict(settings)
    headers = shown.get(_HEADERS)
    if isinstance(headers, Mapping):
        del shown[_HEADERS]
    where = address(None, "openai", settings) or ""
    with_user = re.match(r"(\w+://)([^/?#]*)@", where)
    if with_user:
        shown = {key: value for key, value in shown.items() if key not in ADDRESS_FIELDS}
        shown["base_url"] = with_user[1] + where[with_user.end() :]
    proxy = os.environ.get("OPENAI_PROXY")
    if proxy:
        shown["openai_proxy"] = None  # LangChain refuses one beside a client
    held = headers.items() if isinstance(headers, Mapping) else ()
    private = Private(
        tuple((str(name), SecretStr(str(unveiled(value)))) for name, value in held),
        SecretStr(with_user[2]) if with_user else None,
        SecretStr(proxy) if proxy else None,
    )
    return private, shown


def _other(model: str, wanted: dict[str, Any], veiled: Mapping[str, Any]) -> BaseChatModel:
    if importlib.util.find_spec("langchain") is None:
        raise ImportError(f"{model} needs the langchain package: {_INSTALL_LANGCHAIN}")
    from langchain.chat_models import init_chat_model

    settings = unveiled(veiled)
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
    return printable(" ".join(redact(str(error)[:_MESSAGE_CHARS]).split()))
