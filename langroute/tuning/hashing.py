"""Text as hashed counts: words and runs of characters, each in a bucket of a fixed table.

All of it is a dozen numpy operations on the bytes of a text, about 40 µs for a prompt of 2,000 tokens. A
polynomial of a word's bytes is its hash (Karp and Rabin 1987), and a run of four bytes is one number; the
hashing trick for linear models is Weinberger et al. 2009.
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
"""Length of a run of characters, in bytes, which `hashed` reads as numbers of 32 bits: on the MMLU labels 4
alone did as well as 3, 4 and 5."""
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
    raw = _bytes(text)
    words, _ = _words(raw)
    # Four bytes are one number: the runs are read where they stand, one byte further each.
    runs = np.ndarray((max(len(raw) - _RUN, 0),), "<u4", raw, strides=(1,))
    buckets = _buckets(np.concatenate([words, runs]))
    if not len(buckets):
        return Hashed.nothing()
    buckets[len(words) :] += 1 << _BITS
    buckets.sort(kind="stable")  # of 16 bits: a radix sort
    ends = np.flatnonzero(buckets[1:] != buckets[:-1])
    at = np.empty(len(ends) + 2, np.intp)
    at[0], at[-1] = 0, len(buckets)
    np.add(ends, 1, out=at[1:-1])
    return Hashed(buckets.take(at[:-1]).astype(np.intp), at[1:] - at[:-1])


def words_at(text: str) -> list[tuple[str, int]]:
    """Return each word of a text, in small letters, with its bucket: for explanations."""
    raw = _bytes(text)
    words, edges = _words(raw)
    slices = [raw[a:b].decode("utf-8", "replace") for a, b in edges.reshape(-1, 2).tolist()]
    return list(zip(slices, _buckets(words).tolist(), strict=True))


def _bytes(text: str) -> bytes:
    """Return the bytes that are read, and a blank, so that the last word ends."""
    return b"%b " % text.lower().encode("utf-8", "replace")[:_MOST_BYTES]


def _words(raw: bytes) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Return the hash of each word, and where words start and end in turn."""
    inside = np.frombuffer(b"\0%b" % raw.translate(_IN_WORD), np.bool_)
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    if not len(edges):
        return np.zeros(0, np.uint32), edges
    placed = np.multiply(np.frombuffer(raw, np.uint8), _POWERS[: len(raw)], dtype=np.uint32)
    return np.add.reduceat(placed, edges, dtype=np.uint32)[::2] * _INVERSE.take(edges[::2]), edges


def _buckets(hashes: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return the bucket of each hash: its high bits once spread, as the low ones know little."""
    mixed = hashes * _MIX
    mixed ^= mixed >> np.uint32(15)
    mixed *= _MIX
    return (mixed >> _HIGH).astype(np.uint16)
