"""What looks like a key, a token or a password never leaves in a message."""

import re

__all__ = ["redact"]

_SECRETS = re.compile(
    r"(?P<before>://)[^/\s:@]*:[^/\s@]+(?=@)"
    r"|(?P<scheme>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"
    r"|(?P<name>\b(?:[\w-]{0,40}(?:api[-_]?key|token|secret|password)|authorization|key)[\"']?\s*[:=]\s*[\"']?)"
    r"(?!bearer|basic)[^\s\"'&,;}]{6,}"
    r"|\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|glpat|pplx|nvapi|r8|fw|tgp|key|lsv2)[-_][\w*-]{8,}"
    r"|\bAIza[\w-]{20,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\beyJ[\w-]{10,}(?:\.[\w-]+)*"
    r"|\b(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{32,}\b",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return `text` with everything that looks like a key, a bearer token or a URL's password taken out."""
    return _SECRETS.sub(lambda m: f"{m['before'] or m['scheme'] or m['name'] or ''}[redacted]", text)
