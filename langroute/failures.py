"""What failed, and what to do about it: the only file that knows how providers shape their errors.

Nothing of a provider's package is imported: an error is read by LangChain's own error types, by its
HTTP status and codes, by the names of its classes, and last by its text.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Literal, get_args

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
from langroute.errors import LangrouteError
from langroute.redaction import redact

__all__ = ["KINDS", "Kind", "charged", "classify", "is_control_flow"]

Kind = Literal[
    "auth",
    "bad_response",
    "connection",
    "content_filter",
    "context_overflow",
    "cut_stream",
    "invalid_request",
    "not_found",
    "overloaded",
    "permission",
    "quota",
    "rate_limit",
    "refusal",
    "server",
    "timeout",
    "unknown",
]
"""What can go wrong with a call. `connection`: the provider was never reached; `cut_stream`: it was, and the
connection ended before the whole reply had come."""

KINDS: tuple[str, ...] = get_args(Kind)

_MESSAGE_CHARS = 300
"""Longest message of a failure: it goes into logs and into the reply's metadata."""

_TERSE_CHARS = 20
"""An error that says no more than "Connection error." is told with its cause."""

_READ_CHARS = 1_000
"""Characters of an error's text that are looked at: some providers send a whole page, or the prompt back."""

_CHAIN = 8
"""Causes that are followed; an SDK wraps its transport's error two to four times."""

_FREE: frozenset[Kind] = frozenset(
    {
        "auth",
        "connection",
        "context_overflow",
        "invalid_request",
        "not_found",
        "overloaded",
        "permission",
        "quota",
        "rate_limit",
    }
)

_REMEDY: Mapping[str, Literal["next_endpoint", "larger_context", "stop"]] = {
    "context_overflow": "larger_context",
    "invalid_request": "stop",
}

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

_STATUS: Mapping[int, Kind] = {
    401: "auth",
    402: "quota",
    403: "permission",
    404: "not_found",
    405: "not_found",
    408: "timeout",
    409: "server",
    410: "not_found",
    413: "context_overflow",
    425: "server",
    429: "rate_limit",
    498: "overloaded",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}

# Codes that say more than the status they come with; OpenAI, Anthropic, Google, AWS, in lower case.
_CODES: Mapping[str, Kind] = {
    "accessdeniedexception": "permission",
    "api_key_invalid": "auth",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "context_length_exceeded": "context_overflow",
    "deadline_exceeded": "timeout",
    "deploymentnotfound": "not_found",
    "engine_overloaded": "overloaded",
    "exceed_context_size_error": "context_overflow",
    "expiredtokenexception": "auth",
    "insufficient_balance": "quota",
    "insufficient_quota": "quota",
    "invalid_api_key": "auth",
    "model_decommissioned": "not_found",
    "model_not_found": "not_found",
    "modelerrorexception": "server",
    "modelnotreadyexception": "overloaded",
    "modelstreamerrorexception": "cut_stream",
    "modeltimeoutexception": "timeout",
    "overloaded_error": "overloaded",
    "permission_denied": "permission",
    "rate_limit_exceeded": "rate_limit",
    "resourcenotfoundexception": "not_found",
    "responsibleaipolicyviolation": "content_filter",
    "servicequotaexceededexception": "quota",
    "serviceunavailableexception": "overloaded",
    "throttlingexception": "rate_limit",
    "unauthenticated": "auth",
    "unavailable": "overloaded",
    "unrecognizedclientexception": "auth",
}

