"""Patches are what a convolution multiplies, and H is their second moment."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.compress.hessian import (
    Forms,
    Pixels,
    columns_of,
    consumers,
    diagonal,
    errors,
    flat,
    hessians,
    output_scale,
    outputs,
    patches,
    ridged,
    second_moments,
    unflat,
)
from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Network, Op, op
from compress.networks import network_of, noise


def conv(size: int, k: int, stride: int, padding: int, dilation: int) -> tuple[Op, Tensor, Tensor]:
    """A convolution 3 -> 5 with its weight, and an input."""
    weight, x = torch.randn(5, 3, k, k), torch.randn(4, 3, size, size)
    y = F.conv2d(x, weight, None, stride, padding, dilation)
    pairs = {"kernel": k, "stride": stride, "padding": padding, "dilation": dilation}
    o = op("c", "conv", ("x",), tuple(y.shape[1:]), "c", groups=1, bias=0, **{a: (v, v) for a, v in pairs.items()})
    return o, weight, x


@pytest.mark.parametrize("case", [(8, 3, 1, 1, 1), (9, 3, 2, 1, 1), (8, 1, 2, 0, 1), (11, 5, 1, 4, 2), (7, 2, 1, 0, 1)])
def test_patches_times_weight_is_the_output(case: tuple[int, int, int, int, int]) -> None:
    o, weight, x = conv(*case)
    y = F.conv2d(x, weight, None, o["stride"], o["padding"], o["dilation"])
    rng = np.random.default_rng(0)
    rows, columns = (torch.from_numpy(rng.integers(0, n, (4, 9))) for n in y.shape[2:])
    at = Pixels(rows, columns)
    u = patches(o, x.contiguous(memory_format=torch.channels_last), at)
    assert u.shape == (36, weight[0].numel())
    torch.testing.assert_close(u @ flat(weight).T, outputs(y, at), atol=1e-5, rtol=1e-5)


def test_patches_of_the_first_inputs_only() -> None:
    o, _, x = conv(8, 3, 1, 1, 1)
    at = Pixels(torch.tensor([[0, 3], [1, 2]]), torch.tensor([[5, 5], [0, 7]]))
    torch.testing.assert_close(patches(o, x, at), patches(o, x[:2], at))


def test_flat_and_back() -> None:
    weight = torch.randn(4, 3, 2, 5)
    assert torch.equal(unflat(flat(weight), weight), weight)
    cut = columns_of(np.array([0, 2]), weight).ravel()
    assert torch.equal(unflat(flat(weight)[:, cut], weight[:, [0, 2]]), weight[:, [0, 2]])


def test_h_of_a_dense_layer_is_exact() -> None:
    graph = Graph((op("x", "input", (), (6,)), op("d", "linear", ("x",), (3,), "d", bias=0)), "d")
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    network = Network(graph, {"d.weight": np.ones((3, 6), np.float32)})
    h = hessians(network, x, np.random.default_rng(0))["d"].numpy()
    moment = x.astype(float).T @ x / 50
    np.testing.assert_allclose(h, moment + 0.01 * np.trace(moment) / 6 * np.eye(6), rtol=1e-5)


def test_h_of_a_shared_layer_counts_both_uses() -> None:
    network = network_of("Shared")
    x = noise(network, 16)
    h = hessians(network, x, np.random.default_rng(0))
    assert h.keys() == {o.weights for o in consumers(network.graph)}
    assert h["twice"].shape == (144, 144)


def test_very_wide_layers_keep_the_diagonal(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("Flat")
    x = noise(network, 64)
    full = hessians(network, x, np.random.default_rng(0))
    monkeypatch.setattr("chipfit.compress.hessian.WIDEST", 100)
    short = hessians(network, x, np.random.default_rng(0))
    assert short["hidden"].ndim == 1
    torch.testing.assert_close(short["hidden"], full["hidden"].diagonal(), rtol=1e-4, atol=1e-6)
    assert short["conv"].ndim == 2


def test_the_form_for_channels_is_the_mean_over_taps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a layer's input has the same statistics everywhere; in parts as at once."""
    graph = Graph((op("x", "input", (), (4, 6, 6)), _conv_of(4)), "c")
    network = Network(graph, {"c.weight": np.ones((3, 4, 3, 3), np.float32)})
    x = np.random.default_rng(0).normal(size=(40, 4, 6, 6)).astype(np.float32)
    x[:, 1] = 0.5 * x[:, 0] + 0.5 * x[:, 1]
    narrow = Forms(10, 6000)
    found = second_moments(network, x, np.random.default_rng(0), Deadline.never(), rows_per_column=200, forms=narrow)
    h, full = found.of["c"], hessians(network, x, np.random.default_rng(0), rows_per_column=200)["c"]
    assert (h.shape, full.shape, found.inputs) == ((4, 4), (36, 36), 40)
    taps = full.view(9, 4, 9, 4).diagonal(dim1=0, dim2=2).mean(-1)
    torch.testing.assert_close(h, taps, rtol=0.05, atol=0.05)
    monkeypatch.setattr("chipfit.compress.hessian.PATCHES_MB", 1e-3)
    parts = second_moments(network, x, np.random.default_rng(0), Deadline.never(), rows_per_column=200, forms=narrow)
    torch.testing.assert_close(parts.of["c"], h, rtol=1e-4, atol=1e-4)
    diagonals = second_moments(network, x, np.random.default_rng(0), Deadline.never(), forms=Forms(10, 3)).of["c"]
    assert diagonals.shape == (4,)
    assert torch.equal(diagonal(diagonals, 36)[4:8], diagonals)


