"""Finals of the recipe on accelerators, and what else the same CPU seconds buy: the network fine-tuned, from scratch.

Networks of the Fashion-MNIST zoo on a ZCU102, each under 45 % of what it takes untouched, in 16 bits, on its best
design, which is less than int8 throughout reaches; three of them together under 10 % of what the most accurate takes,
which is less than half of what the fastest takes; and the published CIFAR ResNet-20 on a ZU3EG under 45 %. ResNet20
teaches. Seeds vary search and fine-tune; the networks' weights are trained once.

Beside them, with the same teacher and steps or CPU seconds:

* the network that a final was made from, given the same fine-tune: of Fashion-MNIST as `hot_start.py` recorded it; and
  that which the budget is a share of, where the recipe made its answer from another one;
* the architecture of the final of three, from random weights, for as many CPU seconds as the whole run took.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from bench import Arm, Bench, fresh, graph_of, measured, ours
from cifar import cifar_networks
from harness import Options, Rows, Target, at_least, at_most, table

from chipfit.core.data import Dataset
from chipfit.core.graph import Network
from chipfit.data import fashion_mnist
from chipfit.device.accelerator.device import Accelerator
from chipfit.evaluate.timing import Timing
from chipfit.nets.build import build
from chipfit.nets.load import load_models
from chipfit.nets.zoo import Entry
from chipfit.store.memory import MeasurementTable
from chipfit.train.loop import Schedule, train

SEEDS = (0, 1, 2)
FASHION_EPOCHS, CIFAR_EPOCHS = 4.0, 6.0
STARTS = 1
"""Menus that are opened: scoring one is most of a run."""
TEACHER = "resnet20"
FEW_STEPS = (8, 40)
FASTER = 2.0
"""Times that a final is faster than its network untouched, from which on the drop is promised."""
DROPS = {"fashion": 1.0, "cifar": 1.5}
"""Points of test accuracy behind the fine-tuned network at most, by data set."""


@dataclass(frozen=True)
class Case:
    """Networks of a data set, under a share of what one of them (`of`) takes untouched."""

    data: str
    name: str
    models: tuple[str, ...]
    of: str
    share: float

    @property
    def tag(self) -> str:
        """How the keys of its rows begin."""
        return f"refined/{self.data}/{self.name}"


def alone(model: str) -> Case:
    """A network of the Fashion-MNIST zoo under 45 % of its own time, the teacher beside it."""
    return Case("fashion", model, (TEACHER, model), model, 0.45)


TOGETHER = Case("fashion", "10%", ("resnet20", "resnet8", "vgg6"), TEACHER, 0.10)
ON_CIFAR = Case("cifar", "resnet20", (TEACHER,), TEACHER, 0.45)
CASES = (TOGETHER, *map(alone, ("lenet5", "dscnn", "resnet8", "mobilenetv2")), ON_CIFAR)


def on_part(name: str, part: str, dataset: Dataset, entries: Sequence[Entry], rows: Rows, epochs: float) -> Bench:
    """The bench of some networks on a part; nothing is remembered from an earlier process."""
    folder = Path(tempfile.mkdtemp(prefix="chipfit-bench-"))
    memory = MeasurementTable.open(folder / "measurements.db")
    timing = Timing(Accelerator(f"accel:{part}"), memory)
    return Bench(name, dataset, {e.name: e for e in entries}, timing, memory, rows, epochs, exact=True)


@cache
def fashion(rows: Rows) -> Bench:
    """Networks of the Fashion-MNIST zoo on a ZCU102."""
    return on_part("fashion", "zcu102", fashion_mnist.load(), load_models(["zoo:fashion-mnist"]), rows, FASHION_EPOCHS)


@cache
def cifar(rows: Rows) -> Bench | None:
    """The published ResNet-20 on the CIFAR JPEGs on a ZU3EG; None where these are absent."""
    if (found := cifar_networks()) is None:
        return None
    dataset, entries = found
    (entry,) = (e for e in entries if e.name == TEACHER)
    return on_part("cifar", "zu3eg", dataset, [entry], rows, CIFAR_EPOCHS)


def bench_of(data: str, rows: Rows) -> Bench | None:
    """The bench of a data set; None where it is not here."""
    return fashion(rows) if data == "fashion" else cifar(rows)


def untouched_ms(bench: Bench, model: str) -> float:
    """Milliseconds of a network as it came, in 16 bits, on its best design."""
    graph = bench.entries[model].network.graph
    ms = bench.timing.graphs([graph], "final")[0].value
    where = {"ms": ms, "device": bench.timing.device.name}
    return float(bench.rows.get(f"refined/{bench.name}/untouched {model}", lambda: where)["ms"])


def final(bench: Bench, case: Case, seed: int) -> None:
    """The recipe, and for its answer what its network takes untouched and reaches fine-tuned."""
    budget = {f"{case.tag}/ours": case.share * untouched_ms(bench, case.of)}
    ours(bench, f"{case.tag} refined".replace("/", " "), case.models, budget, seed, starts=STARTS)
    model = bench.rows.rows[f"{case.tag}/ours/{seed}"]["model"]
    untouched_ms(bench, model)
    if tuned(bench.rows, bench.name, model) is None:
        network = bench.entries[model].network
        measured(bench, [Arm(f"refined/{bench.name}/tuned {model}/0", network, 0, bench.steps)], TEACHER)


def tuned(rows: Rows, data: str, model: str) -> float | None:
    """Points of test accuracy of a network given the same fine-tune, as recorded; None where it is not."""
    own = rows.rows.get(f"refined/{data}/tuned {model}/0")
    known = Rows("hot_start", full=False).rows if data == "fashion" else {}
    same = (f"unmodified tuned ({model})/0", f"fashion/{model} tuned/0")
    row = own or next((row for key, row in known.items() if key.endswith(same)), None)
    return None if row is None else 100 * float(row["accuracy"])


def scratch(bench: Bench, seed: int) -> None:
    """What the recipe found of three networks, from random weights, for the CPU seconds of the whole run."""
    mine, key = bench.rows.rows.get(f"{TOGETHER.tag}/ours/{seed}"), f"{TOGETHER.tag}/scratch/{seed}"
    if mine is None or key in bench.rows.rows:
        return
    network: Network = fresh(graph_of(bench, mine), seed)
    steps = int(mine["cpu_s"] / cpu_s_per_step(network, bench.dataset))
    measured(bench, [Arm(key, network, seed, steps)], TEACHER)


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
    for seed in SEEDS[: options.seeds]:
        for case in CASES:
            if (bench := bench_of(case.data, rows)) is not None:
                final(bench, case, seed)
        scratch(fashion(rows), seed)
    return told(rows)


def told(rows: Rows) -> list[Target]:
    """The table of what is recorded, and the targets."""
    print("\nFinals on accelerators: test accuracy of the file in points, of all recorded seeds")
    lines: list[tuple[Any, ...]] = []
    drops: dict[str, list[float]] = {data: [] for data in DROPS}
    asked: list[float] = []
    for case in CASES:
        for row in rows.of(f"{case.tag}/ours", SEEDS):
            accuracy, reference = 100 * row["accuracy"], tuned(rows, case.data, row["model"])
            faster = rows.rows[f"refined/{case.data}/untouched {row['model']}"]["ms"] / row["ms"]
            behind = None if reference is None else reference - accuracy
            if behind is not None and faster >= FASTER:
                drops[case.data].append(behind)
            named = tuned(rows, case.data, case.of)
            behind_named = None if named is None else named - accuracy
            asked += [behind_named] if case.data == "fashion" and behind_named is not None else []
            told = ("" if x is None else x for x in (reference, behind, behind_named))
            lines.append((case.tag.removeprefix("refined/"), row["model"], row["ms"], faster, accuracy, *told))
    table(("case", "from", "ms", "times faster", "accuracy", "fine-tuned", "behind it", "behind the named one"), lines)
    if asked:
        print(
            f"Fashion-MNIST: at most {max(asked):.2f} points behind the fine-tuned network that a budget is a share of"
        )
    targets = [at_most(f"drop_max_{data}", max(drops[data], default=None), most) for data, most in DROPS.items()]
    mine, other = (_points(rows, f"{TOGETHER.tag}/{arm}") for arm in ("ours", "scratch"))
    gains = [a - b for a, b in zip(mine, other, strict=False)]
    if gains:
        print("From scratch, for the CPU seconds of the run, points behind:", ", ".join(f"{x:.2f}" for x in gains))
    return [*targets, at_least("scratch_gain", float(np.mean(gains)) if gains else None, 0.5)]


def _points(rows: Rows, arm: str) -> list[float]:
    return [100 * float(row["accuracy"]) for row in rows.of(arm, SEEDS)]
