"""Arguments of tool calls as they come in pieces: whole, cut, or nothing that could still become JSON.

LangChain mends what is cut by leaving out one character after the other. Of a long text that is no JSON
that takes minutes, in which an event loop does nothing else, so that here it is refused before.
"""

import json
from typing import Any, NoReturn

from langroute.errors import BrokenArguments

__all__ = ["Arguments", "is_whole"]

_UNREAD = 2_000
"""Characters of one call after which they are looked at again."""

_LONGEST_PIECE = 10_000
"""Characters of a piece that LangChain may have to mend: half a second."""

_TAIL = 9
"""Characters at the end that may begin a word, `-Infinity` being the longest, or an escape."""


class Arguments:
    """The arguments of all calls of one stream, so far."""

    def __init__(self) -> None:
        self._said: dict[Any, list[str]] = {}
        self._unread: dict[Any, int] = {}

    def add(self, call: Any, piece: str) -> None:
        """Take a piece of a call's arguments.

        Raises:
            BrokenArguments: They are no JSON, however they go on; or LangChain could not read the piece.
        """
        self._said.setdefault(call, []).append(piece)
        self._unread[call] = self._unread.get(call, 0) + len(piece)
        if len(piece) > _LONGEST_PIECE and not _may_go_on(piece):
            raise BrokenArguments("a piece of a tool call's arguments is too long to be read alone")
        if self._unread[call] > _UNREAD:
            self._unread[call] = 0
            if not _may_go_on(self._of(call)):
                raise BrokenArguments("the arguments of a tool call are no JSON")

    def end(self) -> None:
        """Look at long ones once more, now that they are whole; short ones LangChain may mend.

        Raises:
            BrokenArguments: They are no JSON.
        """
        for call in self._said:
            said = self._of(call)
            if len(said) > _UNREAD and not is_whole(said):
                raise BrokenArguments("the arguments of a tool call were cut")

    def _of(self, call: Any) -> str:
        self._said[call] = ["".join(self._said[call])]
        return self._said[call][0]


def is_whole(arguments: str | None) -> bool:
    """Whether arguments are JSON as its standard has it."""
    try:
        json.loads(arguments or "{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _may_go_on(text: str) -> bool:
    """Whether a text is JSON, or its beginning."""
    try:
        json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Unterminated string") or error.pos >= len(text) - _TAIL
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")
