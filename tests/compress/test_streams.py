"""Streams that are turned answer as they did, and what is cut off them is what counts least."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chipfit.compress import edit
from chipfit.compress.profile import profile, stitch
from chipfit.compress.statistics import correct
from chipfit.compress.streams import contrasts, turned
from chipfit.core.graph import Network
from chipfit.nets.trace import trace
from chipfit.nets.vit import ViT
from chipfit.space.edits import Width
from chipfit.space.groups import channel_groups
from chipfit.space.streams import streams
from compress.networks import answers

RNG = np.random.default_rng(0)
X = RNG.standard_normal((96, 1, 28, 28)).astype(np.float32)


class Scaled(nn.Module):
    """A block with scales (LayerScale), its stream read by a mean over tokens, without biases in its norms."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 24, 7, 7)
        self.norm, self.last = nn.LayerNorm(24, elementwise_affine=False), nn.LayerNorm(24)
        self.up, self.down = nn.Linear(24, 32), nn.Linear(32, 24)
        self.scale = nn.Parameter(torch.rand(24))
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = y + self.scale * self.down(torch.relu(self.up(self.norm(y))))
        answers: Tensor = self.head(self.last(y).mean(1))
        return answers


class After(Scaled):
    """The same with what its norm makes in the stream, as in BERT."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.patches(x).flatten(2).transpose(1, 2))
        y = y + self.down(torch.relu(self.up(self.norm(y))))
        answers: Tensor = self.head(self.last(y).mean(1))
        return answers


class Pooled(Scaled):
    """One whose stream is averaged over tokens before its last norm, which a layer without a bias reads."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(24, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = y + self.scale * self.down(torch.relu(self.up(self.norm(y))))
        answers: Tensor = self.head(self.last(y.mean(1)))
        return answers


class RootMeanSquare(Scaled):
    """One with norms that take off no mean."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.RMSNorm(24, elementwise_affine=False), nn.RMSNorm(24)


def drawn(make: Callable[[], nn.Module]) -> Network:
    torch.manual_seed(0)
    module = make()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return trace(module.eval(), (1, 28, 28))


@pytest.fixture(scope="module")
def vit() -> Network:
    return decaying(drawn(partial(ViT, patch=7, width=32, depth=2, heads=4)))


def decaying(network: Network) -> Network:
    """The network with a stream that is large along some axes, none of them a channel's, as those of trained ones."""
    (stream,) = streams(network.graph)
    axes = np.linalg.qr(np.random.default_rng(1).standard_normal((stream.width, stream.width)))[0]
    spread = (axes * 0.8 ** np.arange(stream.width)) @ axes.T
    weights, graph = dict(network.weights), network.graph
    for name, axis in [*((writer, 0) for writer in stream.writers), *stream.constants]:
        for role in graph.roles(graph[name]):
            array = weights[graph[name].array(role)]
            made = np.moveaxis(np.tensordot(array, spread, (axis, 1)), -1, axis)
            weights[graph[name].array(role)] = made.astype(np.float32)
    return Network(graph, weights)


def with_turned(network: Network) -> Network:
    return Network(network.graph, {**network.weights, **turned(network, X)})


def test_contrasts_are_orthonormal_without_a_mean_and_constant_before_they_end() -> None:
    h = contrasts(9)
    np.testing.assert_allclose(h.T @ h, np.eye(8), atol=1e-12)
    np.testing.assert_allclose(h.sum(0), 0, atol=1e-12)
    for k in range(1, 9):
        np.testing.assert_allclose(np.ptp(h[:k, k - 1 :], axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("module", [Scaled, Pooled, RootMeanSquare, ViT])
def test_a_turned_network_answers_the_same(module: type[nn.Module]) -> None:
    network = drawn(module)
    made = turned(network, X)
    assert made
    np.testing.assert_allclose(answers(with_turned(network), X[:8]), answers(network, X[:8]), atol=1e-4, rtol=1e-3)


def test_a_stream_is_one_group_of_all_that_it_touches(vit: Network) -> None:
    (stream,) = streams(vit.graph)
    assert dict(stream.constants).keys() == {"positions", "token"}
    assert dict(stream.readers)["head"] == "norm"
    (group,) = (g for g in channel_groups(vit.graph).groups if g.norms)
    assert group.size == stream.width == 32
    assert set(group.norms) == set(stream.norms)
    assert set(group.producers) == set(stream.writers)


def test_where_a_norm_makes_the_stream_it_stays_as_it_is() -> None:
    network = drawn(After)
    assert streams(network.graph) == ()
    assert turned(network, X) == {}
    assert not any(g.norms for g in channel_groups(network.graph).groups)


def test_what_is_cut_off_is_what_counts_least(vit: Network) -> None:
    want, group = answers(vit, X), next(g for g in channel_groups(vit.graph).groups if g.norms)
    whole = with_turned(vit)
    known = profile(whole, X, np.random.default_rng(0))
    errors = []
    for k in (28, 20, 12):
        cut = [known.width(group.name, k)]
        assert cut[0].keep == tuple(range(k))
        small = correct(whole, stitch(whole, known, cut), cut, X)
        assert small.graph.total_macs < vit.graph.total_macs
        plain = [Width(group.name, tuple(range(k)))]
        naive = correct(vit, edit.apply(vit, plain), plain, X)
        errors.append([float(np.square(answers(n, X) - want).mean()) for n in (small, naive)])
    ours, theirs = np.array(errors).T
    assert (ours < 0.7 * theirs).all()
    assert (np.diff(ours) > 0).all()
