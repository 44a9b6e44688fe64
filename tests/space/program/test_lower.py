"""A program at a place is operators of known kinds that fit where the layer stood."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chipfit.core.graph import Graph, op
from chipfit.space.program import Place, alone, lowered, parse, place_of
from chipfit.space.program.mutate import drawn
from chipfit.space.program.opcodes import EXTENDED, FAITHFUL
from chipfit.space.program.seeds import CONVOLUTION_SEEDS, LOW_RANK, SEPARABLE, same, seeds
from program_places import PLACES, conv


def test_the_last_operator_takes_the_place_of_the_layer() -> None:
    made = lowered(parse("dwconv(x, 3x3); pwconv(_, M)"), PLACES["wider"])
    assert [(o.name, o.kind, o.inputs, o.weights) for o in made.ops] == [
        ("layer#0", "conv", ("before",), "w#0"),
        ("layer", "conv", ("layer#0",), "w"),
    ]
    assert made.arrays == {"w#0.weight": (16, 1, 3, 3), "w.weight": (32, 16, 1, 1), "w.bias": (32,)}
    assert made.instructions == {"layer#0": 1, "layer": 2}


def test_the_layer_as_a_program_is_the_layer() -> None:
    x = op("before", "input", (), (16, 9, 9))
    layer = op(
        "layer", "conv", ("before",), (32, 5, 5), "w",
        kernel=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(1, 1), groups=1, bias=1,
    )  # fmt: skip
    place = place_of(Graph((x, layer), "layer"), "layer")
    assert place == PLACES["strided"]
    assert lowered(same(place), place).ops == (layer,)
    assert alone(same(place), place).total_macs == place.macs
    tokens = Graph(
        (op("before", "input", (), (5, 16)), op("layer", "linear", ("before",), (5, 32), "w", bias=1)), "layer"
    )
    assert lowered(same(PLACES["tokens"]), place_of(tokens, "layer")).ops == tokens.ops[1:]


def test_what_is_no_layer_is_no_place() -> None:
    graph = Graph((op("x", "input", (), (4, 9, 9)), op("a", "relu", ("x",), (4, 9, 9))), "a")
    with pytest.raises(ValueError, match="'a' is a relu; programs stand in for conv and linear"):
        place_of(graph, "a")


def test_stride_is_met_once_along_each_axis() -> None:
    strided = PLACES["strided"]
    column, row = lowered(LOW_RANK, strided).ops
    assert (column["stride"], row["stride"]) == ((2, 1), (1, 2))
    first, last = lowered(SEPARABLE, strided).ops
    assert (first["stride"], last["stride"]) == ((2, 2), (1, 1))
    (point,) = lowered(parse("pwconv(x, M)"), strided).ops
    assert (point["stride"], point["padding"]) == ((2, 2), (0, 0))
    ghost = lowered(parse("pwconv(x, M/2); dwconv(_, 3x3); concat(v1, _)"), strided).ops
    assert [o["stride"] for o in ghost[:2]] == [(2, 2), (1, 1)]  # both halves are of one size


def test_padding_and_dilation_are_the_layers() -> None:
    (one, _) = lowered(SEPARABLE, PLACES["valid"]).ops
    assert one["padding"] == (0, 0)
    (wide, _) = lowered(SEPARABLE, PLACES["dilated"]).ops
    assert (wide["dilation"], wide["padding"]) == ((2, 2), (2, 2))
    (smaller, _) = lowered(parse("dwconv(x, 3x3); pwconv(_, M)"), PLACES["5x5"]).ops
    assert (smaller["padding"], smaller["dilation"]) == ((1, 1), (1, 1))


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("pwconv(x, M/2)", "wider", r"makes \(16, 9, 9\) at 'layer', which makes \(32, 9, 9\)"),
        ("dwconv(x, 3x3)", "wider", r"makes \(16, 9, 9\)"),
        ("dwconv(x, 2x2); pwconv(_, M)", "wider", "instruction 1, dwconv.x, 2x2., .*cannot keep the size"),
        ("pwconv(x, M/2); concat(x, _); add(_, x)", "as wide", "do not meet one by one"),
        ("mean_hw(x); concat(x, _)", "as wide", "do not fit side by side"),
        ("linear(x, M)", "as wide", "the layer is a convolution; its like on maps is pwconv"),
        ("pwconv(x, M)", "tokens", r"reads \(5, 16\), not a map"),
        ("relu(x); shift(_)", "tokens", "instruction 2, .*not a map"),
        ("relu(x)", "strided", "cannot have the stride of 'layer' along rows once on every way"),
        ("part(x, 3, 2); pwconv(_, M)", "wider", "no part 3 of 2"),
        ("down(x, 2); conv(_, 3x3, M)", "wider", r"makes \(32, 5, 5\)"),
        ("pwconv(x, M)", "valid", "makes"),
    ],
)
def test_an_ill_typed_program_says_where(text: str, at: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lowered(parse(text), PLACES[at])


@pytest.mark.parametrize("opcodes", [EXTENDED, FAITHFUL])
def test_random_programs_make_what_the_layer_makes(place: Place, opcodes: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(25):
        program = drawn(place, rng, opcodes=opcodes, most=5)
        made = lowered(program, place)
        assert made.ops[-1].name == place.name
        assert made.ops[-1].shape == place.after
        assert parse(program.text) == program
        graph = alone(program, place)
        names = {name for o in graph for name in graph.weight_shapes(o)}
        assert made.arrays.keys() == names
        assert {o.bits for o in graph} == {32}


def test_seeds_fit_every_place_and_save_products(place: Place) -> None:
    found = seeds(place)
    assert found
    assert all(alone(program, place).total_macs < place.macs for program in found)
    assert len({lowered(program, place).ops for program in found}) == len(found)


def test_all_seeds_fit_a_usual_layer_and_its_narrowed_form() -> None:
    assert len(seeds(conv(64, 64))) == len(CONVOLUTION_SEEDS)
    narrowed = seeds(conv(40, 56))
    assert {p.text for p in CONVOLUTION_SEEDS} - {p.text for p in narrowed} == {
        "pwconv(x, M/2); dwconv(_, KxK); concat(v1, _)"  # half of 56 is no multiple of 8
    }


def test_programs_of_int8_layers_are_int8_where_there_is_a_form() -> None:
    place = replace(PLACES["wider"], bits=8)
    assert {o.bits for o in lowered(SEPARABLE, place).ops} == {8}
    assert lowered(SEPARABLE, place).floats == ()
    gated = lowered(parse("pwconv(x, M); hswish(_)"), place)
    assert [o.bits for o in gated.ops] == [8, 32]
    assert gated.floats == ("layer",)


def test_biases_are_where_the_layer_has_one_and_before_what_bends() -> None:
    place = PLACES["wider"]

    def biased(text: str) -> list[int]:
        return [o["bias"] for o in lowered(parse(text), place).ops if o.kind == "conv"]

    assert biased("dwconv(x, 3x3); pwconv(_, M)") == [0, 1]
    assert biased("dwconv(x, 3x3); relu(_); pwconv(_, M)") == [1, 1]
    assert biased("pwconv(x, M/2); dwconv(_, 3x3); concat(v1, _)") == [1, 1]
