"""Replies that are whole on the wire and wrong, or odd, in what they say: a good completion, spoilt."""

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from langroute.testing.faults import Fault

__all__ = ["OVERSIZE_PIECE_CHARS", "rearranged", "spoilt"]

OVERSIZE_PIECE_CHARS = 4_000
"""Characters in one chunk of an oversize stream: 2,000 chunks make 8 MB."""

Completion = dict[str, Any]
Chunks = Sequence[dict[str, Any]]


def spoilt(whole: Completion, fault: Fault) -> Completion:
    """Return the completion as a fault's kind makes it; as it is where the kind is none of these."""
    spoil = _SPOIL.get(fault.kind)
    if spoil is None:
        return whole
    changed = copy.deepcopy(whole)
    spoil(changed, fault)
    return changed


def rearranged(parts: Chunks, fault: Fault) -> Chunks:
    """Return the chunks of a stream as a fault's kind orders them."""
    rearrange = _REARRANGE.get(fault.kind)
    return parts if rearrange is None else rearrange(parts)


def _says(content: str | None, refusal: str | None = None) -> Callable[[Completion, Fault], None]:
    def spoil(whole: Completion, _: Fault) -> None:
        choice = whole["choices"][0]
        choice["message"] = {"role": "assistant", "content": content, "refusal": refusal}
        choice["finish_reason"] = "stop"

    return spoil


def _halved(finish_reason: str | None, *, text: bool) -> Callable[[Completion, Fault], None]:
    def spoil(whole: Completion, _: Fault) -> None:
        choice = whole["choices"][0]
        message = choice["message"]
        if text and message["content"]:
            message["content"] = message["content"][: len(message["content"]) // 2]
        for call in message.get("tool_calls", ()):
            arguments = call["function"]["arguments"]
            call["function"]["arguments"] = arguments[: len(arguments) // 2]
        choice["finish_reason"] = finish_reason or choice["finish_reason"]

    return spoil


def _broken_arguments(whole: Completion, _: Fault) -> None:
    for call in whole["choices"][0]["message"].get("tool_calls", ()):
        call["function"]["arguments"] = "{'a': 2, b: }"


def _unfinished(whole: Completion, _: Fault) -> None:
    whole["choices"][0]["finish_reason"] = None


def _no_usage(whole: Completion, _: Fault) -> None:
    whole["usage"] = None


def _chose(choices: Any) -> Callable[[Completion, Fault], None]:
    def spoil(whole: Completion, _: Fault) -> None:
        whole["choices"] = choices

    return spoil


def _oversize(whole: Completion, fault: Fault) -> None:
    message = whole["choices"][0]["message"]
    if message["content"]:
        message["content"] = "x" * fault.size
    for call in message.get("tool_calls", ()):
        call["function"]["arguments"] = '{"a": "' + "x" * fault.size + '"}'


_SPOIL: Mapping[str, Callable[[Completion, Fault], None]] = {
    "empty": _says(""),
    "blank": _says(" \n "),
    "null": _says(None),
    "refusal": _says(None, "I cannot help with that."),
    "length": _halved("length", text=True),
    "filtered": _halved("content_filter", text=True),
    "cut_arguments": _halved(None, text=False),
    "broken_arguments": _broken_arguments,
    "unfinished": _unfinished,
    "no_usage": _no_usage,
    "no_choices": _chose([]),
    "null_choices": _chose(None),
    "oversize": _oversize,
}


def _repeated_ends(parts: Chunks) -> Chunks:
    at = next(n for n, part in enumerate(parts) if part["choices"] and part["choices"][0]["finish_reason"])
    return [parts[0], *parts[: at + 1], *parts[at:], *parts[at + 1 :]]


def _doubled(parts: Chunks) -> Chunks:
    return [part for part in parts for _ in range(2)]


def _interleaved(parts: Chunks) -> Chunks:
    calls: dict[int, list[dict[str, Any]]] = {}
    for part in parts:
        for piece in part["choices"][0]["delta"].get("tool_calls", ()) if part["choices"] else ():
            calls.setdefault(piece["index"], []).append(part)
    if not calls:
        return parts
    turns = [part for turn in zip_longest(*calls.values()) for part in turn if part is not None]
    before = parts.index(next(iter(calls.values()))[0])
    return [*parts[:before], *turns, *list(chain(parts))[before + len(turns) :]]


_REARRANGE: Mapping[str, Callable[[Chunks], Chunks]] = {
    "doubled": _doubled,
    "repeated_ends": _repeated_ends,
    "interleaved": _interleaved,
}
