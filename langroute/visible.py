"""What of a text can be seen: white space cannot, nor control characters, nor those without width."""

import re

__all__ = ["says_nothing"]

_SEEN = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180e\u200b-\u200f\u2060-\u2064\ufeff]")


def says_nothing(text: str) -> bool:
    """Whether a text is empty, or nothing but characters that cannot be seen."""
    return _SEEN.search(text) is None
