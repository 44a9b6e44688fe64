"""What a large network costs to open and to fit: menus, their tables against whole networks, `fit --no-train`.

    python benchmarks/large.py [--quick] [--here] [--json] [--full]

Networks at 224 x 224 with random weights (`large_networks`), and two small ones of the zoo that the growth of menu
seconds with MACs is read from, on ONNX Runtime. A menu is opened as a fit of ten minutes does it, alone on the machine;
nothing is remembered from one network to the next. Each row is made by a process of its own, whose peak of resident
memory it tells, together with that of the process that times; an interrupted benchmark goes on with the next row.

The data are 200 pictures of blobs of random colours. They and random weights say nothing of accuracy: what is measured
is time, memory, and whether budgets are held.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import Rows, Target, arguments, at_least, at_most, finish, table

PICTURES, SIZE, CLASSES = 200, 224, 1000

LARGE = ("resnet18", "resnet50", "mobilenetv2", "efficientnet_lite0", "vit_tiny", "convnext_tiny")
SMALL = ("resnet8", "resnet20")

MENU_S = 110.0
"""Seconds that are planned for a menu: what is begun in time, the last score or timing, ends after it."""

CHECKED = 40
"""Whole edited networks that tables are held against: the rank correlation of 14 varied by .02 from run to run."""

FIT_TIME, SHARE = "4m30s", "60%"
"""What leaves half a minute of five for imports and the trace."""


def pictures() -> Any:
    """Blobs of random colours, without labels."""
    from PIL import Image

    from chipfit.core.data import Dataset, Split

    rng = np.random.default_rng(0)
    made = []
    for _ in range(PICTURES):
        blobs = Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8))
        made.append(np.asarray(blobs.resize((SIZE, SIZE), Image.Resampling.BILINEAR)).transpose(2, 0, 1))
    inputs = np.stack(made)
    cut = (PICTURES * 7 // 10, PICTURES * 17 // 20)
    train, validation, test = (Split(part) for part in np.split(inputs, cut))
    names = tuple(f"class {n}" for n in range(CLASSES))
    return Dataset("blobs", names, (0.5,) * 3, (0.25,) * 3, train, validation, lambda: test)


def entry_of(name: str) -> Any:
    """The network as an entry of a zoo of its own."""
    from chipfit.core.graph import Network
    from chipfit.nets.load import load_models
    from chipfit.nets.trace import trace
    from chipfit.nets.zoo import Entry

    if name in SMALL:
        return next(e for e in load_models(["zoo:fashion-mnist"]) if e.name == name)
    from large_networks import built

    network: Network = trace(built(name), (3, SIZE, SIZE))
    return Entry(name, network, "none", "random weights")


def data_for(name: str) -> Any:
    """The pictures, or for a small network those that it was trained on."""
    if name not in SMALL:
        return pictures()
    from chipfit.data.load import load_data

    return load_data("fashion-mnist")


def peak_gb() -> float:
    """Peak of resident memory of this process and of the largest that it started."""
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + child) / 1e6


def menu(name: str) -> dict[str, Any]:
    """Seconds of a network's menu, and what its tables foretell of networks that they were not corrected on."""
    from scipy.stats import spearmanr

    from chipfit.core.deadline import Deadline
    from chipfit.device.onnxruntime import OnnxRuntime
    from chipfit.evaluate.drawn import random_assignment
    from chipfit.evaluate.start import open_start
    from chipfit.evaluate.timing import Timing
    from chipfit.export.formats import timing_bytes
    from chipfit.space.edits import apply
    from chipfit.store.memory import MeasurementTable

    began = time.perf_counter()
    entry, data = entry_of(name), data_for(name)
    ready_s = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder, OnnxRuntime(timing_bytes) as device:
        timing = Timing(device, MeasurementTable.open(Path(folder) / "memory.db"))
        began = time.perf_counter()
        start = open_start(entry, data, timing, deadline=Deadline.after(4 * MENU_S), planned_s=MENU_S)
        menu_s = time.perf_counter() - began
        rng = np.random.default_rng(2027)
        drawn = [random_assignment(start.menu, rng) for _ in range(CHECKED)]
        graphs = [apply(entry.network.graph, start.menu.edits(a)) for a in drawn]
        true = np.array([m.value for m in timing.graphs(graphs, "final")])
    told = np.array([start.menu.total("latency_ms", a) for a in drawn])
    profile, decisions = start.profile, start.menu.decisions
    return {
        "macs": entry.network.graph.total_macs, "params": entry.network.graph.total_params, "trace_s": ready_s,
        "menu_s": menu_s, "gb": peak_gb(), "ms": start.pricings[0].measured[0],
        "networks": len(start.pricings[0].measured), "decisions": len(decisions),
        "options": sum(len(d.options) for d in decisions), "scored": len(profile.damage), "inputs": profile.scored,
        "mape": float(np.abs(told / true - 1).mean()), "worst": float(np.abs(told / true - 1).max()),
        "spearman": float(spearmanr(told, true).statistic),
    }  # fmt: skip


