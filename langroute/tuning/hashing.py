"""Text as hashed counts: words and runs of characters, each in a bucket of a fixed table.

All of it is a dozen numpy operations on the bytes of a text, so that a prompt of 2,000 tokens takes about
0.1 ms. One polynomial hash of every prefix gives the hash of any slice by a subtraction (Karp and Rabin
1987); the hashing trick for linear models is Weinberger et al. 2009.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["REGIONS", "SIZE", "Hashed", "hashed", "words_at"]

_BITS = 13
REGIONS = ("words", "characters")
"""What is counted, each in 8,192 buckets of its own; pairs of words beside them made no score better."""
SIZE = len(REGIONS) << _BITS
"""Buckets in all; a bucket's number fits into 16 bits."""

_RUN = 4
"""Length of a run of characters, in bytes: on the MMLU labels 4 alone did as well as 3, 4 and 5."""
_MOST_BYTES = 8_192
"""Bytes that are read; a request's `asked` has at most 4,001 characters."""

_BASE = 0x9E3779B1
_MIX = np.uint32(0x85EBCA6B)
_HIGH = np.uint32(32 - _BITS)


def _powers(base: int) -> "np.ndarray[Any, Any]":
    values, at = [], 1
    for _ in range(_MOST_BYTES + 1):
        values.append(at)
        at = at * base % (1 << 32)
    return np.array(values, np.uint32)


_POWERS = _powers(_BASE)
_INVERSE = _powers(pow(_BASE, -1, 1 << 32))
"""Undo the place of a slice in the text, so that equal slices have equal hashes."""

_IN_WORD = bytes(byte in b"0123456789_abcdefghijklmnopqrstuvwxyz" or byte > 127 for byte in range(256))  # noqa: PLR2004 - beyond ASCII
"""1 for digits, small letters, `_`, and every byte of a letter beyond ASCII."""


@dataclass(frozen=True, slots=True, eq=False)
class Hashed:
    """The buckets that a text fills, in order, and how often."""

    buckets: "np.ndarray[Any, Any]"
    counts: "np.ndarray[Any, Any]"

    @classmethod
    def nothing(cls) -> "Hashed":
        """Return what no text fills."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))


def hashed(text: str) -> Hashed:
    """Return the counts of a text's words and runs of characters; case does not count."""
    prefix, starts, ends = _cut(_bytes(text))
    word = (prefix[ends] - prefix[starts]) * _INVERSE[starts]
    run = (prefix[_RUN:] - prefix[:-_RUN]) * _INVERSE[: max(len(prefix) - _RUN, 0)]
    buckets = _buckets(np.concatenate([word, run]))
    buckets[len(word) :] += 1 << _BITS
    buckets.sort(kind="stable")  # of 16 bits: a radix sort
    first = np.ones(len(buckets) + 1, np.bool_)
    np.not_equal(buckets[1:], buckets[:-1], out=first[1:-1])
    at = np.flatnonzero(first)
    return Hashed(buckets[at[:-1]].astype(np.intp), at[1:] - at[:-1]) if len(buckets) else Hashed.nothing()


def words_at(text: str) -> list[tuple[str, int]]:
    """Return each word of a text, in small letters, with its bucket: for explanations."""
    data = _bytes(text)
    prefix, starts, ends = _cut(data)
    word = (prefix[ends] - prefix[starts]) * _INVERSE[starts]
    raw = data.tobytes()
    slices = [raw[a:b].decode("utf-8", "replace") for a, b in zip(starts, ends, strict=True)]
    return list(zip(slices, _buckets(word).tolist(), strict=True))


def _bytes(text: str) -> "np.ndarray[Any, Any]":
    return np.frombuffer(text.lower().encode("utf-8", "replace")[:_MOST_BYTES], np.uint8)


def _cut(data: "np.ndarray[Any, Any]") -> tuple["np.ndarray[Any, Any]", ...]:
    """Return the hash of every prefix, and where words start and end."""
    prefix = np.zeros(len(data) + 1, np.uint32)
    np.cumsum((data.astype(np.uint32) + np.uint32(1)) * _POWERS[: len(data)], dtype=np.uint32, out=prefix[1:])
    inside = np.frombuffer(b"\0%b\0" % data.tobytes().translate(_IN_WORD), np.bool_)
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    return prefix, edges[::2], edges[1::2]


def _buckets(hashes: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return the bucket of each hash: its high bits once spread, as the low ones know little."""
    mixed = hashes * _MIX
    mixed ^= mixed >> np.uint32(15)
    mixed *= _MIX
    return (mixed >> _HIGH).astype(np.uint16)
