"""The picture people look at first: quality against latency, with the front, the budgets and the untouched models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from chipfit.core.metric import Metric
from chipfit.core.types import Measurement, Plain
from chipfit.report.budget import Budget
from chipfit.report.choose import comparable, front, latency_of, quality_of, standing_ms
from chipfit.report.figure import Figure, Trace, axis, layout, scale, span
from chipfit.report.row import Row
from chipfit.report.tables import came
from chipfit.report.view import RunView

MARKS = {
    "candidate": ("circle", 7, "var:quiet", "candidate"),
    "stitched": ("triangle-up", 9, "var:quiet", "stitched"),
    "baseline": ("square", 9, "var:base", "baseline"),
    "zoo": ("star", 15, "var:zoo", "untouched"),
    "final": ("diamond", 13, "var:accent", "final"),
}
"""Role to (symbol, size in pixels, colour, word), the most important last, so that it is drawn on top."""

NEAR = 0.12
"""Share of the height from which on a name has no room above (below) its mark."""

Frame = tuple[float, float, float, float]
"""x from, x to, y from, y to, in values."""


def pareto(run: RunView) -> Figure | None:
    """Quality against latency of every comparable row, better ones above; None where no row has both."""
    rows, judged = comparable(run.rows), run.task.metric
    if not rows:
        return None
    limits = [limit.value for b in run.budgets for limit in b.limits if limit.metric == "latency_ms"]
    kind, x0, x1 = span([standing_ms(r) for r in rows] + limits)
    found = [quality_of(r) for r in rows]
    _, least, most = span([judged.scale * (m.value + side * m.spread) for m in found for side in (-1, 1)])
    y0, y1 = (least, most) if judged.larger else (most, least)
    frame = (x0, x1, y0, y1)
    best = front(rows)
    traces = [_region(b, frame, place, judged) for place, b in enumerate(run.budgets) if _on_axes(b, judged)]
    traces.append(_line(best, judged))
    for role in MARKS:
        beaten = [r for r in rows if r.role == role and all(r is not b for b in best)]
        ahead = [r for r in best if r.role == role]
        traces += [_points(beaten, frame, True, alone=not ahead)] if beaten else []
        traces += [_points(ahead, frame, False)] if ahead else []
    provenance = ", ".join(dict.fromkeys(latency_of(r).provenance for r in rows))
    x = axis(f"latency, ms ({provenance}; left is faster)", **scale(kind, x0, x1))
    y = axis(f"validation {judged.title}", range=[y0, y1])
    return Figure("pareto", _caption(run, len(rows), provenance), tuple(traces), layout(x, y), 480)


def _on_axes(budget: Budget, judged: Metric) -> bool:
    return any(limit.metric in ("latency_ms", judged.name) for limit in budget.limits)


def _region(budget: Budget, frame: Frame, place: int, judged: Metric) -> Trace:
    """What a budget allows on these two axes, as a polygon; it reaches beyond the frame where it has no limit."""
    x0, x1, y0, y1 = frame
    least, most = min(y0, y1), max(y0, y1)
    beyond = max(100.0, 100 * (most - least))
    west, east, south, north = x0 / 1e3 if x0 > 0 else x0 - 1e3, x1 * 1e3, least - beyond, most + beyond
    for limit in budget.limits:
        if limit.metric == "latency_ms":
            west, east = (limit.value, east) if limit.at_least else (west, limit.value)
        elif limit.metric == judged.name:
            at = judged.scale * limit.value
            south, north = (at, north) if limit.at_least else (south, at)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"within {escape(budget.words)}",
        "x": [west, east, east, west, west],
        "y": [south, south, north, north, south],
        "fill": "toself",
        "fillcolor": "var:region",
        "line": {"color": "var:accent", "width": 1, "dash": ("solid", "dash", "dot")[place % 3]},
        "hoverinfo": "skip",
    }


def _line(best: Sequence[Row], judged: Metric) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto front",
        "x": [standing_ms(r) for r in best],
        "y": [judged.scale * quality_of(r).value for r in best],
        "line": {"color": "var:ink", "width": 1.25, "shape": "hv"},
        "hoverinfo": "skip",
    }


def _bars(measured: Sequence[Measurement], visible: bool, factor: float = 1.0) -> dict[str, Plain]:
    sizes: list[Plain] = [m.spread * factor for m in measured]
    return {"type": "data", "array": sizes, "color": "var:muted", "thickness": 1, "width": 0, "visible": visible}


def _beside(x: float, y: float, frame: Frame, dominated: bool) -> str:
    """Where a mark's name stands: below dominated marks, above others, and towards the middle of the picture."""
    x0, x1, y0, y1 = frame
    across = math.log(x / x0) / math.log(x1 / x0) if _is_log(x0, x1) else (x - x0) / (x1 - x0)
    up = (y - y0) / (y1 - y0)
    above = up < 1 - NEAR and (not dominated or up < NEAR)
    return f"{'top' if above else 'bottom'} {'right' if across < 0.5 else 'left'}"


