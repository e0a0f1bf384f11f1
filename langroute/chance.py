"""Chance that comes out alike in every process and every time: draws by a digest of what is drawn."""

import hashlib
from collections.abc import Iterable

__all__ = ["place"]


def place(told: Iterable[str], purpose: str) -> float:
    """Return where something lies in [0, 1), evenly and for good.

    Args:
        told: What tells it from others, in parts; they are taken as one text.
        purpose: What is drawn, in 16 letters at most. Each purpose has places of its own, so that what one
            draw chose says nothing of another.
    """
    digest = hashlib.blake2b(digest_size=8, person=purpose.encode())
    for part in told:
        digest.update(part.encode("utf-8", "replace"))
    return (int.from_bytes(digest.digest(), "big") >> 11) / 2**53  # as many bits as a float holds
