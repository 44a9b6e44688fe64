"""What a report says of an accelerator: its design, where its time goes by layer, and the designs beside it.

Read from the fact "hardware": `files` {file: design}, `before` {model: design for the untouched model}, `front` rows of
latency and resources. A design is what stands in `hardware.json` (`device.accelerator.chosen.described`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from chipfit.core.types import Plain
from chipfit.report.figure import Figure, Trace, axis, layout, scale, span

BOUND = ("computing", "loading weights", "loading inputs", "storing outputs")
COLOURS: Mapping[str, str] = dict(zip(BOUND, ("var:accent", "var:quiet", "var:faint", "var:muted"), strict=True))
"""What holds a layer back, and its colour in every figure."""
STAGES: Mapping[str, str] = {
    "screen": "iSearch",
    "profile": "iDetect, iSpace",
    "assign": "iDesign",
    "fine-tune": "iRefine",
    "measure": "iRefine",
}
"""Phases of a run to the published names of the stages that they are."""
RESOURCES: Mapping[str, str] = {
    "dsp": "DSP",
    "bram18": "BRAM18",
    "uram": "URAM",
    "lutram": "LUTRAM",
    "port_bits": "port bits",
}


@dataclass(frozen=True, slots=True)
class LayerFact:
    """A piece of work on a design; `bytes` is what its ports move, `slack` None where nothing else takes time."""

    op: str
    engine: str
    ms: float
    computing_ms: float
    weights_ms: float
    inputs_ms: float
    outputs_ms: float
    bottleneck: str
    slack: float | None = None
    value_bits: int = 16
    weight_bits: int = 16
    kernel: tuple[int, int] = (1, 1)
    taps: int = 1
    macs: int = 0
    bytes: float = 0.0
    weight_integer_bits: int | None = None
    weight_fraction_bits: int | None = None


@dataclass(frozen=True, slots=True)
class DesignFact:
    """An accelerator's design for one network; `others` are those of further accelerators that the network is for."""

    part: str
    chip: str
    clock_mhz: float
    design: Mapping[str, int]
    resources: Mapping[str, Mapping[str, float]]
    latency_ms: float
    provenance: str
    model: str
    layers: tuple[LayerFact, ...] = ()
    others: tuple[DesignFact, ...] = ()

    @property
    def peak_gops(self) -> float:
        """10^9 multiply-accumulates a second of its multipliers, at their own width."""
        lanes = self.design["tm"] * self.design["tn"] + self.design["tm_dw"]
        return lanes * self.clock_mhz / 1e3

    @property
    def peak_gb_s(self) -> float:
        """10^9 bytes a second of all its ports."""
        words = sum(self.design[f"{port}_port"] for port in ("weight", "input", "output"))
        return 2 * words * self.clock_mhz / 1e3


@dataclass(frozen=True, slots=True)
class HardwareFact:
    """The designs of a run."""

    files: Mapping[str, DesignFact] = field(default_factory=dict)
    before: Mapping[str, DesignFact] = field(default_factory=dict)
    front: tuple[Mapping[str, float], ...] = ()


def words(design: DesignFact) -> list[str]:
    """A design, and those of other accelerators beside it, in lines of plain text."""
    of_others = [line for other in design.others for line in _told(other)]
    return [*_told(design), *of_others, "parameters and layers: best/hardware.json"]


def _told(design: DesignFact) -> list[str]:
    d = design.design
    engine = f"{d['tm']} x {d['tn']} multipliers of {d['mac_bits']} bits, tiles of {d['tr']} x {d['tc']}"
    depthwise = f", {d['tm_dw']} for depth-wise layers" if d["tm_dw"] else ""
    ports = "/".join(str(d[f"{port}_port"]) for port in ("weight", "input", "output"))
    genes = [name.replace("_", " ") for name in ("unroll", "space_to_depth") if d[name]]
    used = [
        f"{amounts['used']:g} of {amounts['available']:g} {RESOURCES.get(name, name)}"
        for name, amounts in design.resources.items()
    ]
    return [
        f"{design.part} ({design.chip}) at {design.clock_mhz:g} MHz: {engine}{depthwise}, kernels up to {d['tk']}",
        f"ports of {ports} words of 16 bits for weights/inputs/outputs{''.join(f'; {gene}' for gene in genes)}",
        f"takes {', '.join(used)}",
        f"{design.latency_ms:.4g} ms, {design.provenance} by {design.model}",
    ]


