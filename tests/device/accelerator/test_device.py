from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.core.errors import BadInput, Infeasible
from chipfit.core.fixed_point import on_grid
from chipfit.core.graph import Network
from chipfit.core.protocols import Device
from chipfit.core.types import Artifact
from chipfit.device.accelerator.device import Accelerator
from chipfit.device.registry import open_device
from chipfit.export.dummy import random_weights
from chipfit.export.fixed import formats, rounded
from chipfit.export.formats import as_written, timing_bytes, writer
from chipfit.nets.build import build
from chipfit.space.edits import Precision, apply
from chipfit.space.groups import sites
from recipes import small

GRAPH = small.plain_graph()


@pytest.fixture(scope="module")
def device() -> Accelerator:
    return Accelerator("accel:zcu102/dsp=64")


def network() -> Network:
    return Network(GRAPH, random_weights(GRAPH, np.random.default_rng(0)))


def test_it_is_a_device_that_is_opened_by_name() -> None:
    device = open_device("accel:zcu102/dsp=64", timing_bytes)
    assert isinstance(device, Device)
    assert (device.name, device.format) == ("accel:zcu102/dsp=64", "onnx-fixed")
    with pytest.raises(BadInput, match="did you mean 'zcu104'|did you mean 'zcu102'"):
        open_device("accel:zcu10", timing_bytes)


def test_a_latency_comes_with_the_design_that_it_is_of(device: Accelerator) -> None:
    (found,) = device.measure([Artifact("onnx-fixed", b"", GRAPH)], "final")
    assert found.provenance == "simulated"
    assert found.details["dsp"] <= 64
    assert found.details["tm"] * found.details["tn"] <= 64
    rows = device.profile(Artifact("onnx-fixed", b"", GRAPH))
    assert sum(row.ms for row in rows) == pytest.approx(found.value)
    assert rows[0].bottleneck in ("computing", "loading weights", "loading inputs", "storing outputs")


def test_int8_is_faster_where_multipliers_form_two_products_at_once(device: Accelerator) -> None:
    low = apply(GRAPH, [Precision(s.name, 8) for s in sites(GRAPH)])
    as_is, int8 = device.measure([Artifact("", b"", g) for g in (GRAPH, low)], "quick")
    assert int8.value < 0.8 * as_is.value
    assert int8.details["mac_bits"] == 8


def test_fewer_resources_are_another_device_with_longer_times(device: Accelerator) -> None:
    small_one = Accelerator("accel:zcu102/dsp=16")
    assert small_one.fingerprint != device.fingerprint
    times = [d.measure([Artifact("", b"", GRAPH)], "final")[0].value for d in (device, small_one)]
    assert times[0] < times[1]
    with pytest.raises(Infeasible, match="port_bits"):
        Accelerator("accel:zcu102/port_bits=32").measure([Artifact("", b"", GRAPH)], "final")


def test_files_hold_weights_on_their_grids_and_answer_like_the_rounded_network(device: Accelerator) -> None:
    made = network()
    artifact = writer("onnx-fixed")(made)
    told, written = formats(made), rounded(made)
    for name, bits in told.items():
        weights = written.weights[written.graph[name].array("weight")]
        assert sum(bits) == 16
        assert np.array_equal(weights, on_grid(weights, *bits))
    inputs = np.random.default_rng(1).standard_normal((5, *GRAPH.input_shape)).astype(np.float32)
    with torch.inference_mode():
        want = build(as_written(made, "onnx-fixed"))(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(device.run(artifact, inputs), want, atol=1e-4 * np.abs(want).max())
    with pytest.raises(BadInput, match="graph without bytes"):
        device.run(Artifact("onnx-fixed", b"", GRAPH), inputs)


def test_formats_that_the_network_says_are_those_of_the_file() -> None:
    name = next(o.name for o in GRAPH if o.kind == "conv")
    ops = tuple(o.having(integer_bits=1, fraction_bits=3) if o.name == name else o for o in GRAPH)
    made = Network(type(GRAPH)(ops, GRAPH.output), network().weights)
    assert formats(made)[name] == (1, 3)
    weights = rounded(made).weights[rounded(made).graph[name].array("weight")]
    assert len(np.unique(weights)) <= 16
