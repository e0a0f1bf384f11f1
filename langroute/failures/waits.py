"""When a provider says that it may be called again, read from the headers of its error."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["LONGEST_WAIT_S", "limit_reset_s", "retry_after_s"]

LONGEST_WAIT_S = 86_400.0
"""A day: a provider that says to come back later is believed so far; a reset later than that is none."""

_VALUE_CHARS = 64
_EPOCH_S, _EPOCH_MS = 1e9, 1e12

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?")
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|us|[dhms])")
_UNITS_S: Mapping[str, float] = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_IN_MS = ("retry-after-ms", "x-ms-retry-after-ms")
_RESET = re.compile(r"rate-?limit[a-z-]*-reset|rate-?limit-reset")


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return the seconds to wait that the headers state outright; None where they state none to be believed.

    Args:
        headers: Names in lower case.
        now_s: Unix time, for dates; the headers' own `date` comes first, since clocks differ.
    """
    for name in _IN_MS:
        value = headers.get(name, "").strip()
        if _NUMBER.fullmatch(value):
            return min(float(value) / 1000, LONGEST_WAIT_S)
    wait_s = _wait_s(headers.get("retry-after", ""), _now_s(headers, now_s))
    return None if wait_s is None else min(wait_s, LONGEST_WAIT_S)


def limit_reset_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return the seconds until the limits that are used up are reset; None where the headers do not say.

    With several limits (requests, tokens) it is the longest of those with nothing left. Where all have
    something left the request was too large for one of them, and it is the shortest.
    """
    at_s = _now_s(headers, now_s)
    used_up: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        if _RESET.search(name) is None:
            continue
        wait_s = _wait_s(value, at_s)
        if wait_s is not None and wait_s <= LONGEST_WAIT_S:
            left = headers.get(name.replace("reset", "remaining"), "0").strip()
            (used_up if left == "0" else others).append(wait_s)
    return max(used_up) if used_up else min(others, default=None)


def _now_s(headers: Mapping[str, str], now_s: float) -> float:
    return next(_dates(headers.get("date", "")), now_s)


def _wait_s(value: str, now_s: float) -> float | None:
    """Return the seconds that `12`, `1.5`, `1m30s`, a date, or a Unix time in s or ms mean."""
    text = value.strip()
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number >= _EPOCH_S:
            number = number / (1000 if number >= _EPOCH_MS else 1) - now_s
        return _believed(number)
    parts = _PART.findall(text[:_VALUE_CHARS])
    if parts and "".join(f"{number}{unit}" for number, unit in parts) == text:
        return _believed(sum(float(number) * _UNITS_S[unit] for number, unit in parts))
    return next((_believed(date_s - now_s) for date_s in _dates(text)), None)


def _dates(text: str) -> Iterator[float]:
    """Yield the Unix time of an HTTP or ISO date; nothing where it is none."""
    if not text or len(text) > _VALUE_CHARS:
        return
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            date = read(text)
            yield (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue


def _believed(wait_s: float) -> float | None:
    return wait_s if wait_s >= 0 else None