# Looked up from the most specific class upwards: builtins, httpx, aiohttp, requests, botocore, openai.
_NAMES: Mapping[str, Kind] = {
    "APIConnectionError": "connection",
    "APIResponseValidationError": "bad_response",
    "APITimeoutError": "timeout",
    "BrokenPipeError": "cut_stream",
    "ChunkedEncodingError": "cut_stream",
    "ClientConnectionError": "connection",
    "ClientPayloadError": "cut_stream",
    "CloseError": "cut_stream",
    "ConnectError": "connection",
    "ConnectTimeout": "connection",
    "ConnectTimeoutError": "connection",
    "ConnectionAbortedError": "cut_stream",
    "ConnectionClosedError": "cut_stream",
    "ConnectionError": "connection",
    "ConnectionResetError": "cut_stream",
    "ContentFilterFinishReasonError": "content_filter",
    "ContentTypeError": "bad_response",
    "DeadlineExceeded": "timeout",
    "DecodingError": "bad_response",
    "EndpointConnectionError": "connection",
    "HTTPClientError": "connection",
    "IncompleteRead": "cut_stream",
    "JSONDecodeError": "bad_response",
    "LengthFinishReasonError": "bad_response",
    "NetworkError": "connection",
    "OutputParserException": "bad_response",
    "PoolTimeout": "connection",
    "ProtocolError": "cut_stream",
    "ReadError": "cut_stream",
    "ReadTimeoutError": "timeout",
    "ServerDisconnectedError": "cut_stream",
    "ServerTimeoutError": "timeout",
    "Timeout": "timeout",
    "TimeoutError": "timeout",
    "TimeoutException": "timeout",
    "TransportError": "connection",
    "UnicodeDecodeError": "bad_response",
    "WriteError": "cut_stream",
    "gaierror": "connection",
}

_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (
            "context_overflow",
            (
                r"context[ _-]?(?:length|window|size|limit)|maximum context|(?:prompt|input) is too long"
                r"|prompt contains \d+ tokens|token count .{0,40}exceed|too many (?:input |prompt )?tokens"
            ),
        ),
        ("content_filter", r"content[ _](?:management policy|filter|policy)|safety (?:system|filter)"),
        (
            "quota",
            (
                r"credit balance|insufficient.{0,12}(?:quota|balance|credits?|funds)|out of credits|billing"
                r"|exceeded your current quota"
            ),
        ),
        ("auth", r"api key not valid|(?:incorrect|invalid|missing) api[ _]?key|unauthorized"),
        (
            "not_found",
            r"model .{0,80}(?:does not exist|not found|decommissioned)|model identifier is invalid",
        ),
        ("overloaded", r"overloaded|at capacity|temporarily unavailable"),
        ("rate_limit", r"rate.?limit|too many requests|throttl"),
        ("timeout", r"tim(?:ed|e).?out|deadline exceeded"),
        (
            "cut_stream",
            r"connection (?:was )?(?:reset|closed|lost)|server disconnected|incomplete (?:chunked )?read",
        ),
        ("connection", r"connection (?:error|refused)|name or service not known"),
        ("bad_response", r"unexpected response type|null value for 'choices'|no generation chunks"),
    )
)

# Which of the kinds above the text may still turn a kind into: a 401 stays a 401 whatever it says.
_WORDS_MAY_TELL: Mapping[str, frozenset[str]] = {
    "invalid_request": frozenset({"context_overflow", "content_filter", "quota", "auth", "not_found"}),
    "permission": frozenset({"quota", "content_filter"}),
    "rate_limit": frozenset({"quota"}),
    "server": frozenset({"context_overflow", "overloaded"}),
    "unknown": frozenset(kind for kind, _ in _WORDS),
}

# Gemini words a limit per minute as "exceeded your current quota", and says when to come back.
_COMES_BACK = re.compile(r"per[ _-]?minute|retry (?:in|after) \d|retrydelay", re.IGNORECASE)

_WRONG_LOOP = re.compile(
    r"event loop is closed|attached to a different loop|bound to a different event loop", re.IGNORECASE
)


def classify(error: BaseException) -> Failure | None:
    """Return what failed and what to do about it; None for what must be raised untouched.

    None is for what steers the host and for errors that langroute raises of its own. Looked at, in this
    order: the provider's code, LangChain's error types, the HTTP status, class names, and last the text.
    """
    if is_control_flow(error) or isinstance(error, LangrouteError):
        return None
    message = _message(error)
    # An async client that was used in an earlier event loop: the program's fault (langchain#35783), never
    # the provider's, and the next endpoint would fail the same way.
    if any(isinstance(e, RuntimeError) and _WRONG_LOOP.search(_text(e)) for e in _chain(error)):
        return Failure("unknown", "stop", message)
    kind = _kind(error)
    return Failure(kind, _REMEDY.get(kind, "next_endpoint"), message)