def figures_of(hardware: HardwareFact) -> tuple[Figure, ...]:
    """The roofline, the bottlenecks before and after, and the front, of the first file."""
    if not hardware.files:
        return ()
    after = next(iter(hardware.files.values()))
    before = next(iter(hardware.before.values()), None)
    made = (roofline(after), bottlenecks(before, after), front(hardware.front, after))
    return tuple(f for f in made if f is not None)


def roofline(design: DesignFact) -> Figure | None:
    """MACs a second of each layer against those for each byte that it moves, under the design's roof."""
    rows = [row for row in design.layers if row.macs and row.bytes and row.ms]
    if not rows:
        return None
    intensity = {row.op: row.macs / row.bytes for row in rows}
    speed = {row.op: row.macs / row.ms / 1e6 for row in rows}
    kind, low, high = span([*intensity.values(), design.peak_gops / design.peak_gb_s], 0.1)
    roof = [low * (high / low) ** (n / 40) for n in range(41)] if kind == "log" else [low, high]
    line: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "roof of the design",
        "x": roof,
        "y": [min(design.peak_gops, design.peak_gb_s * x) for x in roof],
        "line": {"color": "var:muted", "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }
    traces = [line, *(_dots(name, rows, intensity, speed) for name in BOUND)]
    over = span([*speed.values(), design.peak_gops], 0.1)
    caption = (
        "<b>Roofline by layer.</b> A layer on the slope waits for the ports, one on the level part for multipliers; far"
        " below the roof it leaves multipliers idle, as its channels or its map do not fill them."
    )
    x = axis("MACs for each byte moved", **scale(kind, low, high))
    shape = layout(x, axis("10⁹ MACs a second", **scale(*over)))
    return Figure("hardware-roofline", caption, tuple(t for t in traces if t["x"]), shape, 400)


def _dots(name: str, rows: Sequence[LayerFact], intensity: Mapping[str, float], speed: Mapping[str, float]) -> Trace:
    own = [row for row in rows if row.bottleneck == name]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [intensity[row.op] for row in own],
        "y": [speed[row.op] for row in own],
        "text": [f"{escape(row.op)}: {row.ms:.4g} ms" for row in own],
        "marker": {"size": 9, "color": COLOURS[name]},
        "hovertemplate": "<b>%{text}</b><br>%{x:.3g} MACs a byte<br>%{y:.4g} GMAC/s<extra></extra>",
    }


def bottlenecks(before: DesignFact | None, after: DesignFact) -> Figure | None:
    """Milliseconds by what holds a layer back and by its kernel, before and after."""
    sums = [_shares(design) for design in (before, after) if design is not None]
    largest: dict[str, float] = {}
    for found in sums:
        for key, ms in found.items():
            largest[key] = max(ms, largest.get(key, 0.0))
    classes = sorted(largest, key=lambda key: -largest[key])
    if not classes:
        return None
    names = ("before", "after") if before is not None else ("after",)
    colours = {"before": "var:faint", "after": "var:accent"}
    traces: list[Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": [escape(key) for key in classes],
            "x": [found.get(key, 0.0) for key in classes],
            "marker": {"color": colours[name]},
            "hovertemplate": "%{y}<br>%{x:.4g} ms " + name + "<extra></extra>",
        }
        for name, found in zip(names, sums, strict=True)
    ]
    caption = (
        "<b>Bottlenecks before and after.</b> Milliseconds of all layers that the same thing holds back, by the size of"
        " their kernels; before is the untouched model on the design that suits it best."
    )
    y = axis("", autorange="reversed", showgrid=False, type="category")
    shape = layout(axis("ms, simulated"), y, barmode="group", bargap=0.25)
    return Figure("hardware-bottlenecks", caption, tuple(traces), shape, 110 + 40 * len(classes))


