"""Zeros of pruned kernels and fixed-point numbers come through training, which makes good what they cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chipfit.compress.edit import apply
from chipfit.compress.patterns import pattern_sets, prunable
from chipfit.compress.stored import stored_weights
from chipfit.core.data import Dataset
from chipfit.core.edits import Edit
from chipfit.core.fixed_point import integer_bits, on_grid, stored_as
from chipfit.core.graph import LAYERS, Network
from chipfit.data.load import load_data
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.space.edits.fixed import Fixed
from chipfit.space.edits.pattern import Pattern
from chipfit.train.held import Held, rounded
from chipfit.train.jobs import Job, train_job
from chipfit.train.loop import Schedule, accuracy, train
from compress.test_held import holds
from recipes import small


@given(st.tuples(st.integers(0, 4), st.integers(1, 10)), st.integers(0, 99))
def test_it_rounds_as_edits_do(bits: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = (2 * rng.normal(size=(3, 2, 3, 3))).astype(np.float32)
    factor = np.array([0.5, -1.7, 0.0])
    tensor = torch.from_numpy(weight)
    np.testing.assert_array_equal(rounded(tensor, *bits).numpy(), on_grid(weight, *bits).astype(np.float32))
    got = rounded(tensor, *bits, torch.from_numpy(factor)).numpy()
    np.testing.assert_array_equal(got, stored_as(weight, factor, *bits).astype(np.float32))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


@pytest.fixture(scope="module")
def whole(digits: Dataset) -> Network:
    """A residual network of float weights."""
    torch.manual_seed(0)
    net = small.residual()
    train(net, digits, Schedule(120, 0.1, batch=64), np.random.default_rng(0))
    return trace(net, digits.input_shape)


def compressed(network: Network, fraction: int) -> Network:
    """All its kernels pruned to 5 of 9 taps, and every layer in fixed point."""
    sets = pattern_sets(network)
    edits: list[Edit] = [Pattern(o.name, sets[3][-1]) for o in network.graph if prunable(network.graph, o)]
    for name in [o.name for o in network.graph if o.kind in LAYERS]:
        edits.append(Fixed(name, integer_bits(stored_weights(network, name)), fraction))
    return apply(network, edits)


def test_training_recovers_what_zeros_and_few_bits_cost_and_keeps_them(digits: Dataset, whole: Network) -> None:
    cut = compressed(whole, 2)
    holds(cut)
    trained = train_job(Job("cut", cut, Schedule(100, 0.03, batch=64), 0), digits, None).network
    holds(trained)
    of = {name: accuracy(build(n), digits, digits.validation) for name, n in
          (("whole", whole), ("cut", cut), ("trained", trained))}  # fmt: skip
    assert of["cut"] < of["whole"] - 0.1
    assert of["trained"] > of["whole"] - 0.05
    changed = [n for n in cut.weights if not np.array_equal(cut.weights[n], trained.weights[n])]
    assert {n for n in cut.weights if n.endswith(".weight")} <= set(changed), "all of them learn"


def test_places_that_rounding_made_zero_learn_on(whole: Network) -> None:
    """Of a pruned kernel only what is outside its pattern stays zero, not what fell to zero on a coarse grid."""
    cut = compressed(whole, 1)
    net = build(cut)
    held = Held(net)
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    held.mask_gradients()
    free = {o.name: net.layer(o).weight.grad != 0 for o in cut.graph if o.get("taps")}
    assert free
    for o in cut.graph:
        if o.name in free:
            assert bool((free[o.name].sum((2, 3)) == 5).all())
            assert np.count_nonzero(cut.weights[o.array("weight")]) < int(free[o.name].sum())


def test_what_learns_stands_aside_while_a_batch_is_computed(whole: Network) -> None:
    net = build(compressed(whole, 2))
    held = Held(net)
    weights = [m.weight for m in net.layers.values() if isinstance(m, torch.nn.Conv2d)]
    with torch.no_grad():
        for w in weights:
            w.add_(0.01)
    before = [w.detach().clone() for w in weights]
    with held.rounded():
        assert all(not torch.equal(w, b) for w, b in zip(weights, before, strict=True))
    assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))


def test_other_modules_are_left_alone(whole: Network) -> None:
    for net in (build(whole), torch.nn.Conv2d(1, 2, 3)):
        before = {n: p.detach().clone() for n, p in net.named_parameters()}
        held = Held(net)
        held.settle()
        with held.rounded():
            assert all(torch.equal(p, before[n]) for n, p in net.named_parameters())
