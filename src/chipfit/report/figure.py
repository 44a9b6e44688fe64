"""What every picture is made of: plotly traces and a layout in plain data.

Colours are written "var:accent": the page replaces them by its CSS variables, so that one figure serves light and
dark. Text that comes from a run is escaped, because plotly reads a little HTML in labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chipfit.core.types import Plain

Trace = dict[str, Plain]


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture: its name (also the id on the page), caption (HTML), traces, layout and height in pixels."""

    name: str
    caption: str
    traces: tuple[Trace, ...]
    layout: Mapping[str, Plain] = field(default_factory=dict)
    height: int = 400


def axis(title: str, **more: Plain) -> dict[str, Plain]:
    """An axis with a quiet grid."""
    quiet: dict[str, Plain] = {"gridcolor": "var:rule", "linecolor": "var:rule", "zeroline": False, "automargin": True}
    words: Plain = {"text": title, "standoff": 12, "font": {"size": 13, "color": "var:muted"}}
    return quiet | {"ticks": "", "title": words} | more


def layout(x: Mapping[str, Plain], y: Mapping[str, Plain], **more: Plain) -> dict[str, Plain]:
    """The house's layout around two axes."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "var:sans", "size": 13, "color": "var:ink"},
        "margin": {"l": 8, "r": 16, "t": 8, "b": 8},
        "xaxis": x,
        "yaxis": y,
        "hoverlabel": {"bgcolor": "var:card", "bordercolor": "var:rule", "font": {"color": "var:ink"}, "align": "left"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        **more,
    }


def span(values: Sequence[float], pad: float = 0.08) -> tuple[str, float, float]:
    """("linear" or "log", low, high): an axis that holds the values with some room, in values.

    Logarithmic where the values are positive and the largest is more than eight times the smallest.
    """
    low, high = min(values), max(values)
    if low > 0 and high > 8 * low:
        room = (high / low) ** pad
        return "log", low / room, high * room
    room = pad * ((high - low) or abs(high) or 1.0)
    return "linear", low - room, high + room


def scale(kind: str, low: float, high: float) -> dict[str, Plain]:
    """Type, range (exponents where logarithmic, as plotly wants them) and ticks of an axis."""
    if kind == "linear":
        return {"type": kind, "range": [low, high]}
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 300 * low else (1,)
    ticks: list[Plain] = [v for e in exponents for m in steps if low <= (v := float(f"{m}e{e}")) <= high]
    words: list[Plain] = [f"{v:g}" for v in ticks]
    return {"type": kind, "range": [math.log10(low), math.log10(high)], "tickvals": ticks, "ticktext": words}
