"""Operators are ranked by what they take in the file that is delivered, whatever the device can tell of it."""

from __future__ import annotations

import pytest

from chipfit.device.accelerator.device import Accelerator
from chipfit.device.null import Null
from chipfit.evaluate.slowest import slowest
from chipfit.evaluate.timing import Timing
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from evaluate.test_in_place import Watched
from made_up import Memory


def test_batch_norms_are_in_the_layers_that_they_are_folded_into() -> None:
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    rows = slowest(graph, Timing(Watched(), Memory()))
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    assert [row.share for row in rows] == sorted((row.share for row in rows), reverse=True)
    assert not {graph[row.op].kind for row in rows} & {"batch_norm", "input"}


def test_a_device_that_cannot_be_watched_is_guessed_by_work() -> None:
    graph = trace(BUILDERS["vgg6"](), (1, 28, 28)).graph

    class Silent(Null):
        def profile(self, artifact: object) -> object:
            raise ValueError("no profile")

    rows = slowest(graph, Timing(Silent(), Memory()))
    assert all(row.ms is None for row in rows)
    assert graph[rows[0].op].kind == "conv"


def test_an_accelerator_says_what_layers_take_on_its_best_design() -> None:
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    device = Accelerator("accel:zcu102")
    rows = slowest(graph, Timing(device, Memory()))
    told = {row.op: row.ms for row in device.chosen(graph).rows}
    assert rows[0].ms == max(told.values())