def _conv_of(channels: int) -> Op:
    pairs = {"kernel": 3, "stride": 1, "padding": 0, "dilation": 1}
    return op("c", "conv", ("x",), (3, 4, 4), "c", groups=1, bias=0, **{a: (v, v) for a, v in pairs.items()})


def test_errors_of_rows_are_those_of_the_whole_matrix() -> None:
    g = torch.Generator().manual_seed(0)
    rows, mix = torch.randn(5, 12, generator=g).double(), torch.randn(4, 4, generator=g).double()
    h = mix @ mix.T
    whole = torch.block_diag(h, h, h)
    torch.testing.assert_close(errors(rows, h), ((rows @ whole) * rows).sum(1))
    torch.testing.assert_close(errors(rows, whole), ((rows @ whole) * rows).sum(1))
    torch.testing.assert_close(errors(rows, whole.diagonal()), (rows.square() * whole.diagonal()).sum(1))


def test_only_as_many_inputs_as_there_is_time_for() -> None:
    network = network_of("vgg6")
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    x = noise(network, 100)
    found = second_moments(network, x, np.random.default_rng(0), Deadline(8.0, clock))
    assert 0 < found.inputs < 100
    late = second_moments(network, x, np.random.default_rng(0), Deadline(0.0, clock))
    assert 0 < late.inputs <= 16
    assert all(bool(h.isfinite().all()) for h in late.of.values())


def test_ridge_makes_zeros_solvable() -> None:
    assert torch.equal(ridged(torch.zeros(3, 3)), torch.eye(3))


def test_scale_of_the_batch_norm_behind() -> None:
    network = network_of("resnet8")
    w, norm = network.weights, network.graph["3.body.1"]
    scale = output_scale(network, network.graph["3.body.0"]).numpy()
    expected = w["3.body.1.weight"] / np.sqrt(w["3.body.1.running_var"] + norm["eps"])
    np.testing.assert_allclose(scale, expected, rtol=1e-6)
    assert output_scale(network, network.graph[network.graph.output]).eq(1).all()


def test_values_whose_squares_overflow_are_one_line() -> None:
    network = network_of("lenet5")
    with pytest.raises(BadInput, match="reads values too large to compute with"):
        hessians(network, noise(network, 4) * np.float32(1e25), np.random.default_rng(0))
