"""Statistics come back, and training mode agrees with evaluation mode."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chipfit.compress.edit import apply
from chipfit.compress.moments import moments
from chipfit.compress.refit import refit
from chipfit.compress.statistics import adjustable, correct
from chipfit.core.channels import array_axis
from chipfit.core.graph import Network
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.space.axes import kept
from chipfit.space.edits import Width
from chipfit.space.groups import channel_groups
from compress.networks import network_of, noise


def halved(network: Network) -> list[Width]:
    return [Width(g.name, tuple(range(0, g.size, 2))) for g in channel_groups(network.graph).groups]


def test_moments_where_the_mean_is_large() -> None:
    x = torch.randn(64, 5, 20, 20) * 0.01 + torch.tensor([0.0, 1.0, 10.0, -50.0, 3.0]).view(1, 5, 1, 1)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = moments(x.contiguous(memory_format=layout))
        torch.testing.assert_close(found.mean, x.double().mean((0, 2, 3)), atol=1e-6, rtol=1e-7)
        torch.testing.assert_close(found.var, x.double().var((0, 2, 3), correction=0), atol=0.0, rtol=1e-3)


def test_moments_of_vectors() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    assert moments(x).mean.tolist() == [2.0, 2.0]
    assert moments(x).var.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name", ["resnet8", "dscnn", "mobilenetv2", "lenet5", "Concat"])
def test_each_channel_gets_its_statistics_back(name: str) -> None:
    network = network_of(name)
    x, edits = noise(network, 64), halved(network)
    small = correct(network, apply(network, edits), edits, x)
    ops = sorted(adjustable(small.graph))
    with torch.inference_mode():
        now = build(small).capture(torch.from_numpy(x), ops)
        then = build(network).capture(torch.from_numpy(x), ops)
    keep = {e.group: e.keep for e in edits}
    axes = channel_groups(network.graph).axes
    for o in ops:
        a, b = moments(now[o]), moments(then[o][:, kept(axes[o][0], keep)])
        alive = b.var > 1e-3 * b.var.max()
        torch.testing.assert_close(a.mean[alive], b.mean[alive], atol=2e-3, rtol=2e-3)
        ratio = (a.var / b.var)[alive].sqrt()
        assert float((ratio - 1).abs().median()) < 1e-3


def test_training_mode_agrees_with_evaluation(net: Network) -> None:
    x, edits = noise(net, 64), halved(net)
    small = correct(net, apply(net, edits), edits, x)
    same_in_both_modes(small, x)


def same_in_both_modes(network: Network, x: np.ndarray) -> None:
    """Batch norms in use once; shared ones cannot hold the statistics of all their inputs."""
    uses = Counter(o.weights for o in network.graph if o.kind == "batch_norm")
    if any(n > 1 for n in uses.values()):
        return
    module = build(network).double()
    with torch.no_grad():
        frozen = module.eval()(torch.from_numpy(x).double())
        live = module.train()(torch.from_numpy(x).double())
    torch.testing.assert_close(frozen, live, atol=1e-3, rtol=1e-3)


def test_unchanged_networks_keep_their_function() -> None:
    network = network_of("resnet8")
    x = noise(network, 64)
    same = correct(network, network, (), x)
    with torch.inference_mode():
        a, b = (build(n)(torch.from_numpy(x)) for n in (network, same))
    torch.testing.assert_close(a, b, atol=1e-2, rtol=1e-3)


def test_originals_are_left_alone() -> None:
    network = network_of("vgg6")
    before = {k: a.copy() for k, a in network.weights.items()}
    edits = halved(network)
    correct(network, apply(network, edits), edits, noise(network, 32))
    for k, a in network.weights.items():
        np.testing.assert_array_equal(a, before[k])


class Mixing(nn.Module):
    """Dense layers on the last axis: of maps, of tokens behind a batch norm, and of tokens turned round."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.map = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 8, 1)
        self.up, self.down = nn.Linear(16, 24), nn.Linear(24, 16)
        self.tokens, self.norm, self.turned = nn.Linear(256, 12), nn.BatchNorm1d(8), nn.Linear(8, 12)
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.map(self.stem(x).relu())
        y = y + self.down(self.up(y).relu())
        y = self.norm(self.tokens(y.flatten(2))).relu()
        return self.head(self.turned(y.transpose(1, 2)).reshape(len(x), 12, 12, 1).mean((2, 3)))


def test_a_dense_layer_on_several_axes_is_matched_along_its_own() -> None:
    """Also where it has as many outputs as the map has channels."""
    torch.manual_seed(0)
    network = trace(Mixing(), (3, 16, 16))
    edits = [Width("stem", tuple(range(8)))]
    x = noise(network, 64)
    names = ["up", "down", "turned"]
    small = apply(network, edits)
    with torch.inference_mode():
        then = build(network).capture(torch.from_numpy(x), names)
        corrected = build(correct(network, small, edits, x)).capture(torch.from_numpy(x), names)
        solved = build(refit(network, small, edits, x, np.random.default_rng(0))).capture(torch.from_numpy(x), names)
    for name in names:
        a, b = (moments(v[name], array_axis(small.graph[name])) for v in (corrected, then))
        assert len(a.mean) == small.graph[name].shape[-1]
        torch.testing.assert_close(a.mean, b.mean, atol=5e-3, rtol=5e-3)
        assert float(((a.var / b.var).sqrt() - 1).abs().max()) < 1e-2
        assert F.mse_loss(solved[name], then[name]) < F.mse_loss(corrected[name], then[name])
    assert {"up", "down", "norm", "turned"} <= adjustable(network.graph)
    assert "tokens" not in adjustable(network.graph)
