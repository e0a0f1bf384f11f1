"""What failed, and what to do about it: the only package that knows how providers shape their errors.

Nothing of a provider's package is imported: an error is read by its codes, by LangChain's own error
types, by its HTTP status, by the names of its classes, and last by its text. `signs` is the table,
`evidence` reads what an error carries, `waits` reads when it may be tried again.
"""

import re
import time
from collections.abc import Iterator, Sequence
from typing import cast

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from langroute.cascade import Failure
from langroute.errors import CallFault, LangrouteError
from langroute.failures.evidence import READ_CHARS, Evidence, chain, handled, leaves, names, read
from langroute.failures.signs import (
    BY_NAME,
    BY_STATUS,
    BY_VAGUE_CODE,
    FREE,
    KINDS,
    LAST_OF_CALLERS,
    PLAIN_CODES,
    REMEDIES,
    VAGUE,
    WORDS,
    WORDS_MAY_TELL,
    Kind,
)
from langroute.failures.waits import limit_reset_s, retry_after_s
from langroute.redaction import printable, redact

__all__ = ["KINDS", "Kind", "charged", "classify", "is_control_flow"]

_MESSAGE_CHARS = 300
"""Longest message of a failure: it goes into logs and into the reply's metadata."""

_TERSE_CHARS = 20
"""An error that says no more than "Connection error." is told with its cause."""

_STATUS_CHARS = 200
"""A status is told at the head of a text; further on a number may be anything."""

_TYPES: tuple[tuple[type[Exception], Kind], ...] = (
    (ContextOverflowError, "context_overflow"),
    (ModelAuthenticationError, "auth"),
    (ModelPermissionDeniedError, "permission"),
    (ModelNotFoundError, "not_found"),
    (ModelRateLimitError, "rate_limit"),
    (ModelTimeoutError, "timeout"),
    (ModelConnectionError, "connection"),
    (ModelAPIError, "server"),
    (ModelInvalidRequestError, "invalid_request"),
)

_URL = re.compile(r"https?://\S+")
_QUOTED = re.compile(r"(?<!\w)(?:'[^']*'|\"[^\"]*\"|`[^`]*`)(?!\w)")
_AWS = re.compile(r"An error occurred \((\w+)\)")
_CLASS = re.compile(r"(?:\w+\.)*(\w+(?:Error|Exception|Timeout))\b")
_STATUS = re.compile(
    r"(?:^|\b(?i:error|code|status|http|response)\W{1,3})([45]\d\d)\b(?!,)"
    r"|\b([45]\d\d) (?=Bad|Unauth|Forb|Not |Too |Internal|Service|Gateway|Payment|Request|[A-Z]+_[A-Z])"
)

# Gemini words a limit per minute as "exceeded your current quota", and says when to come back.
_COMES_BACK = re.compile(r"per[ _-]?minute|(?:retry|try again) (?:in|after) \d|/ minute")
_NOT_SOON = re.compile(r"(?:requests|tokens)perday|limit: 0(?![.\d])")

_WRONG_LOOP = re.compile(
    r"event loop is closed|attached to a different loop|bound to a different event loop", re.IGNORECASE
)


def classify(error: BaseException, *, now_s: float | None = None) -> Failure | None:
    """Return what failed and what to do about it; None for what must be raised untouched.

    None is for what steers the host and for errors that langroute raises of its own. Never raises, and
    looks at no more than the head of any text.

    Args:
        error: What the call raised.
        now_s: Unix time, for a provider that says by a date when to come back; now when not given.
    """
    if is_control_flow(error) or issubclass(type(error), LangrouteError):
        return None
    errors = tuple(chain(error))
    evidence = tuple(read(e) for e in errors)
    message = _message(evidence)
    # An async client that was used in an earlier event loop: the program's fault (langchain#35783), never
    # the provider's, and the next endpoint would fail the same way.
    own = issubclass(type(error), CallFault)  # a person's function may use a loop of its own as it likes
    if not own and any("RuntimeError" in e.names and _WRONG_LOOP.search(e.text) for e in evidence):
        return Failure("unknown", "stop", message)
    kind = _kind(errors, evidence)
    wait_s = _wait_s(evidence, kind, time.time() if now_s is None else now_s)
    return Failure(kind, REMEDIES.get(kind, "next_endpoint"), message, retry_after_s=wait_s)


def is_control_flow(error: BaseException) -> bool:
    """Whether an error, or one in a group, steers the host: an interrupt, the end of the program."""
    return any(_steers(e) for e in leaves(error))


def _steers(error: BaseException) -> bool:
    told = names(error)  # by name: langgraph is imported by `langroute.graph` alone
    return not issubclass(type(error), Exception) or "GraphBubbleUp" in told or "CancelledError" in told


def charged(kind: str) -> float | None:
    """Return the USD a failed call cost: 0.0 where the provider did no work, None where nobody knows."""
    return 0.0 if kind in FREE else None


