"""What looks like a key, a token or a password never leaves in a message, nor does a prompt or a header."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import SecretStr

__all__ = [
    "holds_secret",
    "names_headers",
    "names_secret",
    "printable",
    "redact",
    "unquoted",
    "unveiled",
    "veiled",
    "without",
]

_NAME_CHARS = 64
_SCANNED_CHARS = 2_000

_NAMES = re.compile(
    r"(^|_)((api|access|private|secret|subscription|license)_?key|secret|password|passwd|passphrase|token"
    r"|credentials?|authorization|cookie)$",
    re.IGNORECASE,
)
_HEADERS = re.compile(r"(^|default_|extra_|additional_|custom_|http_|request_)headers?$", re.IGNORECASE)

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What a terminal obeys or a reader cannot see: control characters, marks of direction, joiners, tags."""

_QUOTE_CHARS = 32
"""Shortest quotation of a prompt that is taken out: two windows, so that one of them lies inside it."""

_WINDOW_CHARS = _QUOTE_CHARS // 2

_CUT_CHARS = 3
"""So many first characters of a secret, at a cut, give nothing away."""

_CERTAIN = (
    r"\b(?:sk|pk|rk|gsk|hf|ghp|gho|ghs|github_pat|xox[abprs]|lsv2|tvly)[-_](?=[A-Za-z_\-]*\d)[A-Za-z0-9_\-]{16,}"
    r"|\bAKIA[A-Z0-9]{16}|\bAIza[A-Za-z0-9_\-]{30,}"
    r"|\b(?:Bearer|Basic)\s+(?=\S*[\d=])[A-Za-z0-9_\-.=+/]{8,}"
    r"|(?<=://)[^/\s@?#]+(?=@)|(?<=://)[^/\s:@]*:(?!\d*/)\S{1,500}(?=@)"
    r"|(?<=[?&])(?:api[_-]?key|key|token|secret|password|sig)=[^&\s]+"
)
"""What nobody writes by chance, so that a policy which holds it can be refused."""

_LIKELY = (
    r"(?P<before>://)[^/\s:@]*:\S{1,500}(?=@)"
    r"|(?P<scheme>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"
    r"|(?P<name>\b(?:[\w-]{0,40}(?:api[-_]?key|token|secret|password)|authorization|key)[\"']?\s*[:=]\s*[\"']?)"
    r"(?!bearer|basic)[^\s\"'&,;}]{6,}"
    r"|\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|glpat|pplx|nvapi|r8|fw|tgp|key|lsv2)[-_][\w*-]{8,}"
    r"|\bAIza[\w-]{20,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\beyJ[\w-]{10,}(?:\.[\w-]+)*"
    r"|\b(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{32,}\b"
)
"""What may be a secret: a message can do without it, but nothing is refused for it."""

_SECRET = re.compile(_CERTAIN)
_ANY = re.compile(f"{_LIKELY}|{_CERTAIN}", re.IGNORECASE)


def redact(text: str) -> str:
    """Return `text` with everything that looks like a key, a bearer token or a URL's password taken out."""
    return _ANY.sub(lambda m: f"{m['before'] or m['scheme'] or m['name'] or ''}[redacted]", text)


def holds_secret(text: str) -> bool:
    """Whether `text` is beyond doubt a secret: a provider's key, a bearer header, a URL with a password."""
    return bool(_SECRET.search(text[:_SCANNED_CHARS]))


def names_secret(key: str) -> bool:
    """Whether the value under `key` is a secret: `api_key`, `Authorization`; not `max_tokens`."""
    return len(key) <= _NAME_CHARS and bool(_NAMES.search(key.replace("-", "_")))


def names_headers(key: str) -> bool:
    """Whether the values under `key` are headers, any of which may be a secret: `default_headers`."""
    return len(key) <= _NAME_CHARS and bool(_HEADERS.search(key.replace("-", "_")))


def veiled(value: Any, *, secret: bool = False) -> Any:
    """Return settings in which every header, key and password is a `SecretStr`, which nothing shows."""
    if isinstance(value, Mapping):
        return {
            key: veiled(inner, secret=secret or names_headers(str(key)) or names_secret(str(key)))
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)([veiled(inner, secret=secret) for inner in value])
    if isinstance(value, str) and (secret or holds_secret(value)):
        return SecretStr(value)
    return value


def unveiled(value: Any) -> Any:
    """Return settings with their secrets as text: for the call that needs them, not to be kept."""
    if isinstance(value, Mapping):
        return {key: unveiled(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([unveiled(inner) for inner in value])
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def printable(text: str) -> str:
    """Return `text` with what a terminal would obey, or a reader could not see, as replacement characters."""
    return _UNSEEN.sub("\ufffd", text)


def unquoted(text: str, sources: Iterable[str]) -> str:
    """Return a short `text` with what it quotes of `sources`, from 32 characters on, taken out.

    Differences of white space do not count. It looks 16 characters of `text` up at a time: some 30 searches
    in each source for the longest message there is.
    """
    searched = [" ".join(source.split()) for source in sources]
    kept, at = "", 0
    while at + _WINDOW_CHARS <= len(text):
        runs = [_common(text, at, source) for source in searched]
        start, end = max(runs, key=lambda run: run[1] - run[0], default=(at, at))
        if end - start >= _QUOTE_CHARS:
            kept, text, at = f"{kept}{text[:start]}[…]", text[end:], 0
        else:
            at += _WINDOW_CHARS
    return kept + text


def without(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with each of the secrets taken out, also where the end of a shortened text cuts one."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
        cut = next((n for n in range(len(secret) - 1, _CUT_CHARS, -1) if text.endswith(f"{secret[:n]}…")), 0)
        text = f"{text[: -cut - 1]}[redacted]…" if cut else text
    return text


def _common(text: str, at: int, source: str) -> tuple[int, int]:
    """Return start and end in `text` of what it shares with `source` around `at`; equal for nothing."""
    found = source.find(text[at : at + _WINDOW_CHARS])
    if found < 0:
        return at, at
    start, end, shift = at, at + _WINDOW_CHARS, found - at
    while start > 0 and start + shift > 0 and text[start - 1] == source[start - 1 + shift]:
        start -= 1
    while end < len(text) and end + shift < len(source) and text[end] == source[end + shift]:
        end += 1
    return start, end
