"""Which arrays a narrower group takes parts of, and which parts."""

from __future__ import annotations

from chipfit.core.edits import Same, Take
from chipfit.core.graph import Graph, op
from chipfit.space.edits import Width, edited
from models.residual import residual


def test_layers_lose_channels_out_and_their_readers_channels_in() -> None:
    made = edited(residual(), [Width("stem", (0, 5))])
    assert made.arrays["stem.weight"] == Take("stem.weight", {0: (0, 5)})
    assert made.arrays["stem.bias"] == Take("stem.bias", {0: (0, 5)})
    assert made.arrays["a1.weight"] == Take("a1.weight", {1: (0, 5)})
    assert made.arrays["a1.bias"] == Same("a1.bias")
    assert made.arrays["a2.weight"] == Take("a2.weight", {0: (0, 5)}), "it makes the same group, on another input"
    assert made.channels == {name: {0: (0, 5)} for name in ("stem", "r0", "a2", "add_a", "r1")}
    assert all(name == model for name, model in made.stands_for.items())


def test_both_axes_of_a_layer_between_two_groups() -> None:
    made = edited(residual(), [Width("stem", (1,)), Width("a1", (2, 3))])
    assert made.arrays["a1.weight"] == Take("a1.weight", {0: (2, 3), 1: (1,)})
    assert made.arrays["a2.weight"] == Take("a2.weight", {0: (1,), 1: (2, 3)})


def mixed() -> Graph:
    """Two convolutions side by side, a depth-wise one over both, flattened for a dense layer."""
    conv = {"kernel": (1, 1), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "bias": 0}
    return Graph(
        (
            op("x", "input", (), (1, 2, 1)),
            op("a", "conv", ("x",), (2, 2, 1), "a", groups=1, **conv),
            op("b", "conv", ("x",), (3, 2, 1), "b", groups=1, **conv),
            op("both", "concat", ("a", "b"), (5, 2, 1), axis=0),
            op("dw", "conv", ("both",), (5, 2, 1), "dw", groups=5, **conv),
            op("slope", "prelu", ("dw",), (5, 2, 1), "slope", single=1),
            op("flat", "flatten", ("slope",), (10,)),
            op("head", "linear", ("flat",), (2,), "head", bias=0),
        ),
        "head",
    )


def test_places_behind_concatenations_depthwise_layers_and_flattening() -> None:
    made = edited(mixed(), [Width("b", (0, 2))])
    assert made.channels["both"] == made.channels["dw"] == {0: (0, 1, 2, 4)}, "all of a, then what is left of b"
    assert made.graph["dw"]["groups"] == 4
    assert made.arrays["dw.weight"] == Take("dw.weight", {0: (0, 1, 2, 4)}), "one input channel each, which stays"
    assert made.arrays["slope.weight"] == Same("slope.weight"), "one slope for all channels"
    assert made.channels["flat"] == {0: (0, 1, 2, 3, 4, 5, 8, 9)}, "two pixels for each channel"
    assert made.arrays["head.weight"] == Take("head.weight", {1: (0, 1, 2, 3, 4, 5, 8, 9)})
    assert made.arrays["a.weight"] == Same("a.weight")
