"""Profiles stitch any combination of widths, and survive being written."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from chipfit.compress.edit import apply
from chipfit.compress.hessian import Forms
from chipfit.compress.profile import Profile, key, of_names, profile, real, stitch
from chipfit.core.edits import Edit
from chipfit.core.graph import Graph, Network
from chipfit.nets.build import build
from chipfit.space.edits import Skip, Width
from chipfit.space.groups import channel_groups
from chipfit.space.offer import offer
from compress.networks import answers, network_of, noise


@pytest.fixture(scope="module")
def resnet8() -> tuple[Network, Profile]:
    network = network_of("resnet8")
    return network, profile(network, noise(network, 96), np.random.default_rng(0))


def test_written_and_read(resnet8: tuple[Network, Profile]) -> None:
    _, found = resnet8
    found = replace(found.knowing({"ab": 0.25}), seen=32)
    again = Profile.from_arrays(found.to_arrays())
    assert (again.network, again.order, again.damage) == (found.network, found.order, found.damage)
    assert again.seen == 32
    for name, h in found.hessians.items():
        np.testing.assert_array_equal(again.hessians[name], h)
    diagonal = Profile("n", {"l": np.arange(3, dtype=np.float32)}, {}, {})
    assert Profile.from_arrays(diagonal.to_arrays()).hessians["l"].tolist() == [0, 1, 2]


def test_a_profile_of_the_same_network_under_other_names_is_told(resnet8: tuple[Network, Profile]) -> None:
    network, found = resnet8
    arrays = found.to_arrays()
    assert of_names(arrays, network.graph)
    renamed = Graph(
        tuple(replace(o, weights=o.weights and f"0.{o.weights}") for o in network.graph), network.graph.output
    )
    weights = {f"0.{name}": array for name, array in network.weights.items()}
    assert Network(renamed, weights).digest() == network.digest(), "a digest is blind to names"
    assert not of_names(arrays, renamed)


def test_a_profile_from_before_a_group_was_known_is_told(resnet8: tuple[Network, Profile]) -> None:
    network, found = resnet8
    fewer = replace(found, order=dict(list(found.order.items())[1:]))
    assert not of_names(fewer.to_arrays(), network.graph)


def test_keys_do_not_depend_on_order() -> None:
    a: list[Edit] = [Skip("s"), Width("w", (0, 2))]
    assert key(a) == key(a[::-1])
    assert key(a) != key(a[:1])


def test_menus_keep_the_best_channels(resnet8: tuple[Network, Profile]) -> None:
    network, found = resnet8
    offered = offer(network.graph, {32: 8}).menu
    menu = real(offered, found)
    d = menu.find("5.body.0")
    assert [o.label for o in menu.decisions[d].options] == [o.label for o in offered.decisions[d].options]
    (width,) = menu.decisions[d].options[1].edits
    assert isinstance(width, Width)
    assert set(width.keep) == set(range(64)) - set(found.order["5.body.0"][:8])
    assert menu.terms == offered.terms


def test_widths_are_nested(resnet8: tuple[Network, Profile]) -> None:
    _, found = resnet8
    keeps = [set(found.width("5.body.3", n).keep) for n in range(64, 0, -8)]
    assert all(small < large for large, small in itertools.pairwise(keeps))


def test_nothing_changed_is_nothing_new(resnet8: tuple[Network, Profile]) -> None:
    network, found = resnet8
    made = stitch(network, found, ())
    assert made.graph is network.graph
    assert all(made.weights[k] is network.weights[k] for k in network.weights)


def test_compensation_beats_slicing_in_what_it_minimises() -> None:
    """The next layer's pre-activations, on inputs that the profile has not seen."""
    network = network_of("vgg6")
    found = profile(network, noise(network, 128), np.random.default_rng(0))
    edits, x = [found.width("7", 16)], noise(network, 32, seed=9)
    want, sliced, stitched = (
        value_of(n, "10", x) for n in (network, apply(network, edits), stitch(network, found, edits))
    )
    assert np.square(stitched - want).sum() < 0.7 * np.square(sliced - want).sum()


def test_the_form_for_channels_compensates_nearly_as_well() -> None:
    network = network_of("vgg6")
    x = noise(network, 128)
    coarse = profile(network, x, np.random.default_rng(0), coarse=True, forms=Forms(200, 6000))
    assert coarse.hessians["10"].shape == (32, 32)
    coarse = Profile.from_arrays(coarse.to_arrays())
    edits, seen = [coarse.width("7", 16)], noise(network, 32, seed=9)
    want, sliced, stitched = (
        value_of(n, "10", seen) for n in (network, apply(network, edits), stitch(network, coarse, edits))
    )
    assert np.square(stitched - want).sum() < 0.8 * np.square(sliced - want).sum()


def value_of(network: Network, name: str, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(build(network).capture(torch.from_numpy(x), [name])[name].numpy())


def test_every_width_at_once_fits_the_graph(net: Network) -> None:
    found = profile(net, noise(net, 32), np.random.default_rng(0))
    edits = [found.width(g.name, max(1, g.size // 2)) for g in channel_groups(net.graph).groups]
    made = stitch(net, found, edits)
    x = noise(net, 4, seed=3)
    assert answers(made, x).shape == answers(net, x).shape  # build checks every array's shape
    assert np.isfinite(answers(made, x)).all()


def test_copies_cost_nothing() -> None:
    """A channel that is a copy of another goes without a trace, up to the ridge."""
    network = network_of("vgg6")
    weights = dict(network.weights)
    for name in ("7.weight", "8.weight", "8.bias", "8.running_mean", "8.running_var"):
        weights[name] = weights[name].copy()
        weights[name][16:] = weights[name][:16]
    network = Network(network.graph, weights)
    found = profile(network, noise(network, 256), np.random.default_rng(0))
    x = noise(network, 8, seed=5)
    edits = [Width("7", tuple(range(16)))]
    want, sliced, stitched = (
        value_of(n, "10", x) for n in (network, apply(network, edits), stitch(network, found, edits))
    )
    assert np.abs(stitched - want).mean() < 0.05 * want.std()
    assert np.abs(sliced - want).mean() > 0.3 * want.std()
