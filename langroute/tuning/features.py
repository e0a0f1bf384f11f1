"""What a learned score sees before the reply: named values of the prompt, and its text as hashed counts."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from langroute.difficulty import difficulty
from langroute.request import EMPTY, Request
from langroute.tuning.hashing import Hashed, hashed

__all__ = [
    "HARD",
    "Features",
    "asked_window",
    "hard_values",
    "prompt_features",
    "recorded_values",
    "request_values",
    "text_values",
]

_NOT = frozenset(b"cannot except false incorrect least neither never no not without".split())
_REASON = frozenset(
    b"""analyse analyze assess calculate compute conclude debug deduce derive design determine estimate
    evaluate explain find infer integral justify plan probability proof prove solve theorem why""".split()
)
_HOPS = frozenset(
    b"""after although because before between both compare each either former given if latter than then
    therefore unless when whereas whether which while""".split()
)
_SELF = frozenset((b"i", b"me", b"my"))
_STATEMENTS = frozenset((b"statement", b"statements"))
_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_STRIPPED = _MARKS.replace("'", "").replace("-", "")


HARD = "difficulty"
"""What the names of values begin with that are made of the difficulty score."""

_DIGIT, _CAPITAL, _MARK, _SPACE, _FOREIGN, _LETTER = b"0", b"A", b"!", b" ", b"~", b"a"
"""What a byte is part of; it stands for all of its kind."""


def _kind(byte: int) -> bytes:
    if byte >= 128:  # noqa: PLR2004 - beyond ASCII
        return _FOREIGN
    char = chr(byte)
    if char in _MARKS:
        return _MARK
    return _DIGIT if char.isdigit() else _CAPITAL if char.isupper() else _LETTER if char.isalpha() else _SPACE


_KINDS = b"".join(map(_kind, range(256)))
_SPACED = bytes(32 if chr(byte) in _STRIPPED else byte for byte in range(256))
"""Makes blanks of all marks but those that stand inside words."""
_DIGITS = bytes(byte if byte in b"0123456789" else 32 for byte in range(256))
"""Makes blanks of all but digits."""
_WINDOW_CHARS = 750
"""Characters read at each end of a question: what is asked stands there, and a decision must take no time."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One prompt, or one prompt with its reply, as numbers: what a ledger may hold in place of the text."""

    values: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    """Feature to value; one that is missing counts as 0."""
    text: Hashed | None = None
    """The question's words and characters, hashed; None where embeddings stand in for them."""
    vector: tuple[float, ...] = ()
    """The question's embedding; empty without embeddings."""

    def kept(self, wanted: Callable[[str], bool], *, text: bool = True) -> "Features":
        """Return it with the values that are wanted by their name, and with its text or without."""
        values = {name: value for name, value in self.values.items() if wanted(name)}
        return Features(values, self.text if text else None, self.vector)


def prompt_features(request: Request) -> Features:
    """Return what can be known of a request before there is a reply.

    Text is that of `request.asked`: the last human message without its documents, head and tail of it where
    it is long (750 characters each). Length is that of the whole prompt.
    """
    return Features(request_values(request), hashed(asked_window(request.asked)))


def request_values(request: Request) -> dict[str, float]:
    """Return the named values of a request, without the hashes of its text."""
    values = text_values(asked_window(request.asked))
    values["length"] = math.log1p(request.estimated_tokens)
    values["documents"] = math.log1p(request.document_count)
    values["turns"] = math.log1p(len(request.messages))
    values["tools"] = math.log1p(len(request.tools))
    node = request.metadata.get("langgraph_node")
    return values if node is None else values | _node_value(str(node))


def recorded_values(
    difficulty: float, parts: Mapping[str, float], node: str | None = None
) -> dict[str, float]:
    """Return what a ledger that keeps no text still says of a prompt.

    Args:
        difficulty: The difficulty score.
        parts: What that is made of: feature to its value; features that add nothing are left out.
        node: The graph's node.
    """
    values = {HARD: difficulty, "length": math.log1p(parts.get("length", 0.0))}
    values["documents"] = math.log1p(parts.get("documents", 0.0))
    values |= {f"{HARD}={name}": value for name, value in parts.items() if name not in values}
    return values | ({} if node is None else _node_value(node))


def hard_values(request: Request) -> dict[str, float]:
    """Return the same of a request, for scores that were fitted on it."""
    found = difficulty(request)
    return recorded_values(found.score, {name: value for name, value, _ in found.contributions})


def _node_value(node: str) -> dict[str, float]:
    return {f"node={node[:100]}": 1.0}


def asked_window(text: str) -> str:
    """Return the part of a question that is read: head and tail where it is long."""
    if len(text) <= 2 * _WINDOW_CHARS:
        return text
    return f"{text[:_WINDOW_CHARS]}\n{text[-_WINDOW_CHARS:]}"


def text_values(text: str) -> dict[str, float]:
    """Return the named values of a text: logarithms of sizes, shares of characters, counts of words."""
    raw = text.encode("utf-8", "replace")
    kinds = raw.translate(_KINDS)
    lines = text.split("\n")
    words = raw.lower().translate(_SPACED).split()
    different = frozenset(words)
    size = max(len(raw), 1)
    return {
        "characters": math.log1p(len(text)),
        "words": math.log1p(len(words)),
        "word_length": (size - kinds.count(_SPACE)) / max(len(words), 1),
        "variety": len(different) / max(len(words), 1),
        "lines": math.log1p(len(lines)),
        "first_line": math.log1p(len(lines[0])),
        "longest_line": math.log1p(max(map(len, lines))),
        "digits": kinds.count(_DIGIT) / size,
        "numbers": math.log1p(len(raw.translate(_DIGITS).split())),
        "capitals": kinds.count(_CAPITAL) / size,
        "marks": kinds.count(_MARK) / size,
        "commas": math.log1p(text.count(",")),
        "quotes": math.log1p(text.count('"')),
        "questions": float(min(text.count("?"), 3)),
        "blanks": float("__" in text),
        "formulas": float("$" in text or "\\" in text or "^" in text),
        "code": float("```" in text or "();" in text or "def " in text),
        "equals": math.log1p(text.count("=")),
        "foreign": kinds.count(_FOREIGN) / size,
        "negations": float(len(different & _NOT)),
        "reasoning": float(len(different & _REASON)),
        "hops": float(len(different & _HOPS)),
        "first_person": float(bool(different & _SELF)),
        "following": float(b"following" in different),
        "statements": float(bool(different & _STATEMENTS)),
    }
