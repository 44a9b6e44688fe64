"""Statistics come back, and training mode agrees with evaluation mode."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from chipfit.compress.edit import apply
from chipfit.compress.moments import moments
from chipfit.compress.statistics import adjustable, correct
from chipfit.core.edits import Width
from chipfit.core.graph import Network
from chipfit.nets.build import build
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
    keep = {e.group: np.array(e.keep) for e in edits}
    segments = channel_groups(network.graph).segments
    for o in ops:
        start, kept = 0, []
        for s in segments[o]:
            kept += (start + keep.get(s.group, np.arange(s.size))).tolist()
            start += s.size
        a, b = moments(now[o]), moments(then[o][:, kept])
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