def fitted(name: str) -> dict[str, Any]:
    """Seconds of `fit --no-train` from the module to the file, and its latency over its budget."""
    from large_networks import built

    import chipfit

    module = built(name)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = chipfit.fit(
            module, data=pictures(), device="onnxruntime", limits=f"latency_ms={SHARE}", time=FIT_TIME, train=False,
            out=Path(folder) / "run",
        )  # fmt: skip
        fit_s = time.perf_counter() - began
        best, reference = result.best, result.reference
        assert best is not None
        assert reference is not None
        ms, whole_ms = best.latency_ms, reference.latency_ms
        assert ms is not None
        assert whole_ms is not None
        over = ms / (float(SHARE.rstrip("%")) / 100 * whole_ms)
    return {"fit_s": fit_s, "over": over, "gb": peak_gb(), "ms": ms, "reference_ms": whole_ms}


WAYS = {"menu": menu, "fit": fitted}


class Failed(Exception):
    """A row could not be made; it is tried again the next time."""


def elsewhere(way: str, name: str) -> dict[str, Any]:
    """A row made in a process of its own."""
    ran = subprocess.run([sys.executable, __file__, way, name], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Failed((ran.stderr.strip().splitlines() or ["no reason"])[-1][:300])
    found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def growth(rows: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Exponent of menu seconds against MACs, least squares of logarithms over all networks."""
    known = [(r["macs"], r["menu_s"]) for r in rows.values() if "menu_s" in r]
    if len(known) < 3:
        return None
    macs, seconds = np.log(np.array(known)).T
    return float(np.polyfit(macs, seconds, 1)[0])


def targets(rows: Mapping[str, Mapping[str, Any]], menus: Sequence[str], fits: Sequence[str]) -> list[Target]:
    """What is promised of the large networks among those that were asked for."""
    opened = [rows.get(f"menu/{name}", {}) for name in menus if name in LARGE]
    fitted_ones = [rows.get(f"fit/{name}", {}) for name in fits]

    def worst(of: Sequence[Mapping[str, Any]], name: str, pick: Callable[..., float] = max) -> float | None:
        found = [row[name] for row in of if name in row]
        return pick(found) if found and len(found) == len(of) else None

    over = worst(fitted_ones, "over")
    return [
        at_most("menu_s_max", worst(opened, "menu_s"), 120, absolute=True),
        at_most("growth_exponent", growth(rows), 0.5),
        at_most("mape_max", worst(opened, "mape"), 0.06),
        at_least("spearman_min", worst(opened, "spearman", min), 0.97),
        at_most("rss_gb_max", worst([*opened, *fitted_ones], "gb"), 6),
        at_most("fit_s_max", worst(fitted_ones, "fit_s"), 300, absolute=True),
        at_most("over_budget", over, 1.005),
    ]


def show(rows: Rows) -> None:
    """One line for each network."""
    names = ("macs", "menu_s", "mape", "spearman", "gb", "networks", "scored", "inputs", "fit_s", "over")
    lines = []
    for name in (*SMALL, *LARGE):
        row = {**rows.rows.get(f"fit/{name}", {}), **rows.rows.get(f"menu/{name}", {})}
        lines.append((name, *(row.get(n, "") for n in names)))
    print()
    table(["network", *names], lines)


def main() -> None:
    """Runs what is asked for, prints the targets."""
    options = arguments(__doc__ or "")
    rows = options.rows("large")
    menus = options.pick(quick=("resnet8",), here=("resnet8", "resnet18", "mobilenetv2"), whole=(*SMALL, *LARGE))
    fits = options.pick(quick=(), here=("mobilenetv2",), whole=LARGE)
    for way, names in (("menu", menus), ("fit", fits)):
        for name in names:
            try:
                rows.get(f"{way}/{name}", partial(elsewhere, way, name))
            except Failed as e:
                print(f"  {way}/{name} failed: {e}", flush=True)
    show(rows)
    finish("large", rows, targets(rows.rows, menus, fits), options)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        print(json.dumps(WAYS[sys.argv[1]](sys.argv[2])))
    else:
        main()
