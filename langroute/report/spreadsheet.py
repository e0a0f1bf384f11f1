"""CSV files for spreadsheets: no cell is a formula there, and every cell comes back as it was."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langroute.errors import LangrouteError
from langroute.whole import replacing

__all__ = ["read_csv", "write_csv", "written"]

_BEGINS = r"(^|[\t\r\n;])([ \u00a0\"]*)"
"""Where a cell may begin: a spreadsheet of a country that parts cells by semicolon parts text there."""
_FORMULA = r"('*[=+\-@\uff1d\uff0b\uff0d\uff20])"
_BARE, _MARKED = re.compile(_BEGINS + _FORMULA), re.compile(_BEGINS + "'" + _FORMULA)

_SEPARATORS = (",", ";", "\t")
"""What spreadsheets save with, by country."""

_LONGEST = 10_000_000
"""Characters of one cell: more than a prompt has."""


def written(cell: Any) -> str:
    """Return a cell as it stands in a file: an apostrophe keeps what would be a formula text (OWASP)."""
    if isinstance(cell, int | float):
        return repr(cell)  # a number is one to a spreadsheet too, also where it is negative
    return _BARE.sub(r"\1\2'\3", "" if cell is None else str(cell))


def write_csv(target: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows, wholly or not at all; return how many there were.

    Raises:
        LangrouteError: The file cannot be written.
    """
    count = 0
    with replacing(target) as part, part.open("w", encoding="utf-8-sig", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(map(written, columns))
        for count, row in enumerate(rows, 1):  # noqa: B007 - counted here, returned below
            lines.writerow(written(row.get(column)) for column in columns)
    return count


def read_csv(source: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row by column, with its number in a spreadsheet; rows without a cell filled are left out.

    Comma, semicolon or tab part the cells, as the spreadsheet saved them.

    Raises:
        LangrouteError: The file cannot be read, is no UTF-8 text or no CSV, or lacks a column.
    """
    try:
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
        with source.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            separator = max(_SEPARATORS, key=head.count)
            lines = csv.reader(file, delimiter=separator, strict=True)
            names = [_MARKED.sub(r"\1\2\3", name).strip() for name in next(lines, [])]
            if lacking := [name for name in needed if name not in names]:
                raise LangrouteError(
                    f"{source} has no column {' and no column '.join(lacking)}: its first row must name them"
                )
            for number, cells in enumerate(lines, 2):
                if any(cell.strip() for cell in cells):
                    yield (
                        number,
                        dict(zip(names, (_MARKED.sub(r"\1\2\3", cell) for cell in cells), strict=False)),
                    )
    except UnicodeDecodeError:
        raise LangrouteError(f"{source} is no UTF-8 text: save it as 'CSV UTF-8'") from None
    except csv.Error as error:
        raise LangrouteError(f"{source} is no CSV file: {error}") from None
    except OSError as error:
        raise LangrouteError(f"{source} cannot be read: {error.strerror or error}") from None
