"""A layer computed by a program: what the graph becomes, what stands for what, and what the edit says of itself."""

from __future__ import annotations

import pytest

from chipfit.core.edits import Edit, Fitted, Same, Take
from chipfit.space.edits import Precision, Skip, Swap, Width, edited, from_plain, kind_of, to_plain
from chipfit.space.edits.expand import Expand
from compress.networks import network_of

SEPARABLE = "dwconv(x, KxK); pwconv(_, M)"


def test_the_last_operator_has_the_layers_name_and_answers_for_it() -> None:
    graph = network_of("resnet8").graph
    made = edited(graph, [Swap("4.body.0", SEPARABLE)])
    new, last = made.graph["4.body.0#0"], made.graph["4.body.0"]
    assert (new["groups"], new["stride"], new.inputs) == (
        graph.in_shape(graph["4.body.0"])[0],
        (2, 2),
        graph["4.body.0"].inputs,
    )
    assert (last["kernel"], last.inputs, last.shape) == ((1, 1), (new.name,), graph["4.body.0"].shape)
    assert made.within == {"4.body.0#0": "4.body.0"}
    assert made.stands_for == {o.name: o.name for o in graph}
    assert isinstance(made.arrays["4.body.0#0.weight"], Fitted)
    assert made.arrays["4.body.3.weight"] == Same("4.body.3.weight")


def test_a_program_sees_the_layer_as_it_was_narrowed() -> None:
    graph = network_of("resnet8").graph
    edits: list[Edit] = [Width("4.body.0", tuple(range(8))), Swap("4.body.0", "conv(x, Kx1, M/2); conv(_, 1xK, M)")]
    made = edited(graph, edits)
    assert (made.graph["4.body.0#0"].shape[0], made.graph["4.body.0"].shape[0]) == (4, 8)
    source = made.arrays["4.body.0.weight"]
    assert isinstance(source, Fitted)
    assert source.of == Take("4.body.0.weight", {0: tuple(range(8))})


def test_int8_reaches_into_a_program() -> None:
    graph = network_of("resnet8").graph
    made = edited(graph, [Swap("4.body.3", SEPARABLE), Precision("4.body.0", 8)])
    assert made.graph["4.body.3#0"].bits == made.graph["4.body.3"].bits == 8


def test_of_a_dropped_block_nothing_is_left() -> None:
    graph = network_of("resnet8").graph
    assert edited(graph, [Skip("5.add"), Swap("5.body.0", SEPARABLE)]) == edited(graph, [Skip("5.add")])


@pytest.mark.parametrize(
    ("edits", "wrong"),
    [
        ([Swap("1", SEPARABLE)], "no layer '1'"),
        ([Swap("4.body.0", "dwconv(x, KxK)")], "4.body.0"),
        ([Swap("4.body.0", "sleep(x)")], "no opcode 'sleep'"),
        ([Swap("4.body.0", SEPARABLE), Expand("4.body.0")], "computed by a program"),
        ([Swap("4.body.0", SEPARABLE), Swap("4.body.0", "conv(x, KxK, M)")], "two swap edits"),
    ],
)
def test_what_does_not_fit_is_refused(edits: list[Edit], wrong: str) -> None:
    with pytest.raises((KeyError, ValueError), match=wrong):
        edited(network_of("resnet8").graph, edits)


def test_it_is_written_read_and_worded() -> None:
    edit = Swap("4.body.0", SEPARABLE)
    assert to_plain([edit]) == [["swap", "4.body.0", SEPARABLE]]
    assert from_plain([["swap", "4.body.0", SEPARABLE]]) == (edit,)
    assert kind_of(edit).in_words(edit) == f"'4.body.0' as {SEPARABLE}"
