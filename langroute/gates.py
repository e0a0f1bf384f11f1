"""When a streamed reply may be shown: its items are held at a gate until its commit point.

A reply that broke off after that may be gone on with by another model, through a `Joint`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from langroute.seams import Seam, anchor
from langroute.verifiers.base import PREFIX_CHARS
from langroute.visible import says_nothing

__all__ = ["Commit", "Gate", "Joint", "Shown"]

Commit = Literal["thought", "start", "prefix", "end"]
"""From where a reply is shown: the first of what its model thinks, its first content, a checked prefix, or
its end."""


class Shown(Protocol):
    """What a gate must know about the items that it lets through."""

    def content(self, item: Any) -> str | None:
        """Return the text an item adds, "" for content that is no text, None for no content.

        What a model thinks is no content: until the first word of its reply, another may take its place.
        """

    def is_thought(self, item: Any) -> bool:
        """Whether the item adds to what the model thinks."""

    def is_plain(self, item: Any) -> bool:
        """Whether the item adds nothing that another model could not go on from: text, or what it thinks."""

    def is_last(self, item: Any) -> bool:
        """Whether the item waits for what follows: it ends the reply, and carries the record, or a block."""

    def again(self, item: Any, text: str) -> Any:
        """Return an item like this one, with another text."""

    def finish(self, item: Any, text: str, came: Sequence[Any]) -> Sequence[Any]:
        """Return what ends a message whose latest text was `item`, in a block with this whole text.

        `came` is all that the continuation was made of: what it says of usage and ending is kept.
        """

    def message_id(self, item: Any) -> str | None:
        """Return the id of the message that the item is part of, None where it does not say."""

    def place(self, item: Any) -> Any:
        """Return which block of the message the item adds to."""


class Gate:
    """Holds the items of one attempt until its commit point; the last item always waits for the verdict."""

    def __init__(self, commit: Commit, shape: Shown, passes: Callable[[str], bool | None]) -> None:
        self.open = False
        """Whether something of the reply has been shown: from then on it can no longer be replaced."""
        self.latest: Any = None
        """The latest item with text; None before there is one."""
        self.message_id: str | None = None
        """Id of the message that is shown."""
        self._commit = commit
        self._shape = shape
        self._passes = passes
        self._closed = False
        self._plain = True
        self._held: list[Any] = []
        self._parts: list[str] = []
        self.block = ""
        """What the latest text's content block says so far."""

    @property
    def text(self) -> str:
        """The text that passed or is held but for the last item's: what was shown, where the gate is open."""
        return "".join(self._parts)

    @property
    def begun(self) -> bool:
        """Whether something of this very call has been shown."""
        return self.open

    @property
    def may_go_on(self) -> bool:
        """Whether another model could go on from what was shown: text, whose last words tell the place."""
        return self._plain and anchor(self.text) is not None

    def push(self, item: Any) -> Sequence[Any]:
        """Take one item and return those that may be shown now, in order."""
        if self._closed:
            return ()
        self.message_id = self.message_id or self._shape.message_id(item)
        if self._shape.is_last(item):
            self._held.append(item)
            return ()
        content = self._shape.content(item)
        self._plain = self._plain and self._shape.is_plain(item)
        if content:
            self._note(item, content)
        self._held.append(item)
        self.open = self.open or self._may_open(item, content)
        return self.rest() if self.open else ()

    def close(self) -> None:
        """Let nothing more in: the attempt is over, and a call left behind may still be talking."""
        self._closed = True

    def rest(self) -> Sequence[Any]:
        """Return what is still held, on acceptance; nothing is held afterwards."""
        released, self._held = self._held, []
        return released

    def _note(self, item: Any, text: str) -> None:
        """Keep what an item says, and in which block."""
        same = self.latest is not None and self._shape.place(self.latest) == self._shape.place(item)
        self.block = self.block + text if same else text
        self._parts.append(text)
        self.latest = item

    def _may_open(self, item: Any, content: str | None) -> bool:
        if content is None:
            return self._commit == "thought" and self._shape.is_thought(item)
        if self._commit == "end":
            return False
        text = self.text
        if self._commit in ("thought", "start"):
            return content == "" or not says_nothing(text)  # white space alone is no content yet
        if len(text) < PREFIX_CHARS:
            return False
        passed = self._passes(text)
        if passed is False:
            self._commit = "end"
        return bool(passed)  # None is not known yet: the next item asks again


class Joint(Gate):
    """The gate of a call that goes on with a reply that broke off: it shows the rest as part of that.

    Args:
        shape: As of the gate before.
        before: The gate through which the part was shown.
        said: The text to go on from: what was shown, or a little more, where another listener heard more.
    """

    def __init__(self, shape: Shown, before: Gate, said: str) -> None:
        super().__init__("start", shape, bool)
        self.open = True
        self.latest, self.message_id = before.latest, before.message_id
        self._parts, self.block = [before.text], before.block
        self._missing = said[len(before.text) :]
        self._seam = Seam(said)
        self._begun = False
        self._came: list[Any] = []

    @property
    def begun(self) -> bool:
        """Whether something of this very call has been shown."""
        return self._begun

    @property
    def refused(self) -> bool:
        """Whether the continuation does not meet what was shown: nothing of it is shown."""
        return self._seam.refused

    def push(self, item: Any) -> Sequence[Any]:
        """Take one item and return what it adds to the text shown, as one item of the message before."""
        if self._closed:
            return ()
        if not self._shape.is_plain(item):
            self._plain = False
            self._seam.refuse()
        self._came.append(item)
        content = self._shape.content(item)
        rest = self._seam.push(content) if content else ""
        return self._said(self._missing + rest) if rest else ()

    def rest(self) -> Sequence[Any]:
        """Return what is still held, and what ends the message."""
        said = self._said(self._missing + self._seam.end())
        return (*said, *self._shape.finish(self.latest, self.block, self._came))

    def _said(self, text: str) -> Sequence[Any]:
        if not text:
            return ()
        self._missing, self._begun = "", True
        said = self._shape.again(self.latest, text)
        self._note(self.latest, text)
        return (said,)
