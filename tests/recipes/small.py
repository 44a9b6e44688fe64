"""A whole fit that takes seconds: two small networks on the digits, a counted device, a fixed number of epochs.

As a program it runs (or takes up) the fit in the folder it is given, of networks that a file holds, for the tests that
kill it: at the step on the disk whose number is given, else never; it prints the number of steps.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph
from chipfit.core.types import Limit, Trial
from chipfit.data.load import load_data
from chipfit.device.null import Null
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BasicBlock, Entry, conv_bn, head
from chipfit.recipes.fit import fit
from chipfit.recipes.settings import Settings
from chipfit.store.store import Store
from chipfit.train.loop import Schedule, train

SETTINGS = Settings(
    budgets=((Limit("latency_ms", 0.6, relative=True),), (Limit("latency_ms", 0.4, relative=True),)), epochs=2
)


def plain() -> nn.Module:
    return nn.Sequential(*conv_bn(1, 16), nn.ReLU(), *conv_bn(16, 32, 3, 2), nn.ReLU(), *head(32, 10))


def plain_graph() -> Graph:
    return trace(plain().eval(), (1, 8, 8)).graph


def residual() -> nn.Module:
    return nn.Sequential(*conv_bn(1, 16), nn.ReLU(), BasicBlock(16, 16, 1), BasicBlock(16, 24, 2), *head(24, 10))


def entries(dataset: Dataset, steps: int = 150) -> list[Entry]:
    """The two networks, briefly trained."""
    torch.set_num_threads(1)
    made = []
    for name, build in (("plain", plain), ("residual", residual)):
        torch.manual_seed(0)
        net = build()
        train(net, dataset, Schedule(steps, 0.1, batch=64), np.random.default_rng(0))
        made.append(Entry(name, trace(net, dataset.input_shape), "Apache-2.0", "test"))
    return made


def run(folder: Path, settings: Settings = SETTINGS, models: Sequence[Entry] = ()) -> tuple[Trial, ...]:
    """The fit in this folder, of both networks where no others are given; its finals."""
    dataset = load_data("digits")
    torch.set_num_threads(1)
    with Store.open_or_create(folder, {"test": "small"}) as store:
        given = models or entries(dataset)
        return fit(given, dataset, [Null()], settings, store, store.memory, Deadline.never(), lambda *_: None)


if __name__ == "__main__":
    from kill_at import Steps

    counted = Steps(int(sys.argv[3]) if len(sys.argv) > 3 else None)
    run(Path(sys.argv[1]), models=pickle.loads(Path(sys.argv[2]).read_bytes()))
    print(counted.done)
