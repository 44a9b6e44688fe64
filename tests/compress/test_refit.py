"""Refits answer more like the original, and stay honest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.compress.pair import shortcuts_first
from chipfit.compress.profile import profile, stitch
from chipfit.compress.refit import Rows, chains, refit, solve
from chipfit.core.edits import Edit
from chipfit.core.graph import Network
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.space.edits import Skip
from chipfit.space.groups import channel_groups
from compress.networks import answers, network_of, noise
from compress.test_statistics import same_in_both_modes


def repaired(network: Network, edits: list[Edit], n: int = 256) -> tuple[Network, Network]:
    """After the edits: stitched, and refitted on `n` inputs."""
    x = noise(network, n)
    small = stitch(network, profile(network, x[:128], np.random.default_rng(0)), edits)
    return small, refit(network, small, edits, x, np.random.default_rng(1))


def halves(network: Network) -> list[Edit]:
    found = profile(network, noise(network, 128), np.random.default_rng(0))
    return [found.width(g.name, g.size // 2) for g in channel_groups(network.graph).groups]


def error(a: Network, b: Network) -> float:
    """Of the logits on new inputs, as a share of their spread."""
    x = noise(a, 64, seed=11)
    want = answers(b, x)
    return float(np.abs(answers(a, x) - want).mean() / want.std(0).mean())


@pytest.mark.long
def test_better_than_stitched_and_honest(net: Network) -> None:
    stitched, fitted = repaired(net, edits := halves(net))
    assert fitted.graph.key == stitched.graph.key
    assert error(fitted, net) < 0.95 * error(stitched, net)
    same_in_both_modes(fitted, noise(net, 256))
    assert trace(build(fitted), net.graph.input_shape).graph.key == fitted.graph.key
    assert edits


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "blocks"), [("resnet8", ["4.add"]), ("resnet20", ["4.add", "5.add"]), ("mobilenetv2", ["5.add"])]
)
def test_skipped_blocks_are_absorbed(name: str, blocks: list[str]) -> None:
    network = network_of(name)
    stitched, fitted = repaired(network, [Skip(b) for b in blocks])
    assert error(fitted, network) < 0.5 * error(stitched, network)


def test_nothing_to_repair_is_nothing_repaired(net: Network) -> None:
    _, fitted = repaired(net, [], n=64)
    x = noise(net, 16, seed=11)
    np.testing.assert_allclose(answers(fitted, x), answers(net, x), atol=5e-3, rtol=5e-3)


def test_the_fit_is_least_squares_held_by_the_ridge() -> None:
    g = torch.Generator().manual_seed(0)
    u = torch.randn(400, 6, generator=g) + 2
    true, b = torch.randn(3, 6, generator=g), torch.tensor([1.0, -2.0, 0.5])
    f, c = torch.tensor([2.0, 1.0, -0.5]), torch.tensor([0.3, 0.0, 1.0])
    rows = Rows(u, f * (u @ true.T + b) + c, f, c)
    w, found = solve(rows, true.double(), intercept=True, rounds=0)
    torch.testing.assert_close(w, true.double(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found, b.double(), atol=1e-3, rtol=1e-3)
    held, _ = solve(rows, torch.zeros(3, 6).double(), intercept=True, rounds=0)
    assert 0.9 < float(held.norm() / true.norm()) < 1.0


def test_the_relu_is_taken_into_account() -> None:
    """One output that must be a kinked function of its inputs: negative goals need not be met exactly."""
    g = torch.Generator().manual_seed(1)
    u = torch.randn(2000, 4, generator=g)
    goal = (u @ torch.randn(1, 4, generator=g).T) + 0.7 * (u[:, :1] ** 2 - 1)
    rows = Rows(u, goal, torch.ones(1), torch.zeros(1))

    def loss(rounds: int) -> float:
        w, b = solve(rows, torch.zeros(1, 4).double(), intercept=True, rounds=rounds)
        return float((torch.relu(u.double() @ w.T + b) - torch.relu(goal)).square().mean())

    assert loss(3) < 0.97 * loss(0)


def test_chains_end_where_the_error_counts() -> None:
    graph = network_of("resnet8").graph
    found = chains(graph, shortcuts_first(graph))
    assert found["4.body.3"].end.name == "4.add"
    assert found["4.body.3"].other == "4.shortcut.1"
    assert found["4.body.3"].relu is not None
    assert found["4.shortcut.0"].end.name == "4.shortcut.1"
    assert found["4.shortcut.0"].relu is None
    assert found["4.body.0"].end.name == "4.body.1"
    assert found[graph.output].end.name == graph.output


def test_shared_layers_are_not_fitted() -> None:
    graph = network_of("Shared").graph
    assert "twice" not in {o.layer.weights for o in chains(graph, shortcuts_first(graph)).values()}


def test_dead_batch_norms_do_no_harm() -> None:
    network = network_of("resnet8")
    weights = dict(network.weights)
    for name in ("3.body.4.weight", "4.body.1.weight"):
        weights[name] = np.zeros_like(weights[name])
    _, fitted = repaired(Network(network.graph, weights), halves(network))
    assert all(np.isfinite(a).all() for a in fitted.weights.values())
