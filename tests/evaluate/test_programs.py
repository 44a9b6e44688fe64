"""What layers cost where programs compute them is what the edited graph costs."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.graph import Graph, Op, op
from chipfit.core.kernel import Kernel, kernels
from chipfit.core.types import Limit
from chipfit.evaluate.cells import Variants
from chipfit.evaluate.counts import macs, priced_counts
from chipfit.evaluate.drawn import random_assignment
from chipfit.evaluate.in_time import work
from chipfit.evaluate.pieces import pieces
from chipfit.evaluate.programs import in_place, programmed
from chipfit.evaluate.timed import latency
from chipfit.search.assign import assign, reachable
from chipfit.search.one_design import least, solved
from chipfit.space.edits import apply
from chipfit.space.menu import Menu, Term
from chipfit.space.offer import Offer, offer
from chipfit.space.program import place_of
from chipfit.space.program.lower import fits
from chipfit.space.program.seeds import POINTWISE_USUAL, USUAL, seeds
from chipfit.space.programmed import programs_of, replaceable, without_programs
from compress.networks import network_of

TEXTS = tuple(program.text for program in USUAL)


def offered(graph: Graph, texts: tuple[str, ...] = TEXTS) -> Offer:
    return offer(graph, {32: 8, 8: 8}, programs=dict.fromkeys(replaceable(graph), texts))


def value(kernel: Kernel) -> float:
    return (1.0 if kernel.bits == 32 else 0.3) * work(kernel)


def priced(graph: Graph, menu: Menu) -> Menu:
    """With a made-up latency, the sum of the value of all kernels, and a damage that grows with every option."""
    variants, terms = Variants(graph, menu), list[Term]()
    for c in variants.cells(kernels):
        parts = programmed(pieces(c), variants.programs.get(c.op), in_place)
        terms += latency(menu, parts, value, c.op)
    rng = np.random.default_rng(0)
    for d, decision in enumerate(menu.decisions):
        steps = rng.uniform(0.0, 1.0, len(decision.options)) * (np.arange(len(decision.options)) > 0)
        terms.append(Term("damage", (d,), np.cumsum(steps)))
    return menu.priced(terms)


@pytest.mark.parametrize("name", ["resnet8", "vgg6", "mobilenetv2"])
def test_kernels_and_counts_are_those_of_the_edited_graph(name: str) -> None:
    graph, rng = network_of(name).graph, np.random.default_rng(1)
    menu = priced(graph, offered(graph).menu)
    counted = priced_counts(graph, offered(graph))
    assert name == "mobilenetv2" or programs_of(menu)
    for _ in range(12):
        a = random_assignment(menu, rng)
        edited = apply(graph, menu.edits(a))
        in_graph = sum(value(k) for k in kernels(edited).values())
        assert menu.total("latency_ms", a) == pytest.approx(in_graph, rel=2e-3)  # a ReLU behind a dropped block
        assert counted.total("macs", a) == edited.total_macs
        assert counted.total("params", a) == edited.total_params


def test_a_program_that_fits_some_widths_only_is_left_out() -> None:
    graph = network_of("resnet8").graph
    beside = "pwconv(x, M/2); dwconv(_, KxK); concat(v1, _)"  # 24 channels have no half in steps of 8
    menu = offered(graph, (TEXTS[0], beside)).menu
    assert programs_of(menu)["5.body.0"].texts == ("", TEXTS[0])
    with pytest.raises(KeyError, match="no such layer"):
        offer(graph, {32: 8}, programs={"nowhere": TEXTS})


def test_biases_inside_programs_are_counted() -> None:
    graph, rng = network_of("lenet5").graph, np.random.default_rng(1)
    gated = "linear(x, M/4); linear(x, M/4); sigmoid(_); mul(v1, _); linear(_, M)"
    programs = {n: (gated,) if graph[n].kind == "linear" else TEXTS for n in replaceable(graph)}
    menu = priced_counts(graph, offer(graph, {32: 8, 8: 8}, programs=programs))
    assert {graph[layer].kind for layer in programs_of(menu)} == {"conv", "linear"}
    for _ in range(8):
        a = random_assignment(menu, rng)
        edited = apply(graph, menu.edits(a))
        assert (menu.total("macs", a), menu.total("params", a)) == (edited.total_macs, edited.total_params)


def test_the_solver_for_many_axes_finds_what_the_program_does() -> None:
    graph = network_of("resnet8").graph
    menu = priced(graph, offered(graph).menu)
    whole = menu.total("latency_ms", menu.as_is)
    assert least(menu, "latency_ms")[0] == pytest.approx(reachable(menu, "latency_ms")[0])
    scale = np.random.default_rng(2).uniform(0.2, 1.0, len(menu.decisions))
    for share in (0.6, 0.3, 0.15):
        limits = [Limit("latency_ms", share * whole)]
        found, wanted = solved(menu, limits), assign(menu, limits)
        assert menu.total("damage", found) == pytest.approx(menu.total("damage", wanted))
        assert menu.total("latency_ms", found) <= limits[0].value
        assert solved(menu, limits, scale=scale) == assign(menu, limits, scale=scale)


def test_without_programs_assignments_stay_assignments_of_the_whole_menu() -> None:
    graph = network_of("resnet8").graph
    menu = priced(graph, offered(graph).menu)
    bare = without_programs(menu)
    a = random_assignment(bare, np.random.default_rng(3))
    assert menu.valid(a)
    assert all(a[p.decision] == 0 for p in programs_of(menu).values())
    assert menu.total("latency_ms", a) == pytest.approx(bare.total("latency_ms", a))
    assert not programs_of(bare)


def test_a_program_is_read_as_its_kernels_with_the_activation_last() -> None:
    layer = next(k for k in kernels(network_of("vgg6").graph).values() if k.kind == "conv" and k.cin > 16)
    inside = in_place(layer, TEXTS[0])
    assert [k.attr("groups") for k in inside] == ["dw", 1]
    assert [k.act for k in inside] == ["", layer.act]
    assert sum(map(macs, inside)) < macs(layer) / 4
    narrow = in_place(layer, TEXTS[1], block=1000)
    assert [k.kind for k in narrow] == ["conv", "unblocked", "conv"]


def test_what_programs_may_compute() -> None:
    graph = network_of("resnet8").graph
    names = replaceable(graph)
    assert "4.body.0" in names
    assert not any(graph[n]["kernel"] == (1, 1) for n in names), "shortcuts of few channels"
    assert replaceable(graph, keep=["4"]) == tuple(n for n in names if not n.startswith("4."))
    mobile = network_of("mobilenetv2").graph
    assert all(mobile[n]["groups"] == 1 for n in replaceable(mobile))


def test_1x1_convolutions_of_many_channels_are_replaceable_and_have_seeds_of_their_own() -> None:
    layer = {"kernel": (1, 1), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, "bias": 1}
    sizes = {"a": 64, "b": 32, "c": 64, "d": 96, "e": 8}
    ops, reads = [op("x", "input", (), (64, 6, 6))], "x"
    for name, channels in sizes.items():
        ops.append(op(name, "conv", (reads,), (channels, 6, 6), name, **layer))
        reads = name
    graph = Graph(tuple(ops), "e")
    assert replaceable(graph) == ("a", "d")
    found = seeds(place_of(graph, "d"))
    assert found[:2] == POINTWISE_USUAL
    assert all(fits(program, place_of(graph, "d")) for program in found)


def test_dense_layers_of_many_features_are_replaceable_but_for_the_one_that_answers() -> None:
    def linear(name: str, reads: str, features: int) -> Op:
        return op(name, "linear", (reads,), (features,), name, bias=1)

    layers = (linear("a", "x", 64), linear("b", "a", 32), linear("c", "b", 64), linear("d", "c", 64))
    answer = op("p", "softmax", ("d",), (64,), axis=0)
    graph = Graph((op("x", "input", (), (96,)), *layers, answer), "p")
    assert replaceable(graph) == ("a",)
    menu = offer(graph, {32: 8}, bits=(32,), programs={"a": ("linear(x, M/4); linear(_, M)",)}).menu
    counted = priced_counts(graph, Offer(menu, (), {}))
    for a in ((0,) * len(menu.decisions), (0,) * (len(menu.decisions) - 1) + (1,)):
        edited = apply(graph, menu.edits(a))
        assert counted.total("macs", a) == edited.total_macs
        assert counted.total("params", a) == edited.total_params
