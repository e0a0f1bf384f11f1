"""How a reply ended, in the words of every provider."""

import re
from collections.abc import Mapping
from typing import Literal

from langchain_core.messages import AIMessage

__all__ = ["ending", "finish_words", "refusal_text"]

_KEYS = ("finish_reason", "stop_reason", "stopReason", "done_reason", "status")
"""OpenAI and Google, Anthropic, Bedrock, Ollama, OpenAI's responses."""

_CUT = frozenset(
    {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
)
_WITHHELD = frozenset(
    {
        "blocklist",
        "content_filter",
        "content_filtered",
        "guardrail_intervened",
        "prohibited_content",
        "recitation",
        "refusal",
        "safety",
        "sensitive",
        "spii",
    }
)
_OTHERS = frozenset(
    {"end_turn", "eos", "error", "function_call", "stop", "stop_sequence", "tool_calls", "tool_use"}
)

_WORD = "|".join(sorted(_CUT | _WITHHELD | _OTHERS, key=len, reverse=True))
_JOINED = re.compile(f"(?:{_WORD})+")
_ONE = re.compile(_WORD)


def finish_words(reply: AIMessage) -> tuple[str, ...]:
    """Return why the provider says the reply ended, in lower case; () where it says nothing."""
    metadata = reply.response_metadata
    if not metadata:
        return ()
    told = [metadata[key] for key in _KEYS if key in metadata]
    details = metadata.get("incomplete_details")
    if isinstance(details, Mapping):
        told.append(details.get("reason"))
    words: list[str] = []
    for word in told:
        if isinstance(word, str) and word:
            words += _parted(word.lower())
    return tuple(words)


def _parted(word: str) -> list[str]:
    """Return the words of which one is made: LangChain joins the last chunks of a stream that has several."""
    if _JOINED.fullmatch(word):
        return list(dict.fromkeys(_ONE.findall(word)))
    half = word[: len(word) // 2]
    return [half if half + half == word else word]


def ending(reply: AIMessage) -> Literal["cut", "withheld"] | None:
    """Return `cut` where a limit ended the reply, `withheld` where a filter or the model did; else None."""
    words = finish_words(reply)
    if any(word in _CUT for word in words):
        return "cut"
    return "withheld" if any(word in _WITHHELD for word in words) else None


def refusal_text(reply: AIMessage) -> str | None:
    """Return what the provider marked as a refusal, in its own field or in a content block; else None."""
    marked = reply.additional_kwargs.get("refusal")
    if isinstance(marked, str) and marked:
        return marked
    if isinstance(reply.content, str):
        return None
    for block in reply.content:
        inner = block.get("value", block) if isinstance(block, Mapping) else None
        if isinstance(inner, Mapping) and inner.get("type") == "refusal":
            return str(inner.get("refusal") or "a refusal")
    return None