def _kind(errors: Sequence[BaseException], evidence: Sequence[Evidence]) -> Kind:
    own = [cast("CallFault", error) for error in errors if issubclass(type(error), CallFault)]
    if own:  # what langroute itself found wrong
        return cast("Kind", own[0].kind)
    for e in evidence:
        told = next((PLAIN_CODES[code] for code in e.codes if code in PLAIN_CODES), None)
        if told is not None:
            return told
        if any("Refusal" in name for name in e.names):
            return "refusal"
    for error, e in zip(errors, evidence, strict=True):
        base = _base(error, e)
        if base is not None:
            return _refined(base, evidence)
    told = next((kind for e in evidence for kind in _told(e)), None)
    # What says nothing itself was raised, it may be, while the error that tells was being handled.
    context = handled(errors[0]) if told is None else None
    return told or (None if context is None else _base(context, read(context))) or "unknown"


def _base(error: BaseException, e: Evidence) -> Kind | None:
    """Return what type, codes and status say, a vague answer only where there is no other; else the class."""
    by_type = next((kind for cls, kind in _TYPES if issubclass(type(error), cls)), None)
    by_code = [BY_VAGUE_CODE[code] for code in e.codes if code in BY_VAGUE_CODE]
    by_status = None if e.status is None else _by_status(e.status)
    precise = (kind for kind in (by_type, *by_code, by_status) if kind is not None and kind not in VAGUE)
    return next(precise, None) or by_type or by_status or next(iter(by_code), None) or _by_name(e)


def _by_name(e: Evidence) -> Kind | None:
    return next((BY_NAME[name] for name in e.names if name in BY_NAME), None)


def _by_status(status: int) -> Kind:
    return BY_STATUS.get(status) or ("server" if status > LAST_OF_CALLERS else "invalid_request")


def _refined(base: Kind, evidence: Sequence[Evidence]) -> Kind:
    """Return what the causes and the provider's sentences make of a kind."""
    # Told from one that went away, a provider that was never reached: an SDK has one error for both.
    causes = {_by_name(e) for e in evidence}
    if base == "timeout" and "connection" in causes:
        return "connection"
    if base == "connection" and "cut_stream" in causes:
        return "cut_stream"
    return next((kind for e in evidence if (kind := _by_words(e, base)) != base), base)


def _by_words(e: Evidence, base: Kind) -> Kind:
    may_be = WORDS_MAY_TELL.get(base)
    if not may_be or not e.sentence:
        return base
    plain = _plain(e)
    told = next((kind for kind, pattern in WORDS.items() if kind in may_be and pattern.search(plain)), base)
    if told == "quota" and base in ("rate_limit", "unknown"):
        whole = e.sentence.lower()
        return "rate_limit" if _COMES_BACK.search(whole) and not _NOT_SOON.search(whole) else told
    return told


def _plain(e: Evidence) -> str:
    """Return what an error says in lower case, without URLs.

    In a provider's own sentence what is quoted may be the caller's, and is left out.
    """
    sentence = _URL.sub("", e.sentence)
    return (_QUOTED.sub("", sentence) if e.said else sentence).lower()


def _told(e: Evidence) -> Iterator[Kind]:
    """Yield what an error says that is nothing but text: how it begins, then its words."""
    if aws := _AWS.match(e.sentence):
        code = aws[1].lower()
        yield from (codes[code] for codes in (PLAIN_CODES, BY_VAGUE_CODE) if code in codes)
    if (named := _CLASS.match(e.sentence)) and named[1] in BY_NAME:
        yield _by_words(e, BY_NAME[named[1]])
    if status := _STATUS.search(e.sentence[:_STATUS_CHARS]):
        yield _by_words(e, _by_status(int(status[1] or status[2])))
    told = _by_words(e, "unknown")
    if told != "unknown":
        yield told


def _wait_s(evidence: Sequence[Evidence], kind: Kind, now_s: float) -> float | None:
    for e in evidence:
        headers = e.headers or {}
        waits = [retry_after_s(headers, now_s)]
        if kind == "rate_limit":
            waits += [limit_reset_s(headers, now_s)]
            waits += [retry_after_s({"retry-after": headers.get("retrydelay", "")}, now_s)]
        stated = next((wait_s for wait_s in waits if wait_s is not None), None)
        if stated is not None:
            return stated
    return None


def _message(evidence: Sequence[Evidence]) -> str:
    """Return one line on an error, with its cause where it says little itself; short, without secrets."""
    own = evidence[0]
    told = f"{own.names[0]}: {own.sentence}".removesuffix(": ")
    if len(own.sentence) <= _TERSE_CHARS:
        others = (e for e in evidence[1:] if e.sentence != own.sentence)
        cause = next(others, None)
        told = f"{told} ({cause.names[0]}: {cause.sentence})" if cause else told
    # Cut between words: of a secret that is cut the rest may not look like one.
    whole = " ".join(told.split())
    line = printable(redact(whole if len(whole) <= READ_CHARS else whole[:READ_CHARS].rpartition(" ")[0]))
    return line if len(line) <= _MESSAGE_CHARS else f"{line[: _MESSAGE_CHARS - 1]}…"
