"""Fixed-point weights: which bits they need, which formats are of use, and that what is stored is on the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper

from chipfit.compress.edit import apply
from chipfit.compress.stored import stored_weights
from chipfit.core.edits import Factor, Precision, Rounded, Same
from chipfit.core.fixed_point import bounds, integer_bits, on_grid
from chipfit.core.graph import LAYERS
from chipfit.export import onnx
from chipfit.space.edits import edited, from_plain
from chipfit.space.edits.fixed import Fixed, formats
from compress.networks import network_of
from models.residual import residual


@pytest.mark.parametrize(
    ("largest", "bits"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.01, 2), (2.0, 2), (2.5, 3), (5.0, 4), (9.0, 5), (1e9, 16)]
)
def test_integer_bits_hold_the_largest(largest: float, bits: int) -> None:
    assert integer_bits(np.array([0.1 * largest, -largest])) == bits


def test_no_weights_need_the_sign_alone() -> None:
    assert integer_bits(np.zeros((4, 3))) == integer_bits(np.zeros(0)) == 1


@given(st.floats(1e-3, 1e4))
def test_nothing_is_clamped_but_the_limit_itself(largest: float) -> None:
    low, high = bounds(integer_bits(np.array([largest])), 16)
    assert low <= -largest
    assert high + 2.0**-16 >= largest


@pytest.mark.parametrize(
    ("integer", "slack", "fractions"),
    [
        (1, 1.0, (15,)),
        (1, 1.5, (9, 11, 13, 15)),
        (1, 4.0, (3, 6, 9, 12, 15)),
        (1, 1e9, (1, 4, 7, 10, 13)),
        (4, 4.0, (1, 3, 5, 7, 9, 11)),
        (15, 2.0, (1,)),
        (16, 2.0, (0,)),
    ],
)
def test_formats_go_from_where_another_time_decides_to_16_bits(
    integer: int, slack: float, fractions: tuple[int, ...]
) -> None:
    assert formats(integer, slack) == fractions


@given(st.integers(1, 16), st.floats(1, 1e6))
def test_formats_are_few_and_within_16_bits(integer: int, slack: float) -> None:
    found = formats(integer, slack)
    assert 1 <= len(found) <= 6
    assert all(integer + f <= 16 for f in found)
    assert list(found) == sorted(set(found))


def test_the_graph_says_the_bits_and_the_array_what_is_folded_in() -> None:
    graph = network_of("resnet8").graph
    norm = graph[graph.users["5.body.0"][0]]
    made = edited(graph, [Fixed("5.body.0", 1, 5)])
    assert (made.graph["5.body.0"]["integer_bits"], made.graph["5.body.0"]["fraction_bits"]) == (1, 5)
    factor = Factor(Same(norm.array("weight")), Same(norm.array("running_var")), norm["eps"])
    assert made.arrays["5.body.0.weight"] == Rounded(Same("5.body.0.weight"), 1, 5, factor)
    bare = edited(residual(), [Fixed("head", 2, 3)])
    assert bare.arrays["head.weight"] == Rounded(Same("head.weight"), 2, 3)


@pytest.mark.parametrize("name", ["resnet8", "mobilenetv2", "lenet5"])
def test_the_file_has_the_numbers_of_the_format(name: str) -> None:
    network = network_of(name)
    edits = []
    for n, o in enumerate(o for o in network.graph if o.kind in LAYERS):
        edits.append(Fixed(o.name, integer_bits(stored_weights(network, o.name)), 3 + n % 6))
    made = apply(network, edits)
    file = ModelProto.FromString(onnx.write(made).data)
    constants = {c.name: numpy_helper.to_array(c) for c in file.graph.initializer}
    for e in edits:
        before = stored_weights(network, e.layer)
        written = constants[network.graph[e.layer].array("weight")]
        np.testing.assert_array_equal(written, on_grid(written, e.integer, e.fraction))
        np.testing.assert_allclose(written, on_grid(before, e.integer, e.fraction), atol=1e-6)
        np.testing.assert_allclose(stored_weights(made, e.layer), written, atol=1e-6)


def test_it_is_done_once() -> None:
    network = network_of("resnet8")
    edits = [Fixed("5.body.0", 1, 4), Fixed("4.body.3", 2, 9)]
    once = apply(network, edits)
    twice = apply(once, edits)
    for name, array in once.weights.items():
        np.testing.assert_allclose(twice.weights[name], array, rtol=1e-6)


def test_int8_rounds_what_is_rounded() -> None:
    network = network_of("resnet8")
    made = apply(network, [Fixed("5.body.0", 1, 4), Precision("5.body.0", 8, alone=True)])
    assert made.graph["5.body.0"].bits == 8
    assert made.graph["5.body.0"]["fraction_bits"] == 4


@pytest.mark.parametrize(("integer", "fraction"), [(-1, 4), (4, -1), (0, 0), (9, 8)])
def test_bits_that_no_number_has_are_refused(integer: int, fraction: int) -> None:
    with pytest.raises(ValueError, match="none below 0, and 1 to 16 together"):
        edited(residual(), [Fixed("head", integer, fraction)])


@pytest.mark.parametrize(("integer", "fraction"), [(2.5, 3), (2, 3.0)])
def test_parts_of_bits_are_refused(integer: float, fraction: float) -> None:
    with pytest.raises(ValueError, match="give whole numbers"):
        edited(residual(), [Fixed("head", integer, fraction)])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give whole numbers"):
        edited(residual(), from_plain([["fixed", "head", integer, fraction]]))
