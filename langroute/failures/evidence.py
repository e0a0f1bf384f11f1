"""What an error says of itself, wherever its package keeps it, in plain types.

No package is imported and nothing is waited for: attributes are looked at, and a body that is there. An
attribute that raises says nothing. Every loop is bounded, and of a long text only the head is read.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any

__all__ = ["READ_CHARS", "Evidence", "chain", "handled", "leaves", "names", "read"]

READ_CHARS = 1_000
"""Characters of a text that are looked at: some providers send a whole page, or the prompt back."""

_CHAIN = 8
"""Causes that are followed; an SDK wraps its transport's error two to four times."""

_PARSED_CHARS = 20_000
_PLACES = 24
_ITEMS = 4
_HEADERS, _HEADER_CHARS = 100, 100

_BODIES = ("body", "details", "error", "json_body")
_INSIDE = (
    *("error", "Error", "errors", "innererror", "inner_error", "detail", "details"),
    *("violations", "metadata", "raw", "message", "response"),
)
_CODES = ("code", "Code", "type", "status", "reason", "error_type", "__type", "errorCode")
_SENTENCES = ("message", "Message", "msg", "detail", "error", "error_description", "raw", "quotaId")
_STATUSES = ("status_code", "http_status", "status", "code", "raw_status_code", "statusCode")
_WRAPPED = re.compile(r"[\w.]{1,80}(?:Error|Exception)\b[^{]{0,100}\{")
_NO_LETTERS = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one error says of itself."""

    names: tuple[str, ...]
    """Names of its classes, the most specific first."""
    text: str
    """Head of what it prints."""
    said: str = ""
    """The sentences of the provider's error object; "" where there is no such object."""
    status: int | None = None
    """HTTP status, of the response, else of the error object."""
    codes: tuple[str, ...] = ()
    """Every code and type, in lower case and without punctuation, the outermost first."""
    headers: Mapping[str, str] | None = None
    """Headers of the response, names in lower case; `retrydelay` is what Google says in the body."""

    @property
    def sentence(self) -> str:
        """What it says in words."""
        return self.said or self.text


def read(error: BaseException) -> Evidence:
    """Return what `error` says of itself, without its causes; never raises."""
    printed = _text(error)
    try:
        return _read(error, printed)
    except Exception:  # a body that is no plain data and raises when looked at
        return Evidence(names(error), printed)


def names(error: BaseException) -> tuple[str, ...]:
    """Return the names of an error's classes, the most specific first."""
    return tuple(cls.__name__ for cls in type(error).__mro__)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that a group holds, at any depth; of any other error itself."""
    waiting = deque([error])
    while waiting:
        current = waiting.popleft()
        if issubclass(type(current), BaseExceptionGroup):
            waiting.extend(_get(current, "exceptions") or ())
        else:
            yield current


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what a group of errors holds, and their causes, the outermost first, at most eight."""
    return islice(_linked(error), _CHAIN)


def _linked(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = deque([error]), set[int]()
    while waiting:
        current = waiting.popleft()
        if id(current) in seen or not issubclass(type(current), BaseException):
            continue
        seen.add(id(current))
        yield current
        if issubclass(type(current), BaseExceptionGroup):
            waiting.extend((_get(current, "exceptions") or ())[:_CHAIN])
        waiting.append(_get(current, "__cause__"))


def handled(error: BaseException) -> BaseException | None:
    """Return the error that was being handled where `error` was raised; None where that was before the call.

    An error of an earlier attempt, which the caller was handling when it made this call, was caught in a
    frame that is not among those that this error went through.
    """
    context = None if _get(error, "__suppress_context__") else _get(error, "__context__")
    caught, traceback = _get(context, "__traceback__"), _get(error, "__traceback__")
    while isinstance(caught, TracebackType) and isinstance(traceback, TracebackType):
        if traceback.tb_frame is caught.tb_frame:
            return context
        traceback = traceback.tb_next
    return None


def _text(error: BaseException) -> str:
    """Return the head of what an error prints; "" where that fails."""
    try:
        # The error object itself is told by `said`; printing it may take long.
        return "" if [type(arg) for arg in error.args] == [dict] else str(error)[:READ_CHARS]
    except Exception:  # an error whose own __str__ fails
        return ""


def _read(error: BaseException, printed: str) -> Evidence:
    response = _get(error, "response")
    bodies = [_opened(body) for body in _bodies(error, response)]
    if not any(isinstance(body, dict | list) for body in bodies):
        bodies.append(_embedded(printed))
    places = [*_places(bodies)]
    holders = [error, *places]
    said = dict.fromkeys(s for s in (*_loose(bodies), *_sentences(places)) if s.strip())
    return Evidence(
        names(error),
        printed,
        " ".join(said)[: 2 * READ_CHARS],
        _status(holders, response),
        tuple(_codes(holders)),
        _headers(error, response, places),
    )


def _get(holder: Any, name: str) -> Any:
    """Return an attribute, or what a mapping holds; None where there is none or it raises."""
    try:
        value = holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)
        _ = value.__class__  # which isinstance asks for, too
    except Exception:
        return None
    return value