def _shares(design: DesignFact) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for row in design.layers:
        size = f" {row.kernel[0]}x{row.kernel[1]}" if row.macs else ", no weights"
        found[f"{row.bottleneck}{size}"] += row.ms
    return dict(found)


def front(rows: Sequence[Mapping[str, float]], design: DesignFact) -> Figure | None:
    """Latency against each resource, as a share of what there is, of the designs that nothing beats."""
    traces = []
    for name, word in RESOURCES.items():
        has = design.resources[name]["available"]
        values = {row[name] for row in rows}
        if has and len(values) > 1:
            traces.append(_line(word, _lowest(rows, name), has))
    if not traces:
        return None
    caption = (
        "<b>Other designs for this network.</b> For each resource the fastest designs that take no more of it than"
        " stands below, other resources left free."
    )
    ends = span([row["latency_ms"] for row in rows])
    shape = layout(axis("share of the resource, %"), axis("ms, simulated", **scale(*ends)))
    return Figure("hardware-front", caption, tuple(traces), shape, 400)


def _lowest(rows: Sequence[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    """(amount, ms) of the designs that are faster than all that take less of a resource."""
    found: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda r: (r[name], r["latency_ms"])):
        if not found or row["latency_ms"] < found[-1][1]:
            found.append((row[name], row["latency_ms"]))
    return found


def _line(word: str, points: Sequence[tuple[float, float]], has: float) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": word,
        "x": [100 * amount / has for amount, _ in points],
        "y": [ms for _, ms in points],
        "line": {"shape": "hv"},
        "hovertemplate": word + " %{x:.3g} %<br>%{y:.4g} ms<extra></extra>",
    }


def layer_table(design: DesignFact, number: int = 0) -> str:
    """Each layer's milliseconds, and those of its parts if each were alone, as HTML: the table of so many before it."""
    columns = (
        "Layer",
        "ms",
        "computing",
        "weights",
        "inputs",
        "outputs",
        "held back by",
        "slack",
        "bits",
        "taps",
    )
    head = "".join(f'<th scope="col">{c}</th>' for c in columns)
    body = "".join(_row(row) for row in design.layers)
    mark = "hardware-layers" if number == 0 else f"hardware-layers-{number}"
    table = f'<table id="{mark}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide">{table}</div>'


def _row(row: LayerFact) -> str:
    parts = (row.ms, row.computing_ms, row.weights_ms, row.inputs_ms, row.outputs_ms)
    slack = "–" if row.slack is None else f"{row.slack:.2f}"
    bits, taps = f"{row.value_bits}", ""
    if row.macs:
        bits, taps = f"{row.weight_bits}/{row.value_bits}", f"{row.taps}"
    words = [*(f"{ms:.3g}" for ms in parts), escape(row.bottleneck), slack, bits, taps]
    cells = "".join(f"<td>{word}</td>" for word in words)
    return f'<tr><th scope="row">{escape(row.op)}</th>{cells}</tr>'


def section(hardware: HardwareFact) -> str:
    """The design in words and its layers, as HTML; nothing where there is none."""
    if not hardware.files:
        return ""
    design = next(iter(hardware.files.values()))
    lines = "".join(f"<li>{escape(line)}</li>" for line in words(design))
    tables = "".join(layer_table(each, n) for n, each in enumerate((design, *design.others)))
    return f"<ul>{lines}</ul>{tables}"


def as_file(fact: Any, blob: str) -> Plain | None:
    """What stands in hardware.json beside a file; None where the fact "hardware" knows nothing of it."""
    files = fact.get("files", {}) if isinstance(fact, Mapping) else {}
    found: Plain = files.get(blob)
    return found
