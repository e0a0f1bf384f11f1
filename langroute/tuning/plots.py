"""What `tune`, `train`, `replay` and `bench` found, as one HTML file that asks nothing of the network."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from langroute.errors import LangrouteError
from langroute.tuning.benching import Bench
from langroute.tuning.metrics import FIGURES, FLOORS, Interval
from langroute.tuning.offpolicy import Estimate
from langroute.tuning.replaying import StepReplay
from langroute.tuning.training import Trained
from langroute.tuning.tuned import Tuned
from langroute.whole import replacing

__all__ = ["check_plot", "plot_bench", "plot_replayed", "plot_trained", "plot_tuned"]

_MISSING = "--plot needs plotly: pip install 'langroute[report]'"
_SAVING = {"title": "saved, against the strong tier everywhere", "tickformat": ".0%"}
_QUALITY = {"title": "mean quality"}


def check_plot(path: Path) -> None:
    """Find out before anything is read whether a plot can be written.

    Raises:
        LangrouteError: The file has another ending, or plotly is not installed.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        page = "a plot is written as one page, whose camera button saves it as a PNG"
        raise LangrouteError(f"{path}: {page}. Name it `{path.stem}.html`.")
    try:
        import plotly.graph_objects  # noqa: F401 - whether it is there
    except ImportError:
        raise LangrouteError(_MISSING) from None


def plot_tuned(path: Path, found: Sequence[Tuned]) -> None:
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
        title="What each threshold saves, and the quality then", xaxis=_SAVING, yaxis=_QUALITY
    )
    _write(path, figure)


def plot_trained(path: Path, found: Trained) -> None:
    """Write how often each tier was right where the score, held out, gave it such a chance.

    Raises:
        LangrouteError: The file cannot be written.
    """
    import plotly.graph_objects as plotly

    figure: Any = plotly.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line_dash="dot", name="chances that are true")
    for head in found.heads:
        said, right, labels = (list(part) for part in zip(*head.bins, strict=True))
        told = "said %{x:.1%}, right %{y:.1%} of %{customdata:,} labels"
        name = f"{escape(head.tier)}: calibration error {head.calibration_error}"
        figure.add_scatter(
            x=said, y=right, customdata=labels, mode="lines+markers", name=name, hovertemplate=told
        )
    title = f"How true the chances are that the score of {escape(found.step)} gives"
    figure.update_layout(
        title=title if found.refusal is None else f"{title}<br>refused: {escape(found.refusal)}",
        xaxis={"title": "chance that was said of queries it had not seen", "tickformat": ".0%"},
        yaxis={"title": "share that is right", "tickformat": ".0%"},
    )
    _write(path, figure)


def plot_replayed(path: Path, found: Sequence[StepReplay]) -> None:
    """Write what each step's log came to beside what it would have, each kind of figure on its own axis.

    Raises:
        LangrouteError: The file cannot be written.
    """
    from plotly.subplots import make_subplots

    steps = [f"{escape(each.step or '(default)')}<br>{each.basis}" for each in found]
    drawn = {
        "cost a request, USD": ("logged_usd", "cost_usd"),
        "quality": ("logged_quality", "quality"),
        "escalated": ("logged_escalated", "escalated"),
    }
    figure: Any = make_subplots(cols=len(drawn), subplot_titles=list(drawn))
    for column, (what, fields) in enumerate(drawn.items(), 1):
        logged, replayed = ([getattr(each.whatif, field, None) for each in found] for field in fields)
        told = [None if would is None else would.value for would in replayed]
        sides = (("logged", logged, None, "#a0a0a0"), ("replayed", told, _reach(replayed), "#1f77b4"))
        for side, height, error, colour in sides:
            name = f"{what}: {side}"
            bar = {"x": steps, "y": height, "error_y": error, "name": name, "marker_color": colour}
            figure.add_bar(**bar, row=1, col=column)
    figure.update_layout(title="As logged, and under the other policy")
    _write(path, figure)


def plot_bench(path: Path, found: Bench) -> None:
    """Write quality against saving for every score, and what it saves at floors of the strong tier's quality.

    Raises:
        LangrouteError: The file cannot be written.
    """
    import plotly.graph_objects as plotly
    from plotly.colors import qualitative

    figure: Any = plotly.Figure()
    strong, saved = found.quality[found.strong], FIGURES[-len(FLOORS) :]
    for (name, curve), colour in zip(found.curves.items(), qualitative.D3, strict=False):
        saving, quality = (list(part) for part in zip(*curve, strict=True))
        own = {"marker_color": colour, "legendgroup": name}
        figure.add_scatter(x=saving, y=quality, mode="lines", name=name, **own)
        spans = [found.rows[name][what] for what in saved]
        figure.add_scatter(
            x=[span.value / 100 for span in spans],
            y=[floor * strong for floor in FLOORS],
            error_x=_reach(spans, 100),
            text=saved,
            mode="markers",
            name=f"{name}, saved at 95, 98, 100 %",
            hovertemplate="%{text}: %{x:.1%}",
            **own,
        )
    figure.update_layout(
        title=f"{escape(found.weak)} or {escape(found.strong)}: what each score saves, and the quality then",
        xaxis=_SAVING,
        yaxis=_QUALITY,
    )
    _write(path, figure)


def _reach(spans: Sequence[Interval | Estimate | None], unit: float = 1) -> dict[str, Any]:
    """Return how far intervals reach to either side of their values."""
    up = [0 if span is None else (span.high - span.value) / unit for span in spans]
    down = [0 if span is None else (span.value - span.low) / unit for span in spans]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down}


def _write(path: Path, figure: Any) -> None:
    figure.update_layout(template="plotly_white")
    with replacing(path) as part:
        figure.write_html(part, include_plotlyjs=True, config={"displaylogo": False})