def _bodies(error: BaseException, response: Any) -> Iterator[Any]:
    """Yield what may hold a provider's error object."""
    for name in _BODIES:
        yield _get(error, name)
    # httpx and requests keep what they have read here; their public attribute would wait for the rest.
    content = _get(response, "_content")
    yield response if isinstance(response, dict) else content if isinstance(content, bytes) else None
    yield error.args[0] if error.args and not isinstance(error.args[0], str) else None
    if "RpcError" in "".join(names(error)):  # grpc: methods, and a code with a name
        status, details = _get(error, "code"), _get(error, "details")
        yield {"status": _get(status(), "name"), "message": details()}


def _opened(body: Any) -> Any:
    """Return a body as data where it is JSON."""
    if isinstance(body, bytes):
        body = body[:_PARSED_CHARS].decode(errors="replace")
    if not isinstance(body, str) or body[:1] not in ("{", "[") or len(body) > _PARSED_CHARS:
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body


def _embedded(printed: str) -> Any:
    """Return the JSON object inside a text, as wrappers print it: `Error 429: {...}`."""
    try:
        return json.JSONDecoder().raw_decode(printed, printed.index("{"))[0]
    except (ValueError, RecursionError):
        return None


def _unwrapped(value: Any) -> Any:
    """Return the object that a proxy's message wraps: `litellm.BadRequestError: XException - {...}`."""
    return _embedded(value[:_PARSED_CHARS]) if isinstance(value, str) and _WRAPPED.match(value) else value


def _places(bodies: list[Any]) -> Iterator[Any]:
    """Yield the objects of the bodies that may hold codes and sentences, the outermost first."""
    waiting = deque(bodies)
    for _ in range(_PLACES):
        if not waiting:
            return
        place = waiting.popleft()
        if isinstance(place, list):
            waiting.extend(place[:_ITEMS])
        elif isinstance(place, dict):
            yield place
            waiting.extend(_unwrapped(_opened(place[name])) for name in _INSIDE if place.get(name))
        elif not isinstance(place, str | bytes | int | float | None):
            yield place  # an SDK's own object


def _loose(bodies: list[Any]) -> Iterator[str]:
    """Yield bodies that are a sentence, or a page."""
    yield from (body[:READ_CHARS] for body in bodies if isinstance(body, str))


def _sentences(places: list[Any]) -> Iterator[str]:
    for place in places:
        for name in _SENTENCES:
            value = _get(place, name)
            if isinstance(value, str):
                yield value[:READ_CHARS]


def _status(holders: list[Any], response: Any) -> int | None:
    found = [_get(response, "status_code"), _get(_get(response, "ResponseMetadata"), "HTTPStatusCode")]
    for holder in holders:
        found += [_get(holder, name) for name in _STATUSES]
    return next((status for value in found if (status := _as_status(value)) is not None), None)


def _as_status(value: Any) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():  # noqa: PLR2004 - 429
        value = int(value)
    if isinstance(value, int) and 400 <= value < 600:  # noqa: PLR2004 - HTTP's own
        return int(value)
    return None


def _codes(holders: list[Any]) -> Iterator[str]:
    for holder in holders:
        for name in _CODES:
            value = _get(holder, name)
            if isinstance(value, str):
                # AWS puts a namespace before a code, and a link after it.
                plain = value[:READ_CHARS].rpartition("#")[2].partition(":")[0]
                yield _NO_LETTERS.sub("", plain.lower())


def _headers(error: BaseException, response: Any, places: list[Any]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    holders = [_get(holder, "headers") for holder in (error, response, *places)]
    for headers in (*holders, _get(_get(response, "ResponseMetadata"), "HTTPHeaders")):
        for name, value in _items(headers):
            found.setdefault(name, value)
    for place in places:
        delay = _get(place, "retryDelay")
        if isinstance(delay, str):
            found.setdefault("retrydelay", delay)
    return found


def _items(headers: Any) -> list[tuple[str, str]]:
    """Return headers by name in lower case; nothing where they are none."""
    try:
        items = islice(headers.items(), _HEADERS)
        return [(str(name).lower(), str(value)[:_HEADER_CHARS]) for name, value in items]
    except Exception:
        return []
