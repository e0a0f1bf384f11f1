"""What a model of the loopback provider answers, and how the chat-completions wire says it.

A whole reply is one JSON object (`completion`); a streamed one is the same object taken apart
(`chunks`), so the two can never differ. Tokens are estimated: four characters each.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "Answer",
    "Usage",
    "WireError",
    "chunks",
    "completion",
    "cut_at_stop",
    "token_logprobs",
    "tokens",
]

CHARACTERS_PER_TOKEN = 4
"""The estimate that every count of the loopback provider rests on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a brain says to one request, before the wire cuts it at `stop` and `max_tokens`."""

    text: str | None = None
    """The reply's text; None beside tool calls alone, or beside a refusal."""
    tool_calls: tuple[tuple[str, Mapping[str, Any] | str], ...] = ()
    """Tool calls in order: the tool's name, and its arguments as an object or as raw (even broken) JSON."""
    finish_reason: str | None = None
    """What the wire says ended the reply; None derives `stop`, `length` or `tool_calls`."""
    probability: float | None = None
    """Probability of every token, in (0, 1], for a request that wants logprobs; None sends none."""
    refusal: str | None = None
    """The refusal's text, in the wire's own field; None where the model does not refuse."""
    reasoning_tokens: int = 0
    """Tokens thought and not shown: billed as output, reported in the usage details."""

    def __post_init__(self) -> None:
        if self.probability is not None and not 0 < self.probability <= 1:
            raise ValueError(f"probability is {self.probability}; a token's probability is in (0, 1]")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the prompt of one request counted."""

    prompt_tokens: int
    cached_tokens: int = 0
    """Tokens at the head of the prompt that an earlier request to the same model began with."""


class WireError(Exception):
    """A request that the provider refuses, with OpenAI's status, code and wording."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        kind = "server_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004 (HTTP's own line)
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def tokens(text: str | None, size: int = CHARACTERS_PER_TOKEN) -> list[str]:
    """Return `text` in estimated tokens of `size` characters; joined they are the text."""
    return [text[at : at + size] for at in range(0, len(text), size)] if text else []


def completion(
    body: Mapping[str, Any], answer: Answer, usage: Usage, *, room_tokens: int | None
) -> dict[str, Any]:
    """Return the whole `chat.completion` for `answer`, cut at the request's `stop` and at `room_tokens`.

    `room_tokens` is the most the reply may take; None where neither the request nor a window limits it.
    """
    text = cut_at_stop(answer.text, body.get("stop"))
    calls = [(name, _as_json(arguments)) for name, arguments in answer.tool_calls]
    kept_text, kept_calls = _cut_at_room(text, calls, room_tokens)
    message: dict[str, Any] = {"role": "assistant", "content": kept_text, "refusal": answer.refusal}
    if kept_calls:
        message["tool_calls"] = [_tool_call(name, arguments) for name, arguments in kept_calls]
    finish = answer.finish_reason
    if finish is None:
        finish = "length" if (kept_text, kept_calls) != (text, calls) else _finish_reason(body, kept_calls)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    if body.get("logprobs") and answer.probability is not None:
        top = body.get("top_logprobs") or 0
        choice["logprobs"] = token_logprobs(kept_text, answer.probability, top=top)
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [choice],
        "usage": _usage(usage, _count(kept_text, answer.refusal, kept_calls), answer.reasoning_tokens),
    }


def chunks(
    whole: Mapping[str, Any], *, include_usage: bool, piece_chars: int | None = None
) -> Iterator[dict[str, Any]]:
    """Take a `chat.completion` apart into the chunks of a stream: role, deltas, finish reason, usage.

    Each delta is one token, or `piece_chars` characters.
    """
    choice, message = whole["choices"][0], whole["choices"][0]["message"]
    head = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    if include_usage:
        head["usage"] = None
    for delta, logprobs in _deltas(message, choice["logprobs"], piece_chars or CHARACTERS_PER_TOKEN):
        yield head | {"choices": [_chunk_choice(delta, logprobs=logprobs)]}
    yield head | {"choices": [_chunk_choice({}, finish_reason=choice["finish_reason"])]}
    if include_usage:
        yield head | {"choices": [], "usage": whole["usage"]}


