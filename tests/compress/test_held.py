"""Repair leaves zeros and grids as they are, and makes good what they cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from chipfit.compress.patterns import pattern_sets, prunable
from chipfit.compress.stored import stored_weights
from chipfit.core.edits import Edit, Skip, Width
from chipfit.core.fixed_point import integer_bits, on_grid
from chipfit.core.graph import LAYERS, Network
from chipfit.core.kernel_patterns import kept, patterns_of
from chipfit.export import onnx
from chipfit.space.edits.fixed import Fixed
from chipfit.space.edits.pattern import Pattern
from compress.networks import network_of, noise
from compress.test_refit import error, repaired
from compress.test_statistics import same_in_both_modes


def pruned(network: Network) -> list[Edit]:
    """All kernels that can be, to the fewest places."""
    sets = pattern_sets(network)
    return [Pattern(o.name, sets[o["kernel"][0]][-1]) for o in network.graph if prunable(network.graph, o)]


def fixed(network: Network, fraction: int) -> list[Edit]:
    """All layers whose weights are their own."""
    layers = [o.name for o in network.graph if o.kind in LAYERS and o.name not in network.graph.sharing]
    return [Fixed(name, integer_bits(stored_weights(network, name)), fraction) for name in layers]


def holds(network: Network) -> None:
    """Kernels are within their patterns, and the file has numbers of the layers' formats."""
    file = ModelProto.FromString(onnx.write(network).data)
    written = {c.name: numpy_helper.to_array(c) for c in file.graph.initializer}
    for o in network.graph:
        if o.kind not in LAYERS:
            continue
        weight, stored = network.weights[o.array("weight")], written[o.array("weight")]
        if patterns := patterns_of(o):
            for array in (weight, stored):
                assert (array[~kept(array, patterns)] == 0).all(), f"{o.name} has other places"
                assert (np.count_nonzero(array, (2, 3)) <= o["taps"]).all()
        if o.get("fraction_bits") is not None:
            bits = o["integer_bits"], o["fraction_bits"]
            np.testing.assert_array_equal(stored, on_grid(stored, *bits), f"{o.name} is off its grid")
            np.testing.assert_allclose(stored_weights(network, o.name), stored, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet8", "mobilenetv2", "lenet5", "Concat"])
def test_pruned_and_rounded_networks_answer_better_when_they_are_repaired(name: str) -> None:
    network = network_of(name)
    edits = [*pruned(network), *fixed(network, 5)]
    cut, fitted = repaired(network, edits)
    holds(cut)
    holds(fitted)
    assert error(fitted, network) < 0.9 * error(cut, network)
    same_in_both_modes(fitted, noise(network, 256))


@pytest.mark.parametrize(
    "more", [[Skip("5.add")], [Width("4.body.3", tuple(range(0, 32, 2))), Width("5.body.0", tuple(range(40)))]]
)
def test_with_other_edits_too(more: Sequence[Edit]) -> None:
    network = network_of("resnet8")
    cut, fitted = repaired(network, [*more, *pruned(network), *fixed(network, 4)])
    holds(fitted)
    assert error(fitted, network) < error(cut, network)


def test_whole_float_layers_are_solved_as_ever_behind_a_pruned_one() -> None:
    network = network_of("resnet8")
    edits = [pruned(network)[0]]
    cut, fitted = repaired(network, edits)
    holds(fitted)
    layer = "5.body.0"
    assert not np.array_equal(cut.weights[f"{layer}.weight"], fitted.weights[f"{layer}.weight"])
    assert error(fitted, network) < 0.7 * error(cut, network)
