"""The few patterns of a network keep most of its kernels, whatever the scale of its layers."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from chipfit.compress.patterns import best_set, pattern_sets, prunable
from chipfit.compress.stored import stored_weights
from chipfit.core.graph import Network
from chipfit.core.kernel_patterns import kept
from chipfit.space.edits.pattern import candidates, drawn_by_hand
from compress.networks import network_of


def share(kernels: np.ndarray, patterns: tuple[tuple[int, ...], ...]) -> float:
    """Of the squares of kernels (n, 9), what is kept."""
    squares = np.square(kernels.reshape(-1, 3, 3))
    return float((squares * kept(kernels.reshape(-1, 3, 3), patterns)).sum() / squares.sum())


def test_kernels_that_were_made_of_four_patterns_get_these() -> None:
    rng = np.random.default_rng(0)
    every = candidates(3, 4)
    made = [every[i] for i in (3, 17, 40, 66)]
    kernels = np.zeros((200, 9))
    for row, kernel in enumerate(kernels):
        kernel[list(made[row % 4])] = rng.normal(size=5)
    assert best_set(kernels, every) == tuple(made)
    assert best_set(kernels, every[:2]) == every[:2], "there are no more"


@pytest.mark.parametrize("seed", range(3))
def test_it_is_nearly_the_best_set_there_is(seed: int) -> None:
    kernels = np.random.default_rng(seed).normal(size=(60, 9))
    every = candidates(3, 2)
    found = share(kernels, best_set(kernels, every, 3))
    best = max(share(kernels, patterns) for patterns in combinations(every, 3))
    assert best >= found >= 0.99 * best
    alone = max(share(kernels, (p,)) for p in every)
    assert found > alone


def test_a_network_has_one_set_for_each_size_and_count() -> None:
    network = network_of("mobilenetv2")
    sets = pattern_sets(network)
    assert list(sets) == [3], "1x1 kernels have none"
    assert [len(patterns) for patterns in sets[3]] == [4] * 4
    assert [{len(p) for p in patterns} for patterns in sets[3]] == [{8}, {7}, {6}, {5}]
    depthwise = [o for o in network.graph if prunable(network.graph, o) and o["groups"] > 1]
    kernels = np.concatenate([stored_weights(network, o.name).reshape(-1, 9) for o in depthwise])
    kept_of = [share(kernels, patterns) for patterns in sets[3]]
    assert kept_of == sorted(kept_of, reverse=True), "more zeros keep less"


def test_the_scale_of_a_layer_does_not_matter() -> None:
    network = network_of("resnet8")
    louder = dict(network.weights)
    name = "5.body.3.weight"
    louder[name] = 100 * louder[name]
    assert pattern_sets(Network(network.graph, louder)) == pattern_sets(network)


def test_only_the_layers_that_are_named_have_a_say() -> None:
    network = network_of("resnet8")
    layer = "5.body.3"
    (_, _, _, found) = pattern_sets(network, [layer])[3]
    kernels = stored_weights(network, layer).reshape(-1, 9).astype(np.float64)
    assert found == best_set(kernels, candidates(3, 4))


def test_kernels_of_five_and_seven() -> None:
    network = network_of("lenet5")
    first = next(o for o in network.graph if o.kind == "conv")
    assert first["kernel"] == (5, 5)
    assert [{len(p) for p in patterns} for patterns in pattern_sets(network)[5]] == [{19}, {17}]
    wide = replace(network.graph, ops=tuple(o.having(kernel=(7, 7)) if o is first else o for o in network.graph))
    weights = dict(network.weights)
    weights[first.array("weight")] = np.ones((*network.graph.roles(first)["weight"][:2], 7, 7), np.float32)
    assert pattern_sets(Network(wide, weights))[7] == (drawn_by_hand(),)
