"""The picture of the report in README.md: a page of made decisions, as Chromium shows it.

python tests/report/report_picture.py      # takes it anew
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "examples" / "report.png"
WIDTH, HEIGHT = 1200, 1060
COUNT = 20_000


def page_of(folder: Path, count: int) -> Path:
    """Write a page of made decisions; return its path."""
    from made_decisions import decisions

    from langroute.report.figures import Figures
    from langroute.report.listing import Listing
    from langroute.report.making import write_page

    figures, listing = Figures("langroute.db"), Listing(500, count)
    for record, label in decisions(count):
        figures.add(record, label)
        listing.add(record, label)
    write_page(folder / "report.html", figures.data(), listing)
    return folder / "report.html"


def take(browser: Any, page: Path, target: Path) -> None:
    """Take the picture of a page."""
    from browsers import opened

    with opened(browser, page, viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light") as shown:
        shown.until("document.querySelector('[data-chart=\"spend\"]').dataset.drawn")
        shown.page.wait_for_timeout(300)
        shown.page.screenshot(path=str(target))


if __name__ == "__main__":
    sys.path.append(str(ROOT))
    from browsers import chromium

    with tempfile.TemporaryDirectory() as made, chromium() as running:
        take(running, page_of(Path(made), COUNT), PICTURE)
