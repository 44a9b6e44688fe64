"""Tables of units against whole networks that were measured, on every runtime that is here.

    python benchmarks/latency_table.py [--quick] [--here] [--json] [--full]

60 networks of each of two spaces; what scales there are is fitted to 10 others. Beside the tables stand two baselines
with the same 10: a line through MACs, and one scale for the sum of all operators, each timed alone.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from harness import RESULTS, Rows, Target, arguments, at_least, at_most, finish, table
from numpy.typing import NDArray
from scipy.stats import spearmanr
from spaces import SPACES, networks

from chipfit.core.graph import Graph, Op, op
from chipfit.device.registry import DEVICES, open_device
from chipfit.evaluate.tables import PartsMs, foretold, parts_ms
from chipfit.evaluate.timing import Timing
from chipfit.export.formats import timing_bytes
from chipfit.store.memory import MeasurementTable

RUNTIMES = ("onnxruntime", "openvino", "litert", "ncnn", "torch")

FITTED, TOLD = 10, 60
"""Networks that scales are fitted to, and others that are foretold."""

MAPE_LIMITS = {"nb201": 0.04, "mixed": 0.06}
SPEARMAN_LIMIT = 0.97


def alone(graph: Graph, o: Op) -> Graph:
    """A network of one operator. A gate's values are made of the map that they are multiplied with."""
    shapes = [graph[i].shape for i in o.inputs]
    widest = max(shapes, key=lambda s: int(np.prod(s)))
    ops = [op("x", "input", (), widest)]
    if any(s != widest for s in shapes):
        ops.append(op("gate", "global_pool", ("x",), (widest[0], 1, 1), keep=1))
    reads = tuple("x" if s == widest else "gate" for s in shapes)
    return Graph((*ops, replace(o, inputs=reads)), o.name)


def row(graph: Graph, timing: Timing) -> dict[str, Any]:
    """What is measured of one network: itself, its units, its operators alone."""
    (whole,) = timing.graphs([graph], "final")
    isolated = timing.graphs([alone(graph, o) for o in graph if o.kind != "input"], "quick")
    return {
        "ms": whole.value, "spread": whole.spread, "macs": graph.total_macs,
        "parts_ms": parts_ms(graph, timing), "isolated_ms": sum(m.value for m in isolated),
    }  # fmt: skip


def take(rows: Rows, devices: Sequence[str], n: int, *, full: bool) -> None:
    """Measures what is missing, each unit once for a device."""
    path = RESULTS / "runs" / "latency_table.db"
    if full:
        path.unlink(missing_ok=True)
    memory = MeasurementTable.open(path)
    for name in devices:
        wanted = {f"{name}/{space}/{i}": g for space in SPACES for i, g in enumerate(networks(space, n))}
        if wanted.keys() <= rows.rows.keys():
            continue
        with open_device(name, timing_bytes) as device:  # type: ignore[attr-defined]
            timing = Timing(device, memory)
            for key, graph in wanted.items():
                rows.get(key, lambda graph=graph, timing=timing: row(graph, timing))  # type: ignore[misc]


def by_line(known: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Milliseconds from a constant and MACs, least squares of relative errors."""
    a, b = (np.array([[1.0, r["macs"]] for r in rows]) for rows in (known, wanted))
    ms = np.array([r["ms"] for r in known])
    fit: NDArray[np.float64] = b @ np.linalg.lstsq(a / ms[:, None], np.ones(len(ms)), rcond=None)[0]
    return fit


def by_operators(known: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Milliseconds from the sum of operators alone, times one scale."""
    scale = np.median([r["ms"] / r["isolated_ms"] for r in known])
    return np.array([scale * r["isolated_ms"] for r in wanted])


def by_tables(known: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Milliseconds from the tables of units."""
    parts: list[list[PartsMs]] = [[r["parts_ms"] for r in rows] for rows in (known, wanted)]
    return foretold(parts[0], [r["ms"] for r in known], parts[1])


WAYS: Mapping[str, Callable[..., NDArray[np.float64]]] = {
    "tables": by_tables,
    "MACs": by_line,
    "operators alone": by_operators,
}


def errors(rows: Rows, name: str, space: str, fitted: int) -> dict[str, tuple[float, float, float]]:
    """(mean and largest relative error, Spearman) of each way; nothing measured gives nothing."""
    prefix = f"{name}/{space}/"
    found = sorted((int(k.removeprefix(prefix)), r) for k, r in rows.rows.items() if k.startswith(prefix))
    good = [r for _, r in found if np.isfinite(r["ms"])]
    known, wanted = good[:fitted], good[fitted:]
    true = np.array([r["ms"] for r in wanted])
    told = {way: make(known, wanted) for way, make in WAYS.items()}
    return {
        way: (float(abs(t / true - 1).mean()), float(abs(t / true - 1).max()), float(spearmanr(t, true).statistic))
        for way, t in told.items()
    }


def show(found: Mapping[tuple[str, str], Mapping[str, tuple[float, float, float]]]) -> None:
    """One line for each runtime and space."""
    cell = lambda e: f"{100 * e[0]:.1f} / {100 * e[1]:.1f} / {e[2]:.3f}"  # noqa: E731
    lines = [(name, space, *(cell(ways[way]) for way in WAYS)) for (name, space), ways in found.items()]
    print()
    table(["runtime", "space", *(f"{way}: MAPE % / max % / rho" for way in WAYS)], lines)


def targets(found: Mapping[tuple[str, str], Mapping[str, tuple[float, float, float]]]) -> list[Target]:
    """What is promised for ONNX Runtime."""
    told = {space: found[name, space]["tables"] for name, space in found if name == "onnxruntime"}
    made = [
        at_most(f"mape_ort_{space}", told[space][0] if space in told else None, limit)
        for space, limit in MAPE_LIMITS.items()
    ]
    ranks = min((told[space][2] for space in told), default=None) if told.keys() == MAPE_LIMITS.keys() else None
    return [*made, at_least("spearman_ort", ranks, SPEARMAN_LIMIT)]


def main() -> None:
    """Runs what is asked for, prints the table and the targets."""
    options: argparse.Namespace = arguments(__doc__ or "")
    devices = [n for n in RUNTIMES if n in DEVICES and not DEVICES[n].missing]
    fitted, told = options.pick(quick=(4, 6), here=(5, 12), whole=(FITTED, TOLD))
    devices = devices[:1] if options.quick else devices
    rows = options.rows("latency_table")
    take(rows, devices, fitted + told, full=options.full)
    found = {(n, space): errors(rows, n, space, fitted) for n, space in itertools.product(devices, SPACES)}
    show(found)
    finish("latency_table", rows, targets(found), options)


if __name__ == "__main__":
    main()
