"""Numbers are learnt alike in any unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from chipfit.core.data import Dataset, Split
from chipfit.core.graph import Network
from chipfit.core.task import TASKS
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.train.loop import Schedule, quality, train
from chipfit.train.units import groups, last_parameters

X = np.random.default_rng(0).normal(size=(512, 6)).astype(np.float32)
Y = (np.sin(2 * X[:, :1]) + X[:, 1:2] * X[:, 2:3]).astype(np.float32)


def data(unit: float) -> Dataset:
    part = Split(X, unit * Y)
    task = replace(TASKS["regression"], scale=float((unit * Y).var()))
    return Dataset("sums", (), (0.0,), (1.0,), part, part, lambda: part, task=task)


def network(unit: float) -> Network:
    """A network that answers in this unit, the same but for it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    with torch.no_grad():
        for p in net[-1].parameters():
            p.mul_(unit)
    return trace(net.eval(), (6,))


@pytest.mark.parametrize("unit", [1e-4, 1e5])
def test_training_comes_as_far_in_any_unit(unit: float) -> None:
    errors = []
    for of in (1.0, unit):
        net = build(network(of))
        train(net, data(of), Schedule(200, 0.05, batch=64), np.random.default_rng(0))
        errors.append(quality(net, data(of), data(of).train) / of)
    assert errors[0] < 0.5 * float(Y.std())
    assert errors[1] == pytest.approx(errors[0], rel=0.05)


def test_only_the_layer_that_answers_is_of_another_rate() -> None:
    net = build(network(1.0))
    assert last_parameters(net, 1.0) == []
    last = last_parameters(net, 10.0)
    assert sorted(p.numel() for p in last) == [1, 32]
    made = groups(net, 1e-3, 10.0)
    assert [g["factor"] for g in made] == [1.0, 1.0, 10.0, 10.0]
    assert [g["weight_decay"] for g in made] == [1e-3, 0.0, 1e-4, 0.0]
    assert sum(len(g["params"]) for g in made) == len(list(net.parameters()))  # type: ignore[misc, arg-type]
    assert len(groups(net, 1e-3)) == 2
