"""The report as one HTML file that asks nothing of the network and runs nothing but its own scripts.

What the file shows is data: it stands in blocks that no browser runs, and its scripts write it by
`textContent` alone. A `Content-Security-Policy` allows these scripts by their digests and nothing else.
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langroute.errors import LangrouteError
from langroute.redaction import printable
from langroute.report.data import ReportData
from langroute.report.listing import finite_json

__all__ = ["INSTALL", "chart_library", "page"]

INSTALL = "pip install 'langroute[report]'"

_ONLY_OURS = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)
"""Of the page's policy: nothing is fetched, and style alone, which reaches nothing, need not be known."""

_PLACES = re.compile(r"<!--(\w+)-->")
_SCRIPTS = ("page.js", "explorer.js", "decisions.js", "charts.js")


def chart_library() -> str:
    """Return the code of plotly.js, which the Python package plotly brings.

    Raises:
        LangrouteError: The package is not installed; the message is the line that installs it.
    """
    found = find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise LangrouteError(f"the page needs plotly for its charts, and it is not installed: {INSTALL}")
    folder = Path(found.submodule_search_locations[0])
    try:
        return (folder / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except OSError as error:
        raise LangrouteError(f"plotly is installed without plotly.min.js ({error}): {INSTALL}") from None


def page(data: ReportData, listing: Mapping[str, Any], details: Sequence[str]) -> Iterator[str]:
    """Yield the page in pieces, to be written one after the other.

    Args:
        data: The figures.
        listing: The columns of the decisions listed, as `Listing.data` gives them.
        details: What a click shows of them, packed.

    Raises:
        LangrouteError: plotly is not installed.
    """
    library, own = chart_library(), {name: _file(name) for name in _SCRIPTS}
    allowed = " ".join(_digest(code) for code in (library, *own.values()))
    places: dict[str, Sequence[str]] = {
        "policy": [f"{_ONLY_OURS}; script-src {allowed}"],
        "style": [_file("page.css")],
        "figures": [_inert(asdict(data))],
        "listing": [_inert(listing)],
        "details": [_block(number, packed) for number, packed in enumerate(details)],
        "page": [own["page.js"]],
        "explorer": [own["explorer.js"]],
        "decisions": [own["decisions.js"]],
        "library": [library],
        "charts": [own["charts.js"]],
        "headline": [html.escape(printable(data.headline))],
    }
    for number, piece in enumerate(_PLACES.split(_file("page.html"))):
        yield from places[piece] if number % 2 else (piece,)


def _file(name: str) -> str:
    return (resources.files("langroute.report") / name).read_text(encoding="utf-8")


def _digest(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


def _inert(value: Any) -> str:
    """Return JSON that cannot end the block it stands in, nor a line of it."""
    written = finite_json(value)
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _block(number: int, packed: str) -> str:
    return f'<script type="text/plain" id="details-{number}">{packed}</script>\n'
