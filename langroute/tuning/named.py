"""A learned score as a policy names it: the path of its file, read when the policy is."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from langroute.tuning.files import ScoreFileError, load_score

__all__ = ["NamedScore", "ScoreModel", "paths_from", "placed"]

_FOLDER: ContextVar[Path] = ContextVar("langroute_scores_folder", default=Path())


@dataclass(frozen=True, slots=True, eq=False)
class NamedScore:
    """A learned score and how a policy names it."""

    path: str
    score: Any
    """The `langroute.tuning.learned.LearnedScore`, which is not imported here: that takes numpy."""


@contextmanager
def paths_from(folder: Path) -> Iterator[None]:
    """Read relative paths in a policy from a folder: that of the policy file which names them."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def placed(path: str | Path) -> Path:
    """Return a path that a policy names; a relative one starts at the policy's file."""
    return _FOLDER.get() / path


def _read(value: Any) -> NamedScore:
    if isinstance(value, NamedScore):
        return value
    if isinstance(value, str | Path) and str(value):
        try:
            return NamedScore(str(value), load_score(placed(value)))
        except ScoreFileError as error:
            found, _, remedy = str(error).rpartition(": ")
            details = {"found": found or str(error), "remedy": f"{remedy[:1].upper()}{remedy[1:]}."}
            raise PydanticCustomError("learned_score", "{found}", details) from None
    if getattr(value, "heads", None) is not None:
        return NamedScore(f"score {value.digest[:12] or 'not saved'}", value)
    raise PydanticCustomError(
        "learned_score",
        "not the path of a learned score",
        {"remedy": "Write the path of a file that `save_score` wrote."},
    )


ScoreModel = Annotated[
    NamedScore,
    PlainValidator(_read, json_schema_input_type=str),
    PlainSerializer(lambda named: named.path, return_type=str),
]
"""The path of a score's file; relative ones start at the policy file, else at the working directory."""
