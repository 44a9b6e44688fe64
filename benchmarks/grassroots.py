"""The published operator search (arXiv 2309.11246), run as it is described, since its own code cannot run.

    python benchmarks/grassroots.py [--quick] [--here] [--json] [--full] [--seeds N]

VGG6 on Fashion-MNIST, ONNX Runtime on one thread: two rounds of population 10 over 20 generations, each candidate
fine-tuned for 20 steps with labels. A row has the milliseconds and test accuracy of the file before and after, what
was put in place of which layers, and CPU seconds: what `benchmarks/gos.py` is held against at equal cost.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import Bench, cpu_seconds, scored
from harness import Options, arguments, at_least, finish, table

from chipfit.core.data import Dataset
from chipfit.core.graph import Graph, Network
from chipfit.data import fashion_mnist
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.evaluate.as_published import Clock, Effort, rounds
from chipfit.evaluate.timing import Timing
from chipfit.export.formats import timing_bytes
from chipfit.nets.load import load_models
from chipfit.nets.zoo import Entry
from chipfit.search.grassroots import PUBLISHED, Published
from chipfit.store.memory import MeasurementTable

MODEL = "vgg6"


def clock(timing: Timing) -> Clock:
    """The device as the published search sees it."""

    def whole(graph: Graph) -> float:
        return timing.graphs([graph], "quick")[0].value

    def operators(graph: Graph) -> Mapping[str, float]:
        seen = timing.observed(graph)
        assert seen is not None
        return seen.ops

    return Clock(whole, operators)


def searched(bench: Bench, options: Options, seed: int) -> None:
    """The row of one run; of a quick one, that it runs from end to end."""
    key = f"{bench.name}/published/{seed}"
    if key in bench.rows.rows:
        return
    network, began = bench.entries[MODEL].network, cpu_seconds()
    effort = options.pick(quick=Effort(steps=2, judged=200), here=Effort(), whole=Effort())
    constants = options.pick(quick=Published(4, 2), here=PUBLISHED, whole=PUBLISHED)
    most = options.pick(quick=1, here=1, whole=2)
    found = rounds(network, bench.dataset, clock(bench.timing), seed, most=most, effort=effort, constants=constants)
    made = found[-1].network if found else network
    told: dict[str, Any] = {
        "cpu_s": cpu_seconds() - began,
        "looked_at": sum(each.looked_at for each in found),
        "programs": {", ".join(each.layers): each.program.text for each in found},
    }
    recorded(bench, key, seed, made, told)


def recorded(bench: Bench, key: str, seed: int, network: Network, told: dict[str, Any]) -> None:
    """The row of a network: its file, timed and scored."""
    artifact = bench.deployer.export(network)
    ms = bench.deployer.latency([artifact], "final")[0].value
    scored(bench, key, seed, artifact.data, {"ms": ms, **told})


def main() -> None:
    """Runs what is asked for, prints the table and the targets."""
    options = arguments(__doc__ or "")
    rows = options.rows("grassroots")
    memory = MeasurementTable.open(Path(tempfile.gettempdir()) / "chipfit-bench" / "measurements.db")
    data: Dataset = fashion_mnist.load()
    entries: dict[str, Entry] = {e.name: e for e in load_models([f"zoo:fashion-mnist/{MODEL}"])}
    with OnnxRuntime(timing_bytes) as device:
        bench = Bench("fashion", data, entries, Timing(device, memory), memory, rows, 4.0)
        untouched = f"{bench.name}/untouched/0"
        if untouched not in rows.rows:
            recorded(bench, untouched, 0, entries[MODEL].network, {})
        for seed in range(options.seeds):
            searched(bench, options, seed)
    before = rows.rows[untouched]
    ours = [row for key, row in rows.rows.items() if "/published/" in key]
    cells = [(r["seed"], r["ms"], r["accuracy"], r["looked_at"], r["cpu_s"], str(r["programs"])) for r in ours]
    print(f"untouched: {before['ms']:.4f} ms, {before['accuracy']:.4f}")
    table(("seed", "ms", "accuracy", "candidates", "CPU s", "programs"), cells)
    speedup = before["ms"] / ours[0]["ms"] if ours else None
    finish("grassroots", rows, [at_least("published_speedup", speedup, 1.0)], options)


if __name__ == "__main__":
    sys.exit(main())
