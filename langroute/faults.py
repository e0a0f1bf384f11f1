"""What is wrong with a reply that came with status 200: empty, refused, cut, oversize, unreadable.

LangChain hands such a reply over as an answer. Here it is a failed call, so that the next endpoint is
asked; one that a person could still use (a refusal, a text that met its token limit) is kept, and
returned with its finish reason where nothing better comes.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage

from langroute.building import key_variable
from langroute.calls import MOST_CHARS
from langroute.cascade import Failure
from langroute.endpoints import OUTPUT_LIMITS, Endpoint
from langroute.functions import declined
from langroute.redaction import without
from langroute.request import Request, tool_name
from langroute.verifiers.base import shown
from langroute.verifiers.finish import ending, finish_words, refusal_text
from langroute.visible import says_nothing

__all__ = ["as_told", "fault_of"]

_PLAIN = ("stop", "end_turn", "stop_sequence", "completed")
"""How most replies end; with text and nothing else they are whole. No set: what is told may have no hash."""

_THOUGHTS = frozenset(
    {
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "redacted_thinking",
        "thinking",
    }
)
"""Content blocks, and extra fields, that only tell how a model came to its reply."""

_BROKEN = re.compile(
    r"abort|cancel|disconnect|error|fail|in_progress|incomplete|insufficient|interrupt|malformed|other$"
    r"|overload|preempt|rate_limit|repetition|time_?d?_?out|unexpected|unspecified"
)
"""In the words of providers that gave up on their own reply: OpenAI's responses, Google, Bedrock, vLLM,
DeepSeek, Zhipu, Moonshot."""

_QUOTED_CHARS = 200


def fault_of(
    message: AIMessage, request: Request, endpoint: Endpoint, *, judged: bool = False
) -> Failure | None:
    """Return what is wrong with a reply that came; None where nothing is.

    A limit that the caller set is no fault, nor is silence after a tool's result: some models end so. Where
    the reply is `judged` anyway, whole arguments that cannot be read are a verdict's business.
    """
    if _is_plain(message) or (endpoint.is_function and declined(message)):
        return None
    return _looked_into(message, request, endpoint, judged=judged)


def _looked_into(message: AIMessage, request: Request, endpoint: Endpoint, *, judged: bool) -> Failure | None:
    words, calls = finish_words(message), message.tool_calls
    if _size(message) > MOST_CHARS:
        return _fault("bad_response", f"the reply is longer than {MOST_CHARS:,} characters")
    told = _miscalled(message, request) if calls else None
    if message.invalid_tool_calls and not (judged and ending(message) is None):
        told = told or f"the arguments of {_names(message.invalid_tool_calls)} cannot be read"
    says = _says(message)
    if told is None and words and _ends_well(words) and says and refusal_text(message) is None:
        return None
    if words == ("tool_calls",) and not (calls or message.invalid_tool_calls):
        told = told or "the reply ends in tool calls, and there are none"
    if not (says or calls) and _calls_a_function(message, request, endpoint):
        told = told or "the reply calls a function in a form that nobody asked for"
    if told is not None:
        return _fault("bad_response", told)
    silent = not (says or calls or message.invalid_tool_calls or _kept(message))
    if not words:
        return _unended(message, endpoint, silent=silent)
    return _ended_badly(message, request, endpoint) or (
        _fault("bad_response", "the reply is empty") if silent and not request.last_tool_messages else None
    )


def _ends_well(words: Sequence[str]) -> bool:
    return all(word in _PLAIN for word in words)


def _is_plain(message: AIMessage) -> bool:
    """Whether a reply is text and nothing else, and ended as most do: there is no more to look at.

    A reply of which nothing at all is told comes from no provider: a model in this process gave it.
    """
    text, told = message.content, message.response_metadata
    return (
        isinstance(text, str)
        and len(text) <= MOST_CHARS
        and not says_nothing(text)
        and not (message.tool_calls or message.invalid_tool_calls)
        and not message.additional_kwargs.get("refusal")
        and (not told or told.get("finish_reason") in _PLAIN)
    )


def _miscalled(message: AIMessage, request: Request) -> str | None:
    """Return what is wrong with a reply's tool calls."""
    calls = message.tool_calls
    if not all(call["name"] and isinstance(call["args"], dict) for call in calls):
        return "a tool call without a name, or without arguments"
    ids = [call["id"] for call in calls if call["id"]]
    if len(set(ids)) < len(ids):
        return "two tool calls of one id, whose results could not be told apart"
    if not all(_is_finite(call["args"]) for call in calls):
        return f"the arguments of {_names(calls)} hold a number that is none in JSON"
    repeated = [call for call in calls if _unit(call["name"]) != call["name"]]
    bound = {tool_name(tool) for tool in request.tools} if repeated else set()
    if any(call["name"] not in bound and _unit(call["name"]) in bound for call in repeated):
        return f"the name of a tool comes more than once: {_names(repeated)}"
    return None


