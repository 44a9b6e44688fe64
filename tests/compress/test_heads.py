"""Heads turned onto their principal axes: the same answers, and less lost with each channel."""

from __future__ import annotations

import numpy as np

from chipfit.compress.edit import apply
from chipfit.compress.heads import turned
from chipfit.compress.profile import Profile
from chipfit.core.graph import Network
from chipfit.space.edits import Width
from compress.networks import answers
from models.residual import residual
from models.transformer_graph import random_weights, transformer


def inputs(n: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((n, 3, 4)).cumsum(2).astype(np.float32)


def both() -> tuple[Network, Network]:
    network = random_weights(transformer())
    return network, Network(network.graph, {**network.weights, **turned(network, inputs(64))})


def test_the_answers_are_the_same_and_the_arrays_are_those_of_attention() -> None:
    network, other = both()
    np.testing.assert_allclose(answers(other, inputs(8)), answers(network, inputs(8)), atol=1e-4, rtol=1e-4)
    changed = {name.split(".")[0] for name, w in other.weights.items() if not np.array_equal(w, network.weights[name])}
    assert changed == {"qkv", "packed", "hq", "hk", "hv", "hand"}
    assert np.array_equal(other.weights["hand.proj.bias"], network.weights["hand.proj.bias"])


def test_the_last_channels_of_heads_matter_least() -> None:
    network, other = both()
    x = inputs(200)

    def lost(net: Network, group: str, keep: tuple[int, ...]) -> float:
        return float(np.square(answers(apply(net, [Width(group, keep)]), x) - answers(network, x)).mean())

    for group in ("qkv/1", "hq/1", "hv/1"):
        whole = {0, 1, 2, 3}
        each = [lost(network, group, tuple(sorted(whole - {c}))) for c in range(4)]
        assert lost(other, group, (0, 1, 2)) < min(each)


def test_what_has_no_heads_is_left_alone() -> None:
    assert turned(random_weights(residual()), np.zeros((2, 3, 8, 8), np.float32)) == {}


def test_a_profile_holds_what_was_turned() -> None:
    network, other = both()
    made = Profile(other.digest(), {}, {}, {}, turned=turned(network, inputs(64)))
    again = Profile.from_arrays(made.to_arrays())
    assert again.of(network).digest() == other.digest() == again.network
    assert Profile(network.digest(), {}, {}, {}).of(network) is network
