"""The picture of the report in README.md: a page of made decisions, as Chromium shows it.

python tests/report/report_picture.py      # takes it anew
"""

import base64
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


_COARSE = """async (pictures) => Promise.all(pictures.map(async (url) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = new OffscreenCanvas(48, 42), context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, 48, 42);
    return [...context.getImageData(0, 0, 48, 42).data].filter((_, i) => i % 4 === 1);
}))"""


def coarse(browser: Any, *pictures: Path) -> list[list[int]]:
    """Return each picture as 48 by 42 shades from 0 to 255: what stands where, whatever the fonts."""
    page = browser.new_page()
    urls = [f"data:image/png;base64,{base64.b64encode(each.read_bytes()).decode()}" for each in pictures]
    shades: list[list[int]] = page.evaluate(_COARSE, urls)
    page.close()
    return shades


if __name__ == "__main__":
    sys.path.append(str(ROOT))
    from browsers import chromium

    with tempfile.TemporaryDirectory() as made, chromium() as running:
        take(running, page_of(Path(made), COUNT), PICTURE)
