"""Finals of the recipe on accelerators, and what else the same CPU seconds buy: the reference fine-tuned, from scratch.

Three networks of the Fashion-MNIST zoo on a ZCU102, and the published CIFAR ResNet-20 on a ZU3EG, under shares of
what the most accurate of them takes untouched, in 16 bits, on its best design. 45 % is less than int8 throughout
reaches, and 10 % is less than half of what the fastest of the three takes. The first budget is a run of its own, the
second another pass over it. Seeds vary search and fine-tune; the networks' weights are trained once.

Beside them, with the same teacher and steps or CPU seconds:

* the reference as it came, given the recipe's fine-tune;
* the architecture that the recipe found, from random weights, for as many CPU seconds as the whole run took.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from bench import Arm, Bench, fresh, graph_of, measured, ours
from harness import Options, Rows, Target, at_least, at_most, table

from chipfit.core.data import Dataset
from chipfit.core.graph import Network
from chipfit.data import fashion_mnist
from chipfit.data.load import load_data
from chipfit.device.accelerator.device import Accelerator
from chipfit.evaluate.timing import Timing
from chipfit.nets.build import build
from chipfit.nets.load import load_models
from chipfit.nets.zoo import Entry
from chipfit.store.memory import MeasurementTable
from chipfit.train.loop import Schedule, train

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SHARES = {"fashion": (0.10, 0.45), "cifar": (0.45,)}
HALF = 0.45
"""The budget that the drop is promised at: less than half the latency."""
SEEDS = (0, 1, 2)
FASHION = ("resnet20", "resnet8", "vgg6")
FASHION_EPOCHS, CIFAR_EPOCHS = 4.0, 12.0
STARTS = 1
"""Menus that are opened: scoring one is most of a run."""
REFERENCE = "resnet20"
SCRATCH_SHARE = 0.10
FEW_STEPS = (8, 40)
DROPS = {"fashion": 1.0, "cifar": 1.5}
"""Points of test accuracy behind the fine-tuned reference at most, by data set."""


def on_part(name: str, part: str, dataset: Dataset, entries: Sequence[Entry], rows: Rows, epochs: float) -> Bench:
    """The bench of some networks on a part; nothing is remembered from an earlier process."""
    folder = Path(tempfile.mkdtemp(prefix="chipfit-bench-"))
    memory = MeasurementTable.open(folder / "measurements.db")
    timing = Timing(Accelerator(f"accel:{part}"), memory)
    return Bench(name, dataset, {e.name: e for e in entries}, timing, memory, rows, epochs, exact=True)


@cache
def fashion(rows: Rows) -> Bench:
    """Networks of the Fashion-MNIST zoo on a ZCU102."""
    entries = [e for e in load_models(["zoo:fashion-mnist"]) if e.name in FASHION]
    return on_part("fashion", "zcu102", fashion_mnist.load(), entries, rows, FASHION_EPOCHS)


@cache
def cifar(rows: Rows) -> Bench | None:
    """The published ResNet-20 on the CIFAR JPEGs on a ZU3EG; None where these are absent."""
    if not SHARED.is_dir():
        print("CIFAR rows need ../shared/data, which is absent: skipped")
        return None
    model = Path(__file__).resolve().parents[1] / "tests" / "models" / "cifar_resnet.py"
    dataset = load_data(str(SHARED / "cifar10_jpeg.zip"), normalize=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    file = SHARED / "cifar_resnet" / f"{REFERENCE}.safetensors"
    (entry,) = load_models([f"{model}:{REFERENCE}"], weights=[file], dataset=dataset)
    return on_part("cifar", "zu3eg", dataset, [replace(entry, name=REFERENCE)], rows, CIFAR_EPOCHS)


def untouched_ms(bench: Bench) -> float:
    """Milliseconds of the reference as it came, in 16 bits, on its best design."""
    graph = bench.entries[REFERENCE].network.graph
    ms = bench.timing.graphs([graph], "final")[0].value
    row = bench.rows.get(f"refined/{bench.name}/reference", lambda: {"ms": ms, "device": bench.timing.device.name})
    return float(row["ms"])


def tag(bench: Bench, share: float, arm: str) -> str:
    """The key of an arm at a budget, without its seed."""
    return f"refined/{bench.name}/{share:.0%}/{arm}"


def finals(bench: Bench, seed: int, shares: Sequence[float] = ()) -> None:
    """The recipe under each budget of the data set, or under some of them."""
    budgets = {tag(bench, share, "ours"): share * untouched_ms(bench) for share in shares or SHARES[bench.name]}
    ours(bench, f"refined {bench.name}", list(bench.entries), budgets, seed, starts=STARTS, one_by_one=True)


def tuned_reference(bench: Bench, seed: int = 0) -> None:
    """The reference as it came, in 16 bits, after the same fine-tune."""
    network = bench.entries[REFERENCE].network
    measured(bench, [Arm(f"refined/{bench.name}/tuned/{seed}", network, seed, bench.steps)], REFERENCE)


def scratch(bench: Bench, seed: int = 0) -> None:
    """What the recipe found at the tight budget, from random weights, for the CPU seconds of the whole run."""
    mine = bench.rows.rows.get(f"{tag(bench, SCRATCH_SHARE, 'ours')}/{seed}")
    key = f"{tag(bench, SCRATCH_SHARE, 'scratch')}/{seed}"
    if mine is None or key in bench.rows.rows:
        return
    network: Network = fresh(graph_of(bench, mine), seed)
    steps = int(mine["cpu_s"] / cpu_s_per_step(network, bench.dataset))
    measured(bench, [Arm(key, network, seed, steps)], REFERENCE)


def cpu_s_per_step(network: Network, dataset: Dataset) -> float:
    """CPU seconds of a training step: those of a longer schedule less those of a shorter one."""
    took = []
    for steps in FEW_STEPS:
        began = time.process_time()
        train(build(network), dataset, Schedule(steps, 1e-3), np.random.default_rng(0))
        took.append(time.process_time() - began)
    return (took[1] - took[0]) / (FEW_STEPS[1] - FEW_STEPS[0])


def refined(rows: Rows, options: Options) -> list[Target]:
    """The rows of all arms, their table, and the targets."""
    if options.quick or options.here:
        return []
    benches = [bench for bench in (fashion(rows), cifar(rows)) if bench is not None]
    for bench in benches:
        tuned_reference(bench)
        finals(bench, SEEDS[0])
    scratch(benches[0])
    for seed in SEEDS[1 : options.seeds]:
        for bench in benches:
            finals(bench, seed)
    return told(rows)


def told(rows: Rows) -> list[Target]:
    """The table of what is recorded, and the targets."""
    print("\nFinals on accelerators: test accuracy of the file in points, of all recorded seeds")
    lines, targets = [], []
    for name, most in DROPS.items():
        reference = _points(rows, f"refined/{name}/tuned")
        as_it_came = rows.rows.get(f"refined/{name}/reference", {}).get("ms")
        for share in SHARES[name]:
            found = rows.of(f"refined/{name}/{share:.0%}/ours", SEEDS)
            for row in found:
                lines.append(_line(name, share, row, as_it_came, reference))
            if share == HALF:
                drops = [reference[0] - 100 * row["accuracy"] for row in found if reference]
                targets.append(at_most(f"drop_max_{name}", max(drops, default=None), most))
    table(("data", "budget", "model", "ms", "faster", "accuracy", "behind the reference", "CPU s"), lines)
    mine = _points(rows, f"refined/fashion/{SCRATCH_SHARE:.0%}/ours")
    other = _points(rows, f"refined/fashion/{SCRATCH_SHARE:.0%}/scratch")
    gain = mine[0] - other[0] if mine and other else None
    return [*targets, at_least("scratch_gain", gain, 0.5)]


def _points(rows: Rows, arm: str) -> list[float]:
    return [100 * float(row["accuracy"]) for row in rows.of(arm, SEEDS)]


def _line(
    name: str, share: float, row: dict[str, object], as_it_came: float | None, reference: Sequence[float]
) -> tuple[object, ...]:
    accuracy = 100 * float(str(row["accuracy"]))
    faster = "" if as_it_came is None else f"{as_it_came / float(str(row['ms'])):.2f} x"
    behind = reference[0] - accuracy if reference else ""
    return (name, f"{share:.0%}", row["model"], row["ms"], faster, accuracy, behind, row["cpu_s"])