def _unit(name: str) -> str:
    """Return the shortest text of which a name is a repetition: `add` of `addadd`."""
    return name[: (name + name).find(name, 1)]


def _is_finite(arguments: Any) -> bool:
    """Whether all numbers in a tool's arguments are some that JSON has."""
    waiting = [arguments]
    while waiting:
        value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return False
        if isinstance(value, dict | list):
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return True


def _calls_a_function(message: AIMessage, request: Request, endpoint: Endpoint) -> bool:
    """Whether a reply is a call as they were before there were tools, which only callers that ask so read."""
    if "function_call" not in message.additional_kwargs and "function_call" not in finish_words(message):
        return False
    settings = getattr(endpoint.model, "model_kwargs", None) or {}
    return not any("functions" in given for given in (request.kwargs, endpoint.bound_kwargs, settings))


def as_told(failure: Failure, request: Request, endpoint: Endpoint) -> Failure:
    """Return a call's failure without what it quotes of prompt and secrets; of a refused key, where it is."""
    message = without(request.untold(failure).message, endpoint.secrets)
    if failure.kind == "auth":
        variable = key_variable(endpoint.spec.model, endpoint.spec.settings)
        where = f"in the environment variable {variable}" if variable else "that the model was given"
        message += f"; look at the key {where}"
    return replace(failure, message=message)


def _says(message: AIMessage) -> bool:
    """Whether there is content; what cannot be seen is none, nor are thoughts that lead to nothing."""
    content = message.content
    if isinstance(content, str):
        return not says_nothing(content)
    return any(not says_nothing(block) if isinstance(block, str) else _shows(block) for block in content)


def _shows(block: Mapping[str, Any]) -> bool:
    inner = block.get("value")  # what LangChain did not know, as v3 streams wrap it
    kind = inner.get("type") if isinstance(inner, Mapping) else block.get("type")
    return kind not in _THOUGHTS and not says_nothing(str(block.get("text", "-") or ""))


def _kept(message: AIMessage) -> bool:
    """Whether an integration kept something beside the content that is more than thoughts."""
    kept = message.additional_kwargs
    return any(value for key, value in kept.items() if key not in _THOUGHTS) if kept else False


def _size(message: AIMessage) -> int:
    """Return the characters of text and tool arguments."""
    text = message.content if isinstance(message.content, str) else message.text
    calls = message.tool_calls
    return len(text) + sum([len(str(call["args"])) for call in calls]) if calls else len(text)


def _unended(message: AIMessage, endpoint: Endpoint, *, silent: bool) -> Failure | None:
    """Return the fault of a reply without a finish reason: where a stream ends cleanly, LangChain sees none.

    A reply of an OpenAI wire always says why it ended, unless its server is known not to.
    """
    if silent:
        return _fault("cut_stream", "the reply ended before its first content and without a finish reason")
    told = message.response_metadata.get("model_provider") == "openai"
    if not told or endpoint.spec.omits_finish_reason or _kept(message):
        return None
    return _fault(
        "cut_stream",
        "the reply ended without a finish reason; if this server never gives one, say so with"
        " `omits_finish_reason: true`",
    )


def _ended_badly(message: AIMessage, request: Request, endpoint: Endpoint) -> Failure | None:
    """Return the fault of a reply whose provider says that it was refused, withheld or cut."""
    ended = ending(message)
    if (refusal := refusal_text(message)) is not None and not message.tool_calls:
        return _fault(
            "refusal", f"refused: {shown(refusal, _QUOTED_CHARS)}", usable=_may_be_returned(request)
        )
    if ended == "withheld":
        return _fault("content_filter", "the provider withheld the reply or a part of it")
    if ended == "cut" and message.tool_calls:
        return _fault("bad_response", f"the token limit was met inside {_names(message.tool_calls)}")
    if ended == "cut" and not _limited(request, endpoint):
        usable = _says(message) and _may_be_returned(request)
        return _fault("bad_response", "the reply met its token limit", usable=usable)
    if broken := next((word for word in finish_words(message) if _BROKEN.search(word)), None):
        return _fault("bad_response", f"the provider ended the reply with `{broken}`")
    return None


def _may_be_returned(request: Request) -> bool:
    """Whether the caller takes a reply with a fault: not where only an object will do."""
    return request.schema is None or bool(request.binding.include_raw)


def _limited(request: Request, endpoint: Endpoint) -> bool:
    """Whether the caller or the policy set the limit of the reply's tokens."""
    given = {**endpoint.bound_kwargs, **request.kwargs}
    return any(given.get(key) or getattr(endpoint.model, key, None) for key in OUTPUT_LIMITS)


def _names(calls: Sequence[Any]) -> str:
    return shown(", ".join(str(call["name"]) for call in calls), _QUOTED_CHARS)


def _fault(kind: str, message: str, *, usable: bool = False) -> Failure:
    return Failure(kind, "next_endpoint", message, usable)