def is_control_flow(error: BaseException) -> bool:
    """Whether an error steers the host: an interrupt, a cancellation, the end of the program."""
    names = _names(error)  # by name: langgraph is imported by `langroute.graph` alone
    return not isinstance(error, Exception) or "GraphBubbleUp" in names or "CancelledError" in names


def charged(kind: str) -> float | None:
    """Return the USD a failed call cost: 0.0 where the provider did no work, None where nobody knows."""
    return 0.0 if kind in _FREE else None


def _kind(error: BaseException) -> str:
    names = _names(error)
    told = _by_code(error)
    if told is not None:
        kind: str = told
    elif any("Refusal" in name for name in names):
        kind = "refusal"
    else:
        kind = _by_type(error) or _by_status(error) or _by_name(names) or "unknown"
    if kind == "server" and _by_status(error) in ("overloaded", "timeout"):
        return str(_by_status(error))
    if kind in ("connection", "timeout"):
        return _by_causes(error, kind)
    if told is None and kind in _WORDS_MAY_TELL:
        return _by_words(_text(error), kind)
    return kind


def _by_type(error: BaseException) -> Kind | None:
    return next((kind for cls, kind in _TYPES if isinstance(error, cls)), None)


def _by_code(error: BaseException) -> Kind | None:
    return next((_CODES[code] for code in _codes(error) if code in _CODES), None)


def _by_status(error: BaseException) -> Kind | None:
    status = _status(error)
    if status is None:
        return None
    return _STATUS.get(status) or ("server" if status >= 500 else "invalid_request")  # noqa: PLR2004 - HTTP's own


def _by_name(names: tuple[str, ...]) -> Kind | None:
    return next((_NAMES[name] for name in names if name in _NAMES), None)


def _by_causes(error: BaseException, kind: str) -> str:
    """Tell a provider that was never reached from one that went away: an SDK has one error for both."""
    causes = {_by_name(_names(cause)) for cause in _chain(error)}
    if kind == "timeout":
        return "connection" if "connection" in causes else "timeout"
    return "cut_stream" if "cut_stream" in causes else "connection"


def _by_words(text: str, kind: str) -> str:
    may_be = _WORDS_MAY_TELL[kind]
    told = next((word for word, pattern in _WORDS if word in may_be and pattern.search(text)), kind)
    return "rate_limit" if told == "quota" and _COMES_BACK.search(text) else told


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of an error, wherever its package keeps it."""
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata") if isinstance(response, Mapping) else None
    candidates = (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None,
        getattr(error, "status", None),
        getattr(error, "code", None),
    )
    return next((int(c) for c in candidates if isinstance(c, int) and 400 <= c < 600), None)  # noqa: PLR2004 - HTTP's own


def _codes(error: BaseException) -> Iterator[str]:
    """Yield every code that an error carries, in lower case, the most specific first."""
    response = getattr(error, "response", None)
    body = getattr(error, "body", None)
    inner = body.get("error") if isinstance(body, Mapping) else None
    botocore = response.get("Error") if isinstance(response, Mapping) else None
    for holder in (error, inner, body, botocore):
        for field in ("code", "Code", "type", "status"):
            code = holder.get(field) if isinstance(holder, Mapping) else getattr(holder, field, None)
            if isinstance(code, str):
                yield code.lower()


def _names(error: BaseException) -> tuple[str, ...]:
    return tuple(cls.__name__ for cls in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the outermost first."""
    return islice(_causes(error), _CHAIN)


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        # Not __context__: that may be the error of an earlier attempt, which the caller was handling.
        current = current.__cause__


def _text(error: BaseException) -> str:
    try:
        return str(error)[:_READ_CHARS]
    except Exception:  # an error whose own __str__ fails
        return ""


def _message(error: BaseException) -> str:
    """Return one line on an error, with its cause where it says little itself; short, without secrets."""
    own = _text(error)
    told = f"{type(error).__name__}: {own}".removesuffix(": ")
    if len(own) <= _TERSE_CHARS:
        causes = (f"{type(cause).__name__}: {_text(cause)}" for cause in _chain(error) if _text(cause) != own)
        cause = next(causes, None)
        told = f"{told} ({cause})" if cause else told
    line = redact(" ".join(told.split()))
    return line if len(line) <= _MESSAGE_CHARS else f"{line[: _MESSAGE_CHARS - 1]}…"
