"""What `make mutation` came to, module by module; it fails where one has less than nine in ten killed.

Nothing is left out of the count: a mutant that no test reaches, one that ran out of time and one that was not
run by the end all count as not killed.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from mutmut.stats import status_by_exit_code
from rich.console import Console
from rich.table import Table

__all__: list[str] = []

WORK = Path("mutants")
AT_LEAST = 0.9


def counted(found: Path) -> Counter[str]:
    """Return how many mutants of a module came to what."""
    return Counter(
        status_by_exit_code[code] for code in json.loads(found.read_text())["exit_code_by_key"].values()
    )


def main() -> int:
    table = Table("module", "mutants", "killed", "out of time", "survived or not run", "score")
    worst = 1.0
    for found in sorted(WORK.rglob("*.meta")):
        of = counted(found)
        if not of:
            continue  # tables and properties, which mutmut leaves alone
        score = of["killed"] / of.total()
        worst = min(worst, score)
        others = of.total() - of["killed"] - of["timeout"]
        module = str(found.relative_to(WORK)).removesuffix(".py.meta").removeprefix("langroute/")
        table.add_row(
            module, str(of.total()), str(of["killed"]), str(of["timeout"]), str(others), f"{score:.1%}"
        )
    Console().print(table)
    return int(not table.rows or worst < AT_LEAST)


if __name__ == "__main__":
    sys.exit(main())
