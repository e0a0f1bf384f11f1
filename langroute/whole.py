"""Files that appear when they are whole: where writing breaks off, what was there before stays."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from langroute.errors import LangrouteError

__all__ = ["replacing"]


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a new path beside `target`; what is written there takes its place when all went well.

    The file is made by whoever writes it, so that it has the rights that the process gives new files.

    Raises:
        LangrouteError: It cannot be written.
    """
    part = target.parent / f".{target.name}-{uuid4().hex[:12]}"
    try:
        yield part
        part.replace(target)
    except OSError as error:
        # By its number: pyarrow's own words are long and name the part.
        why = os.strerror(error.errno) if error.errno else error
        raise LangrouteError(f"{target} cannot be written: {why}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
