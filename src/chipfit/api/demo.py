"""The README's example, on whatever data this machine has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from chipfit.api.config import Config
from chipfit.api.inputs import Given
from chipfit.api.result import Result
from chipfit.api.runs import run
from chipfit.core.data import Dataset
from chipfit.data import fashion_mnist
from chipfit.data.load import load_data
from chipfit.nets.load import Entry, entry_of
from chipfit.nets.zoo import BUILDERS, INPUT_SHAPE
from chipfit.recipes.settings import Progress
from chipfit.train.loop import Schedule, on_threads, train

INSTEAD = ("lenet5", "dscnn")
"""Networks that are trained here where Fashion-MNIST, for which the zoo was trained, is not at hand."""
BATCH, EPOCHS, PEAK = 32, 8, 0.05


def demo(
    *, budgets: str, time: str, device: str, out: str | Path, seed: int = 0, progress: Progress | None = None
) -> Result:
    """Fits the zoo to a device under several budgets, on Fashion-MNIST; without it two small networks on digits.

    Raises:
        BadInput: see `run`.
        Infeasible: no network can be brought within a budget.
    """
    said = {"budgets": budgets, "time": time, "device": device, "out": str(out), "seed": seed}
    if fashion_mnist.find() is not None:
        return run(Config.of({**said, "models": "zoo:fashion-mnist", "data": "fashion-mnist"}), progress=progress)
    dataset, tell = load_data("digits", resize=INPUT_SHAPE[1:]), progress or (lambda phase, detail: None)
    tell("data", "Fashion-MNIST is not here (apt-get install dataset-fashion-mnist): digits, and networks trained now")
    given = Given(tuple(_trained(name, dataset, seed, tell) for name in INSTEAD), dataset)
    return run(
        Config.of({**said, "models": given.names, "data": f"object:{dataset.name}"}), given=given, progress=progress
    )


def _trained(name: str, dataset: Dataset, seed: int, tell: Progress) -> Entry:
    """A small network after a minute's training at most: enough for a demonstration, not for a claim."""
    tell("data", f"training {name} on {dataset.name}")
    torch.manual_seed(seed)
    net = BUILDERS[name](dataset.input_shape[0], len(dataset.classes))
    steps = EPOCHS * (len(dataset.train) // BATCH)
    with on_threads(1):  # batches this small only wait for each other on more
        train(net, dataset, Schedule(steps=steps, peak=PEAK, batch=BATCH), np.random.default_rng(seed))
    source = f"{name}, trained on {dataset.name}"
    return replace(entry_of(name, name, net, dataset.input_shape, dataset, source=source), licence="Apache-2.0")
