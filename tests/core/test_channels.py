"""Which axis a layer's arrays are for."""

from __future__ import annotations

import pytest

from chipfit.core.channels import array_axis, foldable, on_channels
from chipfit.core.graph import Graph, Op, op


def layer(kind: str, *shape: int) -> Op:
    return op("layer", kind, ("x",), shape, "layer", bias=1)


@pytest.mark.parametrize(
    ("made", "axis"),
    [
        (layer("conv", 8, 4, 4), 0),
        (layer("batch_norm", 8, 4), 0),
        (layer("linear", 8), 0),
        (layer("linear", 4, 8), 1),
        (layer("linear", 8, 8), 1),
        (layer("linear", 4, 4, 8), 2),
    ],
)
def test_the_axis_of_a_layers_outputs(made: Op, axis: int) -> None:
    assert array_axis(made) == axis
    assert on_channels(made) == (axis == 0)


@pytest.mark.parametrize(("shape", "folds"), [((8,), True), ((8, 8), False), ((8, 8, 8), False)])
def test_a_batch_norm_folds_into_what_has_its_channels(shape: tuple[int, ...], folds: bool) -> None:
    dense = layer("linear", *shape)
    norm = op("norm", "batch_norm", ("layer",), shape, "norm", eps=1e-5)
    graph = Graph((op("x", "input", (), (*shape[:-1], 4)), dense, norm), "norm")
    assert foldable(graph) == ({"norm": "layer"} if folds else {})
    assert foldable(Graph((*graph.ops, op("more", "relu", ("layer",), shape)), "norm")) == {}
    assert foldable(Graph(graph.ops, "layer")) == {}
