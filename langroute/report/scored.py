"""Labels from the file that people filled in: every row is checked, and while one is wrong none is kept."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from langroute.errors import LangrouteError
from langroute.redaction import printable
from langroute.report.spreadsheet import read_csv

if TYPE_CHECKING:
    from langroute.ledger.feedback import Kept
    from langroute.ledger.records import FeedbackRecord
    from langroute.ledger.store import Store

__all__ = ["COLUMNS", "Scored", "keep_scores"]

COLUMNS = (
    *(
        "id",
        "step",
        "prompt",
        "reply",
        "score",
        "comment",
        "tier",
        "model",
        "stratum",
        "propensity",
        "verdicts",
    ),
)
"""Columns of the file, in order; to be read back it needs `id` and `score` alone."""

_TOLD = 20
"""Wrong rows that a message lists."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a file came to."""

    kept: "Kept"
    unscored: int
    """Rows without a score."""


class _WrongRowError(Exception):
    """Why a row cannot be taken."""


def keep_scores(store: "Store", source: Path, given_by: str) -> Scored:
    """Keep the scores in a file as feedback, each decision's once for everybody who gives them.

    Reading a file again adds nothing; a score that was changed in it takes the place of the old one.

    Args:
        store: The ledger's store.
        source: The CSV file that `langroute label draw` wrote, or one with columns `id` and `score`.
        given_by: Who gave the scores.

    Raises:
        LangrouteError: The file cannot be read, or rows of it are wrong; each is named by its number.
        LedgerError: The store did not take them.
    """
    from langroute.ledger.feedback import correct, unknown

    rows: dict[str, tuple[int, FeedbackRecord]] = {}
    wrong: list[tuple[int, str]] = []
    unscored = 0
    for number, cells in read_csv(source, ("id", "score")):
        if not cells.get("score", "").strip():
            unscored += 1
            continue
        try:
            record = _record(cells, given_by)
        except _WrongRowError as error:
            wrong.append((number, str(error)))
            continue
        first, _ = rows.setdefault(str(record.decision), (number, record))
        if first != number:
            wrong.append((number, f"row {first} has the same id"))
    strange = unknown(store, rows)
    wrong += [(rows[each][0], f"the ledger has no decision {_shown(each)}") for each in strange]
    if wrong:
        raise LangrouteError("\n".join(_complaint(source, sorted(wrong))))
    return Scored(correct(store, [record for _, record in rows.values()]), unscored)


def _complaint(source: Path, wrong: list[tuple[int, str]]) -> Iterator[str]:
    yield f"{source}: {len(wrong):,} rows are wrong, and nothing was kept"
    yield from (f"  row {number}: {why}" for number, why in wrong[:_TOLD])
    if len(wrong) > _TOLD:
        yield f"  and {len(wrong) - _TOLD:,} more"


def _record(cells: Mapping[str, str], given_by: str) -> "FeedbackRecord":
    from langroute.ledger.feedback import feedback_of

    about = cells.get("id", "")
    if not about.strip():
        raise _WrongRowError("it has a score and no id")
    score = _number(cells["score"])
    if score is None or not 0 <= score <= 1:
        raise _WrongRowError(
            f"the score is {_shown(cells['score'])}: write a number from 0 (wrong) to 1 (right)"
        )
    propensity = None
    if (written := cells.get("propensity", "")).strip():
        propensity = _number(written)
        if propensity is None or not 0 < propensity <= 1:
            raise _WrongRowError(f"the propensity is {_shown(written)}: leave that column as it was drawn")
    mark = hashlib.sha256(f"{given_by}\0{about}".encode("utf-8", "surrogatepass")).hexdigest()
    comment = cells.get("comment", "").strip() or None
    return feedback_of(score, given_by, comment, f"label-{mark}", propensity=propensity, decision=about)


def _number(written: str) -> float | None:
    """Return a number, with a comma for the point where a spreadsheet wrote one; None where it is none."""
    try:
        found = float(written.strip().replace(",", "."))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _shown(text: str) -> str:
    return repr(printable(text if len(text) <= 80 else f"{text[:80]}…"))  # noqa: PLR2004 - a line of a terminal
