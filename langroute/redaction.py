"""What looks like a key, a token or a password never leaves in a message."""

import re

__all__ = ["holds_secret", "names_secret", "redact"]

_NAME_CHARS = 64
_SCANNED_CHARS = 2_000

_NAMES = re.compile(
    r"(^|_)((api|access|private|secret|subscription|license)_?key|secret|password|passwd|passphrase|token"
    r"|credentials?|authorization|cookie)$",
    re.IGNORECASE,
)
_CERTAIN = (
    r"\b(?:sk|pk|rk|gsk|hf|ghp|gho|ghs|github_pat|xox[abprs]|lsv2|tvly)[-_](?=[A-Za-z_\-]*\d)[A-Za-z0-9_\-]{16,}"
    r"|\bAKIA[A-Z0-9]{16}|\bAIza[A-Za-z0-9_\-]{30,}"
    r"|\b(?:Bearer|Basic)\s+(?=\S*[\d=])[A-Za-z0-9_\-.=+/]{8,}"
    r"|(?<=://)[^/\s@?#]+(?=@)"
    r"|(?<=[?&])(?:api[_-]?key|key|token|secret|password|sig)=[^&\s]+"
)
"""What nobody writes by chance, so that a policy which holds it can be refused."""

_LIKELY = (
    r"(?P<before>://)[^/\s:@]*:[^/\s@]+(?=@)"
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
