"""One decision a layer, whose options are combinations of what is offered for it."""

from __future__ import annotations

import pytest

from chipfit.core.edits import Precision
from chipfit.core.graph import Graph
from chipfit.nets.published import published
from chipfit.nets.trace import trace
from chipfit.space.edits import edited
from chipfit.space.edits.expand import Expand
from chipfit.space.edits.fixed import Fixed
from chipfit.space.edits.pattern import Pattern
from chipfit.space.knobs import Knobs
from chipfit.space.menu import Decision
from chipfit.space.offer import Offer, offer
from models.awkward import AWKWARD, INPUT_SHAPE
from models.residual import residual

BLOCK = {32: 8, 8: 8}


def decision(offered: Offer, layer: str) -> Decision:
    return offered.menu.decisions[offered.menu.find(f"{layer}/weights")]


def test_without_knobs_the_menu_is_what_it_was() -> None:
    graph = residual()
    assert offer(graph, BLOCK, knobs={}) == offer(graph, BLOCK)
    assert offer(graph, BLOCK, knobs={"a1": Knobs()}) == offer(graph, BLOCK), "nothing is offered for it"


def test_int8_of_one_layer() -> None:
    graph = residual()
    offered = offer(graph, BLOCK, bits=(32,), knobs={"head": Knobs(int8=True), "a1": Knobs(int8=True)})
    names = [d.name for d in offered.menu.decisions]
    assert names[-2:] == ["a1/weights", "head/weights"], "in the graph's order"
    found = decision(offered, "a1")
    assert [(o.label, o.edits) for o in found.options] == [
        ("as it is", ()), ("int8", (Precision("a1", 8, alone=True),)),
    ]  # fmt: skip
    assert found.kind == "precision"
    a = [0] * len(names)
    a[offered.menu.find("a1/weights")] = 1
    made = edited(graph, offered.menu.edits(tuple(a))).graph
    assert [o.name for o in made if o.bits == 8] == ["a1", "ra"]


def test_layers_that_are_kept_or_share_weights_get_none() -> None:
    offered = offer(residual(), BLOCK, keep=("a1",), knobs={"a1": Knobs(int8=True), "a2": Knobs(int8=True)})
    assert [d.name for d in offered.menu.decisions if d.name.endswith("/weights")] == ["a2/weights"]


def shared() -> Graph:
    network = trace(AWKWARD["Shared"](), INPUT_SHAPE)
    assert network.graph.sharing
    return network.graph


def test_a_layer_that_shares_its_weights_is_named() -> None:
    graph = shared()
    layer = next(o.name for o in graph if o.name in graph.sharing and o.kind == "conv")
    offered = offer(graph, BLOCK, knobs={layer: Knobs(int8=True)})
    assert (layer, "it shares its weights with another layer") in offered.untouched
    assert not any(d.name.endswith("/weights") for d in offered.menu.decisions)


def test_knobs_for_what_is_no_layer_are_refused() -> None:
    with pytest.raises(KeyError, match="knobs for r0: no such layer; there are stem, a1"):
        offer(residual(), BLOCK, knobs={"r0": Knobs(int8=True)})


CROSS, CORNERS = ((1, 3, 4, 5, 7),), ((0, 2, 4, 6, 8), (0, 1, 2, 3, 4))


def test_every_shape_comes_with_every_kind_of_numbers() -> None:
    offered = offer(residual(), BLOCK, bits=(32,), knobs={"a1": Knobs(patterns=(CROSS, CORNERS), int8=True)})
    found = decision(offered, "a1")
    int8 = Precision("a1", 8, alone=True)
    assert [(o.label, o.edits) for o in found.options] == [
        ("as it is", ()),
        ("int8", (int8,)),
        ("5 of 9 taps", (Pattern("a1", CROSS),)),
        ("5 of 9 taps, int8", (Pattern("a1", CROSS), int8)),
        ("5 of 9 taps", (Pattern("a1", CORNERS),)),
        ("5 of 9 taps, int8", (Pattern("a1", CORNERS), int8)),
    ]
    assert found.kind == "pattern"


def test_wider_kernels_are_not_pruned() -> None:
    knobs = {"short": Knobs(expand=True, int8=True), "a1": Knobs(patterns=(CROSS,), expand=True)}
    offered = offer(residual(), BLOCK, bits=(32,), knobs=knobs)
    assert [o.label for o in decision(offered, "short").options] == [
        "as it is", "int8", "3x3 kernels", "3x3 kernels, int8",
    ]  # fmt: skip
    assert [o.label for o in decision(offered, "a1").options] == ["as it is", "5 of 9 taps", "5x5 kernels"]
    assert decision(offered, "a1").options[-1].edits == (Expand("a1"),)


def test_an_option_is_a_shape_and_a_format() -> None:
    offered = offer(residual(), BLOCK, bits=(32,), knobs={"a1": Knobs((CROSS,), formats=((1, 7), (1, 3)), int8=True)})
    found = decision(offered, "a1")
    assert [o.label for o in found.options] == [
        "as it is", "8 bit", "4 bit", "int8",
        "5 of 9 taps", "5 of 9 taps, 8 bit", "5 of 9 taps, 4 bit", "5 of 9 taps, int8",
    ]  # fmt: skip
    assert found.options[6].edits == (Pattern("a1", CROSS), Fixed("a1", 1, 3))
    assert found.kind == "fixed", "there are as many patterns, which come later"


def test_wide_groups_may_have_few_widths() -> None:
    graph = published("resnet18", 32)
    full, few = offer(graph, BLOCK).menu, offer(graph, BLOCK, widths=5).menu
    widths = {d.name: [o.label for o in d.options if o.label.isdigit()] for d in few.decisions if d.kind == "width"}
    assert max(map(len, widths.values())) == 5
    assert any(w[0] == "512" and w[-1] == "8" for w in widths.values())
    assert [d.name for d in few.decisions] == [d.name for d in full.decisions]
    assert few.valid(few.as_is)
