"""Content blocks in the spelling that a provider takes: pictures and documents respelt, marks taken off."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from langroute.dialects import Dialect

__all__ = ["blank", "plain", "respelt", "understood"]

_Content = str | Sequence[Any]
_CACHE_MARKS = frozenset({"cachePoint", "cache_point"})


def blank(content: _Content) -> bool:
    """Whether a message's content holds nothing but white space."""
    if isinstance(content, str):
        return not content or content.isspace()
    return all(_blank_text(block) for block in content)


def plain(content: _Content, dialect: Dialect) -> bool:
    """Whether a list of blocks, of a message that is no reply, is as the provider takes it."""
    return all(_plain(block, dialect) for block in content)


def understood(content: Sequence[Any], dialect: Dialect) -> bool:
    """Whether a provider reads every block of a reply whose writer is not known."""
    known = dialect.reply_blocks
    if known is None:
        return True
    return all(not isinstance(block, dict) or _understood(block, known, dialect) for block in content)


def respelt(content: Sequence[Any], dialect: Dialect) -> list[Any]:
    """Return the blocks as the provider takes them; cache marks of others and blank texts are left out."""
    blocks = [block if _plain(block, dialect) else _respelt(block, dialect) for block in content]
    return [block for block in blocks if block is not None and (dialect.empty or not _blank_text(block))]


def _blank_text(block: Any) -> bool:
    text = block.get("text") if isinstance(block, Mapping) and block.get("type") == "text" else block
    return isinstance(text, str) and (not text or text.isspace())


def _plain(block: Any, dialect: Dialect) -> bool:
    if not isinstance(block, dict):
        return True
    kind = block.get("type")
    if kind is None or not dialect.marks.isdisjoint(block):
        return kind is None and dialect.bare
    if kind == "text":
        named = dialect.text_keys is None or block.keys() <= dialect.text_keys
        return named and (dialect.empty or not _blank_text(block))
    if kind in ("image", "document", "video"):
        return (dialect.sources or "source" not in block) and (dialect.bare or kind not in block)
    return kind != "media" or dialect.media


def _understood(block: Mapping[str, Any], known: frozenset[str], dialect: Dialect) -> bool:
    kind = block.get("type")
    if kind is None:
        return dialect.bare
    if kind not in known:
        return False
    if kind == "thinking" and "redacted_thinking" in known:  # Anthropic signs what it thinks
        return bool(block.get("signature"))
    if kind == "thinking" and dialect.text_keys is not None:  # Mistral's thoughts are lists of blocks
        return isinstance(block.get("thinking"), list)
    return True


def _respelt(block: dict[str, Any], dialect: Dialect) -> dict[str, Any] | None:
    kind = block.get("type")
    if kind is None:
        return _typed(block)
    if kind == "text":
        keys = dialect.text_keys or (block.keys() - dialect.marks)
        return {key: value for key, value in block.items() if key in keys}
    block = {key: value for key, value in block.items() if key not in dialect.marks}
    source = block.get("source")
    if isinstance(source, Mapping) and not dialect.sources:
        return _from_source(block, source)
    if kind in block and not dialect.bare:
        return _typed(block)
    if kind == "media" and not dialect.media and "data" in block:
        return _file(str(block.get("mime_type")), block["data"])
    return block


def _from_source(block: dict[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a picture or a document of Anthropic's in the spelling that all integrations read."""
    match source.get("type"):
        case "base64":
            return _file(str(source.get("media_type")), source.get("data"))
        case "url" if block["type"] == "image":
            return {"type": "image_url", "image_url": {"url": source.get("url")}}
        case "url":
            return {"type": "file", "url": source.get("url")}
        case "text":
            return {"type": "text", "text": str(source.get("data"))}
    return block


def _typed(block: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a block of Bedrock's, which names its kind by its only key."""
    if isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    if not _CACHE_MARKS.isdisjoint(block):
        return None
    for kind, family in (("image", "image"), ("document", "application")):
        inner = block.get(kind)
        source = inner.get("source") if isinstance(inner, Mapping) else None
        if isinstance(inner, Mapping) and isinstance(source, Mapping) and "bytes" in source:
            return _file(f"{family}/{inner.get('format')}", source["bytes"])
    return {"type": "text", "text": json.dumps(block, default=str, ensure_ascii=False)}


def _file(mime: str, data: Any) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode() if isinstance(data, bytes | bytearray) else str(data)
    if mime.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{encoded}"}}
    return {"type": "file", "mime_type": mime, "base64": encoded}