def _is_log(x0: float, x1: float) -> bool:
    return x0 > 0 and x1 > 8 * x0


def _points(rows: Sequence[Row], frame: Frame, dominated: bool, alone: bool = True) -> Trace:
    """Rows of one role; dominated ones are grey, and in the legend only if they stand for their role alone."""
    symbol, size, colour, word = MARKS[rows[0].role]
    named = rows[0].role in ("zoo", "baseline", "final")
    judged, behind = rows[0].judged, "<br>%{customdata[1]}<extra></extra>"
    latencies, qualities = [latency_of(r) for r in rows], [quality_of(r) for r in rows]
    xs, ys = [standing_ms(r) for r in rows], [judged.scale * m.value for m in qualities]
    places: list[Plain] = [_beside(x, y, frame, dominated) for x, y in zip(xs, ys, strict=True)]
    return {
        "type": "scatter",
        "mode": "markers+text" if named and len(rows) <= 12 else "markers",
        "name": word,
        "legendgroup": word,
        "showlegend": alone,
        "x": xs,
        "y": ys,
        "cliponaxis": False,
        "error_x": _bars(latencies, named),
        "error_y": _bars(qualities, named, judged.scale),
        "text": [escape(r.name) for r in rows],
        "textposition": places,
        "textfont": {"size": 11, "color": "var:muted" if dominated else "var:ink"},
        "marker": {"symbol": symbol, "size": size, "color": "var:faint" if dominated else colour, "line": {"width": 0}},
        "customdata": [[escape(r.title), escape(r.budget)] for r in rows],
        "hovertemplate": f"<b>%{{customdata[0]}}</b><br>%{{x:.4g}} ms<br>{_shown(judged)}{behind}",
    }


def _shown(judged: Metric) -> str:
    """How plotly writes a quality."""
    return f"%{{y:{judged.digits}}} {judged.shown_unit}".rstrip() if judged.share else f"{judged.name} %{{y:.4g}}"


def _caption(run: RunView, shown: int, provenance: str) -> str:
    left_out = len(run.rows) - shown
    said = [
        f"Each mark is one network: {run.task.metric.name} on the validation split against {provenance} latency. Stars"
        f" are the models {came(run).lower()}; grey marks are beaten in both by another one."
    ]
    if any(_on_axes(b, run.task.metric) for b in run.budgets):
        said.append("The shaded region is what a budget allows.")
    said.append("Bars are one standard error, drawn for models with a name.")
    if "predicted" in provenance:
        said.append("A prediction stands at the upper end of its interval, which budgets are held against.")
    if left_out:
        are = "is" if left_out == 1 else "are"
        said.append(f"{left_out} of {len(run.rows)} trials {are} not drawn: failed, or without one of the two numbers.")
    return " ".join(said)
