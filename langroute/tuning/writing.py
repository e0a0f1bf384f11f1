"""A tuned policy: the person's file with other numbers in it, and beside each what it rests on.

A YAML file keeps its text, comments and order; only the numbers change, and a line above each says why. From
TOML and JSON a new YAML file is made, which has no comments but those.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from langroute.errors import PolicyError
from langroute.loading import read
from langroute.policy import Policy
from langroute.problems import Loc
from langroute.whole import replacing
from langroute.yaml12 import parse_yaml

__all__ = ["Change", "tuned_on", "tuned_places", "write_tuned"]

_MARK = "# tuned"
_NOTED = re.compile(rf"^[ \t]*{_MARK} (\d{{4}}-\d\d-\d\d), (.+?) = (-?[\d.e-]+): ", re.MULTILINE)
_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Change:
    """One number of a policy, and what it rests on."""

    loc: Loc
    """Where it stands: `("steps", "synthesis", "route", "difficulty", "threshold")`; a number for an item."""
    value: float
    evidence: str
    """One line, as `Tuning.evidence` has it."""

    @property
    def place(self) -> str:
        """The place as messages name it."""
        return ".".join(map(str, self.loc))


def write_tuned(
    source: str | Path, target: str | Path, changes: Sequence[Change], *, day: date, overwrite: bool = False
) -> str:
    """Write the policy in `source` with other numbers to `target`, and return what became of its comments.

    The file is written whole or not at all, and only if the policy in it can work.

    Args:
        source: The policy's file, which is read and left as it is, unless it is the target too.
        target: The file to write, `.yaml` or `.yml`.
        changes: The numbers; each must stand in the source already.
        day: The day that stands beside them.
        overwrite: Whether a target that exists is replaced.

    Raises:
        PolicyError: The source cannot be read, or the tuned policy cannot work.
        ValueError: A number stands nowhere in the source, or the target has another suffix.
        FileExistsError: The target exists, and is not to be replaced.
        LangrouteError: The target cannot be written.
    """
    source, target = Path(source), Path(target)
    if target.suffix.lower() not in _YAML:
        raise ValueError(f"{target}: a tuned policy is written as YAML. Name it `{target.stem}.yaml`.")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists. Name another file, or pass overwrite=True.")
    data = read(source)
    wanted = data
    for change in changes:
        wanted = _with(wanted, change, source)
    Policy.load(wanted)
    kept = source.suffix.lower() in _YAML
    text = (
        source.read_text("utf-8-sig") if kept else yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    )
    for change in changes:
        text = _rewritten(text, change, day)
    if _data(text) != wanted:
        # An anchor, say, that another place shares: the file's own text cannot be kept.
        kept, text = False, yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)
        text += "".join(_comment(change, day) for change in changes)
    with replacing(target) as part:
        part.write_text(text, encoding="utf-8")
    return (
        f"{target}: {'its comments are kept' if kept else f'the comments of {source} are not carried over'}"
    )


def tuned_on(source: str | Path) -> dict[str, date]:
    """Return place to day of every number of a policy that was tuned, by the comments in its file.

    Raises:
        OSError: The file cannot be read.
    """
    found = {}
    for day, place, _ in _NOTED.findall(Path(source).read_text("utf-8-sig", "replace")):
        with suppress(ValueError):  # a person wrote another day there
            found[place] = date.fromisoformat(day)
    return found


def tuned_places(source: str | Path) -> frozenset[str]:
    """Return the places of a YAML policy whose numbers are those that an earlier tuning wrote there."""
    source = Path(source)
    if source.suffix.lower() not in _YAML:
        return frozenset()
    data = read(source)
    noted = _NOTED.findall(source.read_text("utf-8-sig"))
    return frozenset(place for _, place, number in noted if _at(data, place) == float(number))


def _at(data: Any, place: str) -> Any:
    """Return what stands at a place as messages name it; None where nothing does."""
    for key in place.split("."):
        if isinstance(data, list):
            data = data[int(key)] if key.isdigit() and int(key) < len(data) else None
        else:
            data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _with(data: Any, change: Change, source: Path) -> Any:
    """Return the data with one number replaced; nothing that is given changes."""

    def replaced(value: Any, rest: Loc) -> Any:
        if not rest:
            return float(change.value)
        key = rest[0]
        if isinstance(value, Mapping) and key in value:
            return {**value, key: replaced(value[key], rest[1:])}
        if isinstance(value, list) and isinstance(key, int) and key < len(value):
            return [*value[:key], replaced(value[key], rest[1:]), *value[key + 1 :]]
        raise ValueError(
            f"{change.place} stands nowhere in {source}: write it there with any number first, then tune"
        )

    return replaced(data, change.loc)


def _rewritten(text: str, change: Change, day: date) -> str:
    """Return the text with the number replaced, and the reason on a line of its own above."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in change.loc:
        node = _inside(node, key)
    start, end = node.start_mark.index, node.end_mark.index
    line = text.rfind("\n", 0, start) + 1
    indent = re.match(r"[ \t]*", text[line:])
    before, number = text[:line], f"{text[line:start]}{float(change.value)!r}{text[end:]}"
    above = before[:-1].rpartition("\n")[2] if before else ""
    if above.lstrip().startswith(_MARK):
        before = before[: len(before) - len(above) - 1]
    noted = f"{before}{indent[0] if indent else ''}{_comment(change, day)}{number}"
    plain = f"{before}{number}"
    # Inside a text of several lines a comment would be part of it: then it stands at the end of the file.
    return noted if _data(noted) == _data(plain) else f"{plain.rstrip()}\n{_comment(change, day)}"


def _data(text: str) -> Any:
    """Return the data of a YAML text, read as policies are; None where it cannot be."""
    try:
        return parse_yaml(text, [])
    except PolicyError:
        return None


def _inside(node: Any, key: Any) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return node.value[key]
    return next(value for name, value in node.value if name.value == str(key))


def _comment(change: Change, day: date) -> str:
    evidence = " ".join(change.evidence.split())
    return f"{_MARK} {day.isoformat()}, {change.place} = {float(change.value)!r}: {evidence}\n"
