"""What a call gave, in one form, and the message that goes back to the caller with its record in it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage

from langroute.decision import Decision
from langroute.errors import MixedReply, NoReply
from langroute.frames import FOR_WANT
from langroute.records import maker

__all__ = ["Reply", "end_once", "finished", "identify", "read_reply", "token_logprobs", "told_model"]


_OF_THE_END = ("finish_reason", "model_name", "system_fingerprint", "service_tier")
"""What an OpenAI model tells where its reply ends."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one attempt's call gave: the message, and with a schema the parsed object or why there is none."""

    message: AIMessage = field(repr=False)
    parsed: Any = field(default=None, repr=False)
    parsing_error: BaseException | None = field(default=None, repr=False)


_made_reply = maker(Reply)


def read_reply(result: Any, parse: Callable[[AIMessage], Any] | None = None) -> Reply:
    """Read a model's message or a structured chain's `{raw, parsed, parsing_error}`.

    With `parse`, the object is read off the message; a ValueError of it is the parsing error.

    Raises:
        NoReply: It is neither.
    """
    if isinstance(result, AIMessage):
        if result.tool_calls:
            identify(result.tool_calls)
        return _made_reply(result)
    message = result.get("raw") if isinstance(result, dict) else result
    if not isinstance(message, AIMessage):
        raise NoReply(f"the model gave no message of an assistant but {type(message).__name__}")
    if message.tool_calls:
        identify(message.tool_calls)
    if parse is None:
        return Reply(message, result.get("parsed"), result.get("parsing_error"))
    try:
        return Reply(message, parse(message))
    except ValueError as error:
        return Reply(message, None, error)


def identify(calls: Sequence[Any]) -> None:
    """Give an id to every tool call, or first piece of one, that came without: its result needs one."""
    for call in calls:
        if call["name"] and not call["id"]:
            call["id"] = f"call_{uuid4().hex}"


def end_once(chunk: AIMessage, ended: Any) -> Any:
    """Return how a reply ended, so far; an end told again is left out, or the host would join the words.

    Raises:
        MixedReply: Of two ends that differ one says that the reply is not whole.
    """
    told = chunk.response_metadata
    word = told.get("finish_reason")
    if ended and word and word != ended and not FOR_WANT.isdisjoint((str(ended), str(word))):
        raise MixedReply(f"the stream ends with `{ended}` and with `{word}`")
    if ended and word == ended:
        for key in _OF_THE_END:
            told.pop(key, None)
    return ended or word


def finished(reply: Reply, decision: Decision) -> Reply:
    """Return the reply with the decision in `response_metadata["langroute"]`.

    An answer from LangChain's cache keeps the id of the first time, with which it would replace the
    earlier message in a thread; it gets a fresh one.
    """
    message = reply.message
    told = message.response_metadata
    metadata = {**told, "langroute": decision.as_dict()}
    index: Any = decision.chosen
    chosen = decision.attempts[index]
    cached = chosen.cost_basis == "cached" and chosen.why != "continuation"  # its beginning was shown as it
    if cached or "langroute" in told:  # an object that was given out before
        fresh: dict[str, Any] = {"response_metadata": metadata}
        if cached:
            fresh["id"] = f"lc_run--{uuid4()}"
        return replace(reply, message=message.model_copy(update=fresh))
    message.response_metadata = metadata  # in place, as the host does: a copy costs 3 us
    return reply


def told_model(message: AIMessage) -> str | None:
    """Return the model's name by its provider's word; None where that is none."""
    name = message.response_metadata.get("model_name")
    return name if name and isinstance(name, str) else None


def token_logprobs(metadata: Mapping[str, Any]) -> list[float]:
    """Return the log probability of every token that has a finite one; [] where none were returned."""
    logprobs = metadata.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else logprobs
    if not isinstance(content, Sequence) or isinstance(content, str):
        return []
    values = (token.get("logprob") for token in content if isinstance(token, Mapping))
    return [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
