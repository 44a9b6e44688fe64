from __future__ import annotations

import math

import pytest

from chipfit.device.accelerator.breakdown import LayerTime, breakdown, interval_ms, shares
from chipfit.device.accelerator.parts import part
from chipfit.device.accelerator.v2 import ms
from chipfit.device.accelerator.work import works
from chipfit.nets.published import published
from chipfit.space.hardware import Designs

ZCU102 = part("zcu102")
NAMES = ("tm", "tn", "tr", "tc", "tk", "weight_port", "input_port", "output_port")
DESIGNS = Designs.of(
    dict(zip(NAMES, (76, 30, 28, 28, 7, 18, 10, 4), strict=True)) | {"tm_dw": [0, 128], "space_to_depth": [0, 1]}
)


def test_rows_are_the_networks_work_and_sum_up_to_its_latency() -> None:
    network = works(published("mobilenet_v2"))
    for index in range(2):
        rows = breakdown(network, DESIGNS, index, ZCU102)
        assert [r.op for r in rows] == [w.op for w in network]
        assert sum(r.ms for r in rows) == pytest.approx(ms(network, DESIGNS, ZCU102)[index].sum())
        assert all(r.ms >= max(r.parts_ms) * (1 - 1e-9) for r in rows)


def test_the_stem_of_resnet18_computes_and_its_last_layers_load_weights() -> None:
    rows = breakdown(works(published("resnet18")), DESIGNS, 0, ZCU102)
    stem, dense = rows[0], rows[-1]
    assert stem.bottleneck == "computing"
    assert stem.parts_ms[0] == pytest.approx(49 * 112 * 112 / 2e5)
    assert stem.slack > 2
    assert dense.bottleneck == "loading weights"
    assert {r.bottleneck for r in rows if r.op.startswith("add")} == {"storing outputs"}
    with_blocks = breakdown(works(published("resnet18")), DESIGNS, 1, ZCU102)[0]
    assert with_blocks.parts_ms[0] == pytest.approx(16 * 112 * 112 / 2e5)


def test_slack_is_the_largest_part_over_the_second() -> None:
    row = LayerTime("conv", "conv", (3, 3), 3.0, (1.0, 2.5, 0.5, 2.0))
    assert row.bottleneck == "loading weights"
    assert row.slack == 1.25
    assert LayerTime("x", "ports", (1, 1), 1.0, (0.0, 0.0, 1.0, 0.0)).slack == math.inf
    assert LayerTime("x", "ports", (1, 1), 1.0, (1.0, 1.0, 1.0, 0.0)).bottleneck == "computing"


def test_shares_group_by_bottleneck_and_kernel() -> None:
    rows = [
        LayerTime("a", "conv", (3, 3), 3.0, (3.0, 0, 0, 0)),
        LayerTime("b", "conv", (1, 1), 9.0, (0, 9.0, 0, 0)),
        LayerTime("c", "conv", (3, 3), 4.0, (4.0, 0, 0, 0)),
    ]
    assert [(s.bottleneck, s.kernel, s.ops, s.ms) for s in shares(rows)] == [
        ("loading weights", (1, 1), ("b",), 9.0),
        ("computing", (3, 3), ("a", "c"), 7.0),
    ]


def test_engines_that_work_on_different_inputs() -> None:
    rows = breakdown(works(published("mobilenet_v2")), DESIGNS, 1, ZCU102)
    assert {r.engine for r in rows} == {"conv", "depth-wise", "ports"}
    busy = [sum(r.ms for r in rows if r.engine == engine) for engine in ("conv", "depth-wise", "ports")]
    assert interval_ms(rows) == pytest.approx(max(busy))
    assert interval_ms(rows) < sum(r.ms for r in rows)
    assert interval_ms([]) == 0
