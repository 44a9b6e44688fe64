"""int8 in float is what the exported file computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
import torch

from chipfit.compress.edit import apply
from chipfit.compress.quantise import best_range, fake_quantised, on_grid, plan, ranges, rounded_weight
from chipfit.core.graph import Graph, Network, op
from chipfit.export.onnx import write
from chipfit.space.edits import Precision
from chipfit.space.groups import sites
from compress.networks import answers, network_of, noise


def all_int8(network: Network) -> Network:
    return apply(network, [Precision(s.name, 8) for s in sites(network.graph)])


def test_a_grid_has_256_values_and_zero_is_one_of_them() -> None:
    x = torch.linspace(-3, 5, 10_000)
    y = on_grid(x, -1.0, 2.0)
    values = y.unique()
    assert len(values) == 256
    assert 0.0 in values
    assert float(values[0]) == pytest.approx(-1.0, abs=0.006)
    assert float(values[-1]) == pytest.approx(2.0, abs=0.006)
    inside = (x > -1) & (x < 2)
    assert float((y - x)[inside].abs().max()) <= 3 / 255 / 2 + 1e-2 / 255


def test_weights_have_a_scale_for_each_channel() -> None:
    weight = torch.randn(4, 3, 3, 3) * torch.tensor([1.0, 10.0, 0.1, 0.0]).view(4, 1, 1, 1)
    for reduce_range, top in ((False, 127), (True, 63)):
        rounded = rounded_weight(weight, reduce_range)
        for row, exact in zip(rounded, weight, strict=True):
            step = float(exact.abs().max()) / top
            codes = row / (step or 1.0)
            torch.testing.assert_close(codes, codes.round(), atol=1e-3, rtol=0)
            assert float((row - exact).abs().max()) <= step / 2 + 1e-6


def test_ranges_clip_outliers_but_not_the_crowd() -> None:
    g = torch.Generator().manual_seed(0)
    crowd = torch.rand(100_000, generator=g)
    low, high = best_range(crowd)
    assert low == 0.0
    assert high > 0.98
    low, high = best_range(torch.cat([torch.randn(100_000, generator=g), torch.tensor([60.0])]))
    assert -6 < low < -3
    assert high < 50
    assert best_range(torch.zeros(5)) == (0.0, 0.0)
    assert best_range(torch.full((5,), 3.0))[0] == 0.0


def test_every_value_has_a_range_around_zero(net: Network) -> None:
    found = ranges(net, noise(net, 32))
    assert found.keys() == {o.name for o in net.graph}
    assert all(low <= 0 <= high for low, high in found.values())


def test_without_int8_operators_nothing_is_rounded(net: Network) -> None:
    x = noise(net, 8)
    np.testing.assert_allclose(fake_quantised(net, ranges(net, x), x), answers(net, x), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("reduce_range", [False, True])
def test_as_the_exported_file(net: Network, reduce_range: bool) -> None:
    network = all_int8(net)
    known, x = ranges(network, noise(network, 64)), noise(network, 32, seed=4)
    file = write(network, ranges=known, batch=None, reduce_range=reduce_range)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    want = ort.InferenceSession(file.data, options, providers=["CPUExecutionProvider"]).run(None, {"input": x})[0]
    got = fake_quantised(network, known, x, reduce_range=reduce_range)
    scale = float(np.abs(want).max())
    assert np.abs(got - want).mean() < 0.01 * scale
    # and closer to the file than the float network is
    assert np.abs(got - want).mean() < 0.9 * np.abs(answers(net, x) - want).mean()


def test_one_layer_by_hand() -> None:
    graph = Graph(
        (
            op("x", "input", (), (2,)),
            op("a", "linear", ("x",), (2,), "a", bits=8, bias=1),
            op("r", "relu", ("a",), (2,), bits=8),
            op("b", "linear", ("r",), (1,), "b", bits=8, bias=0),
        ),
        "b",
    )
    weights = {
        "a.weight": np.array([[1.27, 0.504], [-0.25, 0.127]], np.float32),
        "a.bias": np.array([0.0, 0.1], np.float32),
        "b.weight": np.array([[1.0, 1.0]], np.float32),
    }
    known = {"x": (0.0, 2.55), "a": (-9.0, 9.0), "r": (0.0, 5.1), "b": (-1.0, 1.0)}
    x = np.array([[1.004, 2.0]], np.float32)
    # x -> 1.00, 2.00; a -> 1.27 + .50 * 2 = 2.27, -.25 + 2 * 64.5/127*.25 + .1; r in steps of .02; b is not rounded
    first = 1.27 * 1.0 + 0.50 * 2.0
    second = -0.25 + 2.0 * round(0.127 / (0.25 / 127)) * 0.25 / 127 + 0.1
    want = round(first / 0.02) * 0.02 + round(max(second, 0) / 0.02) * 0.02
    got = fake_quantised(Network(graph, weights), known, x)
    assert got.shape == (1, 1)
    assert float(got[0, 0]) == pytest.approx(want, abs=0.021)
    assert plan(graph, known).rounds == {"x": (0.0, 2.55), "r": (0.0, 5.1)}


def test_a_relu_of_float_values_stays_float() -> None:
    network = network_of("vgg6")
    graph = network.graph
    mixed = Graph(tuple(replace(o, bits=8) if o.name == "7" else o for o in graph), graph.output)
    known = ranges(network, noise(network, 16))
    rounds = plan(mixed, known).rounds
    assert set(rounds) == {graph["7"].inputs[0], "9"}  # what it reads, and its output behind batch norm and relu
