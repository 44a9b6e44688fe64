"""Layers that programs may compute, and why they may not compute the others."""

from __future__ import annotations

import pytest
from torch import nn

from chipfit.core.graph import Graph
from chipfit.nets.trace import trace
from chipfit.space.programmed import refusals, replaceable


def graph(*layers: nn.Module, shape: tuple[int, ...] = (3, 8, 8)) -> Graph:
    return trace(nn.Sequential(*layers).eval(), shape).graph


def pooled(channels: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)


@pytest.mark.parametrize(
    ("layers", "name", "why"),
    [
        ((nn.Conv2d(3, 6, 8), nn.Flatten()), "0", "makes the answers"),
        ((nn.Conv2d(3, 8, 1), nn.ReLU(), *pooled(8)), "0", "fewer than 48 channels"),
        ((nn.Conv2d(3, 9, 3, groups=3), nn.ReLU(), *pooled(9)), "0", "grouped convolution"),
        ((nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4), *pooled(8)), "0", "several groups"),
        ((nn.Flatten(), nn.Linear(192, 40), nn.ReLU(), nn.Linear(40, 5)), "1", "fewer than 48 channels"),
    ],
)
def test_each_layer_that_is_left_out_has_its_reason(layers: tuple[nn.Module, ...], name: str, why: str) -> None:
    made = graph(*layers)
    assert why in refusals(made)[name]
    assert name not in replaceable(made)


def test_layers_of_several_places_and_wide_ones_of_one_may_be_computed() -> None:
    made = graph(nn.Conv2d(3, 48, 3), nn.ReLU(), nn.Conv2d(48, 64, 1), nn.ReLU(), *pooled(64))
    assert replaceable(made) == ("0", "2")
    assert refusals(made, keep=("0",)) == {"0": "is kept as it is", "2": "", "6": "makes the answers"}


def test_layers_that_share_their_weights_are_left_out() -> None:
    twice = nn.Conv2d(8, 8, 3, padding=1)
    made = graph(nn.Conv2d(3, 8, 3), twice, nn.ReLU(), twice, *pooled(8))
    assert sum("shares its weights" in why for why in refusals(made).values()) == 2
