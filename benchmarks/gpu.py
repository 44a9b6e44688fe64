"""What a GPU brings, and whether it changes the answer; where there is none, the rows recorded elsewhere are shown.

* a training step of ResNet-20 (batch of 128, distilled) on the GPU and on all cores of the processor;
* the damages of a whole menu on both, which must agree (a GPU adds in another order);
* a fit of ResNet-20 end to end under one budget of milliseconds and one of minutes, on both;
* batches that the GPU's memory is too small for.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from harness import Rows, arguments, at_least, at_most, finish, table

import chipfit
from chipfit.compress.profile import profile
from chipfit.data.load import load_data
from chipfit.evaluate.damage import damage
from chipfit.nets import accelerator
from chipfit.nets.build import build
from chipfit.nets.zoo import load_zoo
from chipfit.space.offer import offer
from chipfit.train.distill import teach
from chipfit.train.jobs import seconds_per_step
from chipfit.train.loop import Schedule, train
from chipfit.train.memory import Pieces

DATA, MODEL = "fashion-mnist", "fashion-mnist/resnet20"
BOTH = ("cpu", "cuda")


def on(name: str) -> None:
    """Computes there from now on, on all cores where that is the processor."""
    accelerator.choose(name)
    accelerator.fast_bf16.cache_clear()
    torch.set_num_threads(os.cpu_count() or 1)


def step() -> dict[str, Any]:
    """Seconds a distilled step on each."""
    dataset, network, took = load_data(DATA), load_zoo(MODEL).network, {}
    for name in BOTH:
        on(name)
        views = teach(build(network), dataset, 2)
        took[name] = min(seconds_per_step(network, dataset, views, threads=os.cpu_count() or 1) for _ in range(3))
    return {"cpu_s": took["cpu"], "cuda_s": took["cuda"], "gpu": torch.cuda.get_device_name()}


def damages() -> dict[str, Any]:
    """The largest difference of a menu's damages (nats, and relative to 0.05 nats or more), and the seconds of each."""
    dataset, network = load_data(DATA), load_zoo(MODEL).network
    inputs = dataset.normalise(dataset.calibration(1216).inputs)
    tables, took = {}, {}
    for name in BOTH:
        on(name)
        began = time.perf_counter()
        made = profile(network, inputs[:1024], np.random.default_rng(0))
        menu, _ = damage(network, offer(network.graph, {32: 8, 8: 8}), made, inputs[:128], inputs[1024:])
        tables[name] = np.concatenate([t.table.ravel() for t in menu.terms if t.metric == "damage"])
        took[name] = time.perf_counter() - began
    apart = np.abs(tables["cuda"] - tables["cpu"])
    relative = apart / np.maximum(np.abs(tables["cpu"]), 0.05)
    return {
        "options": len(apart), "nats": float(apart.max()), "relative": float(relative.max()),
        "cpu_s": took["cpu"], "cuda_s": took["cuda"],
    }  # fmt: skip


def whole(name: str, minutes: str) -> dict[str, Any]:
    """A fit from beginning to end."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = chipfit.fit(
            f"zoo:{MODEL}", data=DATA, limits={"latency_ms": "40%"}, time=minutes, out=f"{folder}/{name}",
            accelerator=name,
        )  # fmt: skip
        seconds = time.perf_counter() - began
    assert result.best is not None
    return {
        "accuracy": result.best.accuracy, "ms": result.best.latency_ms, "seconds": seconds,
        "phases": ", ".join(f"{phase} {s:.0f}" for phase, s in result.view.phases),
        "computed_on": result.view.accelerator,
    }  # fmt: skip


def cramped() -> dict[str, Any]:
    """Pieces of a batch that takes more than the memory this process may use, and whether it trained."""
    on("cuda")
    dataset, network = load_data(DATA), load_zoo(MODEL).network
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.7e9 / total)
    try:
        pieces = Pieces()
        schedule = Schedule(12, 0.01, batch=4096)
        steps = train(build(network), dataset, schedule, np.random.default_rng(0), pieces=pieces)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return {"batch": 4096, "megabytes": 700, "pieces": pieces.count, "steps": steps}


def value(row: Mapping[str, Any] | None, name: str) -> float | None:
    """A row's value, None where there is no row."""
    return None if row is None else float(row[name])


def main() -> None:
    args = arguments(__doc__ or "")
    here = torch.cuda.is_available()
    rows = args.rows("gpu") if here else Rows("gpu", full=False)
    if here:
        rows.get("step", step)
        rows.get("damage", damages)
        rows.get("memory", cramped)
        if not (args.quick or args.here):
            for name in BOTH:
                rows.get(f"fit {name}", lambda name=name: whole(name, "2m"))
    else:
        print("no GPU here (torch.cuda.is_available() is false): recorded rows only")
    step_row, damage_row, memory, cpu, cuda = (
        rows.rows.get(k) for k in ("step", "damage", "memory", "fit cpu", "fit cuda")
    )
    table(
        ["what", "cpu", "cuda"],
        [
            *([("seconds a step", step_row["cpu_s"], step_row["cuda_s"])] if step_row else []),
            *([("seconds of profile and damage", damage_row["cpu_s"], damage_row["cuda_s"])] if damage_row else []),
            *([("fit: accuracy", cpu["accuracy"], cuda["accuracy"])] if cpu and cuda else []),
            *([("fit: ms", cpu["ms"], cuda["ms"])] if cpu and cuda else []),
            *([("fit: seconds", cpu["seconds"], cuda["seconds"])] if cpu and cuda else []),
        ],
    )
    ratio = None if step_row is None else step_row["cpu_s"] / step_row["cuda_s"]
    lost = None if not (cpu and cuda) else cpu["accuracy"] - cuda["accuracy"]
    targets = [
        at_least("step_speedup", ratio, 1.0),
        at_most("damage_apart", value(damage_row, "relative"), 0.02),
        at_least("pieces_when_cramped", value(memory, "pieces"), 2),
        at_most("accuracy_lost", lost, 0.005),
    ]
    finish("gpu", rows, targets, args)


if __name__ == "__main__":
    main()