def cut_at_stop(text: str | None, stop: str | Sequence[str] | None) -> str | None:
    """Return `text` up to the first of the stop sequences, which is not part of it."""
    if not text or not stop:
        return text
    found = [text.find(mark) for mark in ([stop] if isinstance(stop, str) else stop)]
    return text[: min((at for at in found if at >= 0), default=len(text))]


def token_logprobs(text: str | None, probability: float, *, top: int = 0) -> dict[str, Any]:
    """Return the wire's `logprobs` for `text`, every token with the same probability.

    `top` is the request's `top_logprobs`; a brain knows no rivals, so at most the token itself is listed.
    """
    logprob = math.log(probability)
    entries = []
    for token in tokens(text):
        entry: dict[str, Any] = {
            "token": token,
            "logprob": logprob,
            "bytes": list(token.encode(errors="replace")),
        }
        entries.append(entry | {"top_logprobs": [entry] if top else []})
    return {"content": entries, "refusal": None}


def _as_json(arguments: Mapping[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _tool_call(name: str, arguments: str) -> dict[str, Any]:
    call_id = f"call_{uuid4().hex[:24]}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _cut_at_room(
    text: str | None, calls: list[tuple[str, str]], room_tokens: int | None
) -> tuple[str | None, list[tuple[str, str]]]:
    """Cut text and then tool calls where the room ends: arguments are cut in the middle, as providers do."""
    if room_tokens is None:
        return text, calls
    pieces = tokens(text)
    left = max(0, room_tokens - len(pieces)) * CHARACTERS_PER_TOKEN
    kept = []
    for name, arguments in calls:
        if left <= len(name):
            break
        kept.append((name, arguments[: left - len(name)]))
        left -= len(tokens(name + arguments)) * CHARACTERS_PER_TOKEN
    return "".join(pieces[:room_tokens]) if text else text, kept


def _finish_reason(body: Mapping[str, Any], calls: Sequence[object]) -> str:
    # OpenAI says "stop", not "tool_calls", where the request named the function to call.
    return "tool_calls" if calls and not isinstance(body.get("tool_choice"), dict) else "stop"


def _count(text: str | None, refusal: str | None, calls: Sequence[tuple[str, str]]) -> int:
    in_calls = sum(len(tokens(name + arguments)) for name, arguments in calls)
    return len(tokens(text)) + len(tokens(refusal)) + in_calls


def _usage(prompt: Usage, shown_tokens: int, reasoning_tokens: int) -> dict[str, Any]:
    output_tokens = shown_tokens + reasoning_tokens
    return {
        "prompt_tokens": prompt.prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt.prompt_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": prompt.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _chunk_choice(
    delta: Mapping[str, Any], *, logprobs: Mapping[str, Any] | None = None, finish_reason: str | None = None
) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _deltas(
    message: Mapping[str, Any], logprobs: Mapping[str, Any] | None, size: int
) -> Iterator[tuple[dict[str, Any], Mapping[str, Any] | None]]:
    """Yield each delta of a message with its share of the logprobs."""
    opening = None if message["content"] is None else ""
    yield {"role": "assistant", "content": opening, "refusal": None}, None
    for at, token in enumerate(tokens(message["content"], size)):
        share = logprobs and {"content": logprobs["content"][at : at + 1], "refusal": None}
        yield {"content": token}, share
    for token in tokens(message["refusal"]):
        yield {"refusal": token}, None
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        opened = {**call, "index": index, "function": {"name": function["name"], "arguments": ""}}
        yield {"tool_calls": [opened]}, None
        for token in tokens(function["arguments"], size):
            yield {"tool_calls": [{"index": index, "function": {"arguments": token}}]}, None
