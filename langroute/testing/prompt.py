"""What a provider reads off a request before a model answers it: the text, and how much of it is cached."""

import json
from collections.abc import Mapping
from typing import Any

from langroute.testing.wire import CHARACTERS_PER_TOKEN

__all__ = ["BLOCK_TOKENS", "PrefixCache", "prompt_text"]

BLOCK_TOKENS = 64
"""A prompt cache remembers whole blocks of this many tokens (OpenAI: 128, from 1,024 on)."""


def prompt_text(body: Mapping[str, Any]) -> str:
    """Return what the model reads, in an order in which a longer conversation begins with the shorter one.

    Tools and response format stand before the messages; an image or a file counts as its type's name alone.
    """
    frame = [json.dumps(body[key], sort_keys=True) for key in ("tools", "response_format") if body.get(key)]
    return "\n".join([*frame, *(_message_text(message) for message in body["messages"])])


def _message_text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text") or f"[{part.get('type')}]" for part in content)
    calls = message.get("tool_calls")
    return f"{message['role']}: {content}{json.dumps(calls) if calls else ''}"


class PrefixCache:
    """The prompt cache of one model: which prompt heads it has read before, in whole blocks."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def read(self, text: str) -> int:
        """Return how many tokens at the head of `text` were read before, and remember all of it."""
        size = BLOCK_TOKENS * CHARACTERS_PER_TOKEN
        heads, head = [], 0
        for at in range(0, len(text) - size + 1, size):
            head = hash((head, text[at : at + size]))
            heads.append(head)
        known = next((count for count, head in enumerate(heads) if head not in self._seen), len(heads))
        self._seen.update(heads)
        return known * BLOCK_TOKENS
