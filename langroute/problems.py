"""Says what is wrong with a policy as path, value, message and remedy, and never shows a secret."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from langroute.errors import PolicyProblem

__all__ = [
    "MAX_PROBLEMS",
    "NOTHING",
    "Loc",
    "closest",
    "holds_secret",
    "key_path",
    "limited",
    "names_secret",
    "problem",
    "shown",
]

NOTHING = object()
"""Stands where a problem has no value to show."""

Loc = tuple[str | int, ...]
"""Where something stands: keys and list indexes from the top of the policy."""

MAX_PROBLEMS = 100
"""A file with more problems than this is no policy; the rest are not described."""

_SHOWN_CHARS = 60
_SCANNED_CHARS = 2_000
"""Characters of a value in which secrets are looked for before it is cut to what is shown."""

_NAME_CHARS = 64
_NAMES_LISTED = 20
_NAMES_COMPARED = 200
"""difflib takes some 10 µs a pair of short names; these limits keep a hostile file under 1 s."""

_SECRET_KEY = re.compile(
    r"(^|_)((api|access|private|secret|subscription|license)_?key|secret|password|passwd|passphrase|token"
    r"|credentials?|authorization|cookie)$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"\b(?:sk|pk|rk|gsk|hf|ghp|gho|ghs|github_pat|xox[abprs]|lsv2|tvly)[-_](?=[A-Za-z_\-]*\d)[A-Za-z0-9_\-]{16,}"
    r"|\bAKIA[A-Z0-9]{16}|\bAIza[A-Za-z0-9_\-]{30,}"
    r"|\b(?:Bearer|Basic)\s+(?=\S*[\d=])[A-Za-z0-9_\-.=+/]{8,}"
    r"|(?<=://)[^/\s@?#]+(?=@)"
    r"|(?<=[?&])(?:api[_-]?key|key|token|secret|password|sig)=[^&\s]+"
)
_PLAIN_KEY = re.compile(r"[\w*?\-]+")


def limited(problems: Iterable[PolicyProblem]) -> list[PolicyProblem]:
    """Return the first problems; where there are more than anybody would read, the last one says so."""
    found = list(islice(problems, MAX_PROBLEMS + 1))
    if len(found) > MAX_PROBLEMS:
        message = f"more than {MAX_PROBLEMS} problems were found"
        found[-1] = problem((), NOTHING, message, "Correct the ones above first.")
    return found


def problem(loc: Loc, value: Any, message: str, remedy: str) -> PolicyProblem:
    """Return one problem at `loc`, its value shortened and free of secrets."""
    return PolicyProblem(key_path(loc), shown(value, loc), _masked(message), _masked(remedy))


def key_path(loc: Loc) -> str:
    """Return the dotted key path of `loc`: `tiers.small.models[0].price`; odd keys are quoted."""
    path = ""
    for key in loc:
        if isinstance(key, int):
            path += f"[{key}]"
        elif _PLAIN_KEY.fullmatch(key) and len(key) <= _SHOWN_CHARS:
            path += f".{_masked(key)}" if path else _masked(key)
        else:
            path += f"[{_text(key)}]"
    return path


def shown(value: Any, loc: Loc = ()) -> str:
    """Return `value` short enough for a message; `***` for a secret, the class alone of an object."""
    text = type(value).__name__
    if any(isinstance(key, str) and names_secret(key) for key in loc):
        text = "***"
    elif value is NOTHING:
        text = ""
    elif isinstance(value, str):
        text = _text(value)
    elif isinstance(value, Mapping):
        text = f"{{{len(value)} key{'s' * (len(value) != 1)}}}"
    elif isinstance(value, list | tuple):
        text = f"[{len(value)} item{'s' * (len(value) != 1)}]"
    elif isinstance(value, int) and value.bit_length() > _SHOWN_CHARS:
        text = f"a number of {value.bit_length()} bits"
    elif value is None or isinstance(value, int | float):
        text = json.dumps(value)
    return text


def names_secret(key: str) -> bool:
    """Whether the value under `key` is a secret: `api_key`, `Authorization`; not `max_tokens`."""
    return len(key) <= _NAME_CHARS and bool(_SECRET_KEY.search(key.replace("-", "_")))


def holds_secret(text: str) -> bool:
    """Whether `text` looks like a secret itself: a provider's key, a bearer header, a URL with a password."""
    return bool(_SECRET_TEXT.search(text[:_SCANNED_CHARS]))


def closest(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return what leads from a wrong name to a known one; `otherwise` opens it where none is near."""
    names = [candidate for candidate in known if len(candidate) <= _NAME_CHARS][:_NAMES_COMPARED]
    if not names:
        return otherwise
    near = difflib.get_close_matches(name, names, n=1) if len(name) <= _NAME_CHARS else []
    listed = ", ".join(f"`{candidate}`" for candidate in names[:_NAMES_LISTED])
    listed += ", …" if len(names) > _NAMES_LISTED else ""
    opening = f"Did you mean `{near[0]}`?" if near else otherwise
    return f"{opening} Known: {listed}."


def _text(text: str) -> str:
    masked = _masked(text[:_SCANNED_CHARS])
    quoted = repr(masked[:_SHOWN_CHARS])
    return quoted if len(masked) <= _SHOWN_CHARS else f"{quoted[:-1]}…{quoted[-1]}"


def _masked(text: str) -> str:
    return _SECRET_TEXT.sub("***", text)
