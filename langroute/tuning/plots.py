"""The curve of every threshold that was tried, as one HTML file that asks nothing of the network."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from langroute.errors import LangrouteError
from langroute.tuning.tuned import Tuned
from langroute.whole import replacing

__all__ = ["check_plot", "write_plot"]

_MISSING = "--plot needs plotly: pip install 'langroute[report]'"


def check_plot(path: Path) -> None:
    """Find out before anything is read whether a plot can be written.

    Raises:
        LangrouteError: The file has another ending, or plotly is not installed.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise LangrouteError(f"{path}: a plot is written as one page. Name it `{path.stem}.html`.")
    try:
        import plotly.graph_objects  # noqa: F401 - whether it is there
    except ImportError:
        raise LangrouteError(_MISSING) from None


def write_plot(path: Path, found: Sequence[Tuned]) -> None:
    """Write quality against saving for every threshold that was tried, and mark the chosen one.

    Raises:
        LangrouteError: The file cannot be written.
    """
    import plotly.graph_objects as plotly

    figure: Any = plotly.Figure()
    for each in found:
        if not each.curve:
            continue
        at, saving, quality = (list(part) for part in zip(*each.curve, strict=True))
        name = escape(each.dial.place)
        told = "saves %{x:.1%}, quality %{y:.3f} at %{text:.4g}"
        figure.add_scatter(x=saving, y=quality, text=at, mode="lines", name=name, hovertemplate=told)
        if each.tuning is not None and each.tuning.saving is not None:
            chosen = f"{name} = {each.threshold:g}"
            figure.add_scatter(
                x=[each.tuning.saving], y=[each.tuning.quality], mode="markers", marker_size=12, name=chosen
            )
    figure.update_layout(
        title="What each threshold saves, and the quality then",
        xaxis={"title": "saved, against the strong tier everywhere", "tickformat": ".0%"},
        yaxis={"title": "mean quality"},
        template="plotly_white",
    )
    with replacing(path) as part:
        figure.write_html(part, include_plotlyjs=True, config={"displaylogo": False})
