"""Records under a menu's options are those of the edited graphs, each over the decisions that set it and no others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import prod

import numpy as np
import pytest

from chipfit.core.edits import Edit, Precision, Skip, Width
from chipfit.core.graph import Attr, Graph, Op, op
from chipfit.core.kernel import Kernel, fused, kernels
from chipfit.evaluate.cells import ByOperator, Cells, Variants, cells, enough
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from chipfit.space.edits import apply
from chipfit.space.menu import MOST, Decision, Menu, Option
from chipfit.space.offer import offer
from models.awkward import AWKWARD, INPUT_SHAPE
from models.joined import JOINED

MODELS = {**BUILDERS, **AWKWARD, **JOINED}


@cache
def opened(name: str) -> tuple[Graph, Menu]:
    graph = trace(MODELS[name](), (1, 28, 28) if name in BUILDERS else INPUT_SHAPE).graph
    return graph, offer(graph, {32: 8, 8: 8}).menu


def edits_of(menu: Menu, chosen: dict[int, int]) -> tuple[Edit, ...]:
    return tuple(dict.fromkeys(e for d, o in chosen.items() for e in menu.decisions[d].options[o].edits))


def agreed(menu: Menu, chosen: dict[int, int]) -> bool:
    """Whether these choices contradict no tie."""
    pairs = [(a, b) for a, b in menu.ties if a[0] in chosen and b[0] in chosen]
    return all((chosen[d] == o) == (chosen[e] == p) for (d, o), (e, p) in pairs)


@pytest.mark.parametrize("name", MODELS)
def test_records_are_those_of_the_edited_graph(name: str) -> None:
    graph, menu = opened(name)
    rng, compared = np.random.default_rng(0), 0
    found = cells(graph, menu, kernels)
    assert [c.op for c in found] == list(kernels(graph))
    for _ in range(3 * len(found)):
        c = found[rng.integers(len(found))]
        chosen = {d: int(rng.integers(menu.sizes[d])) for d in c.on}
        if agreed(menu, chosen):
            assert c.at(chosen) == kernels(apply(graph, edits_of(menu, chosen))).get(c.op)
            compared += 1
    assert compared > len(found)


@pytest.mark.parametrize("name", [*list(JOINED)[:4], *list(AWKWARD)[::4], "resnet8"])
def test_operators_near_edits_are_all_that_has_to_be_read(name: str) -> None:
    graph, menu = opened(name)
    assert cells(graph, menu, ByOperator(fused)) == cells(graph, menu, kernels)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_no_sum_is_on_four_decisions_at_most(name: str) -> None:
    for c in cells(*opened(name), kernels):
        own = [d for d in c.on if not c.changes(d) & set(c.shared)]
        assert len(own) + min(1, len(c.on) - len(own)) <= MOST
        assert set(c.shared) <= {"cin", "cout"}


def test_a_decision_concerns_what_it_changes() -> None:
    graph, menu = opened("resnet8")
    names = {c.op: {menu.decisions[d].name for d in c.on} for c in cells(graph, menu, kernels)}
    assert names["3.body.0"] == {"0", "3.body.0", "bits:0"}
    assert names["8"] == {"5.body.3", "bits:6"}
    assert names["3.add"] == {"0", "3.body.0", "bits:0"}


def test_what_is_left_of_a_dropped_block_is_read_as_it_is_then() -> None:
    """The ReLU behind the addition is fused to the shortcut's convolution where the block is dropped."""
    graph, menu = opened("resnet8")
    (shortcut,) = (c for c in cells(graph, menu, kernels) if c.op == "4.shortcut.0")
    skip = menu.find("4.body.0"), len(menu.decisions[menu.find("4.body.0")].options) - 1
    kept, left = shortcut.at({}), shortcut.at(dict([skip]))
    assert kept is not None
    assert left == replace(kept, act="relu")
    assert skip[0] in shortcut.on


def test_what_is_in_a_block_goes_with_it() -> None:
    graph, menu = opened("Nested")
    (inner,) = (c for c in cells(graph, menu, kernels) if c.op == "inner.0.0.0")
    own = menu.find("inner.0.0.0")
    ways_out = [n for n, o in enumerate(menu.decisions[own].options) if any(isinstance(e, Skip) for e in o.edits)]
    assert [menu.decisions[own].options[n].label for n in ways_out] == ["skip", "skip with add@3", "skip with add@6"]
    assert own in inner.on
    assert all(inner.at({own: n}) is None for n in ways_out)


def test_of_decisions_that_say_the_same_one_is_enough() -> None:
    """Every layer in a block can be narrowed and says that it is dropped: one that reads another width needs one."""
    graph, menu = opened("InBlocks")
    (out,) = (c for c in cells(graph, menu, kernels) if c.op == "mixed")
    saying = [d for d in out.alone if out.drops(d)]
    assert len(saying) == 3
    assert [d for d in out.on if not out.changes(d)] == []
    (add,) = (c for c in cells(graph, menu, kernels) if c.op == "add@2")
    assert len([d for d in add.alone if add.drops(d)]) == 3
    assert len([d for d in add.on if add.drops(d)]) == 1
    assert enough({0: {1, 2}, 1: {2, 3}, 2: {3}}) == (0, 1)
    assert enough({0: {1}, 1: {1}}, [1]) == (1,)


def test_contradictions_are_settled_by_the_first_decision() -> None:
    """No assignment has such cells; they cost what the first says, so that relaxations of the menu stay tight."""
    graph, menu = opened("InBlocks")
    pairs = [
        (c, d, e) for c in cells(graph, menu, kernels) for d in c.on for e in c.on if d < e and c.drops(d) & c.drops(e)
    ]
    assert pairs
    for c, d, e in pairs:
        dropped = next(o for o, record in enumerate(c.alone[e]) if record is None)
        assert c.at({d: 0, e: dropped}) == c.as_is != c.at({e: dropped})
        assert c.at({d: next(o for o, record in enumerate(c.alone[d]) if record is None), e: 0}) is None


@dataclass(frozen=True)
class Count:
    """Something that widths change together."""

    n: int


def test_what_does_not_add_up_is_read_cell_by_cell() -> None:
    graph, menu = opened("resnet8")

    def weights(of: Graph) -> dict[str, Count]:
        return {o.name: Count(prod(next(iter(of.weight_shapes(o).values())))) for o in of if o.kind == "conv"}

    def widths(of: Graph) -> dict[str, Count]:
        return {o.name: Count(of.in_shape(o)[0] + o.shape[0]) for o in of if o.kind == "conv"}

    product, sum_ = cells(graph, menu, weights), cells(graph, menu, widths)
    inner = next(c for c in product if c.op == "5.body.0")
    assert len(inner.combined) == prod(len(menu.decisions[d].options) for d in inner.on)
    for c in (inner, next(c for c in sum_ if c.op == "5.body.0")):
        read = weights if c is inner else widths
        for cell, record in c.records.items():
            edited = apply(graph, edits_of(menu, dict(zip(c.on, cell, strict=True))))
            assert record == read(edited).get(c.op)
    assert not any(c.combined for c in sum_)
    assert {c.shared for c in sum_ if c.op == "5.body.0"} == {("n",)}


def test_an_operator_may_be_there_under_an_option_only() -> None:
    graph, menu = opened("resnet8")

    def low(of: Graph) -> dict[str, Kernel]:
        return {name: k for name, k in kernels(of).items() if k.bits == 8 and k.kind == "linear"}

    (only,) = cells(graph, menu, low)
    assert only.as_is is None
    assert {menu.decisions[d].name for d in only.on} >= {"bits:6"}
    there = [cell for cell, record in only.records.items() if record is not None]
    assert there
    assert all(cell[only.on.index(menu.find("bits:6"))] == 1 for cell in there)


def test_what_was_fused_may_stand_alone_where_a_block_is_dropped() -> None:
    """The inner block's ReLU then reads the stem's map, which the outer block adds to its own: a kernel of its own."""
    window: dict[str, Attr] = {"kernel": (3, 3), "padding": (1, 1), "stride": (1, 1), "dilation": (1, 1)}

    def conv(name: str, source: str) -> Op:
        return op(name, "conv", (source,), (16, 8, 8), name, **window, groups=1, bias=1)

    shape = (16, 8, 8)
    ops = (
        op("x", "input", (), (3, 8, 8)),
        conv("stem", "x"),
        conv("a", "stem"),
        op("between", "relu", ("a",), shape),
        conv("b", "between"),
        op("inner", "add", ("b", "stem"), shape),
        op("act", "relu", ("inner",), shape),
        conv("c", "act"),
        op("outer", "add", ("c", "stem"), shape),
        op("mean", "global_pool", ("outer",), (16,), keep=0),
        op("head", "linear", ("mean",), (10,), "head", bias=1),
    )
    graph = Graph(ops, "head")
    menu = offer(graph, {32: 8, 8: 8}).menu
    found = {c.op: c for c in cells(graph, menu, kernels)}
    alone = found["act"]
    assert alone.as_is is None
    assert {menu.decisions[d].name for d in alone.on} == {"stem", "a", "outer", "bits:stem"}
    for cell, record in alone.records.items():
        chosen = dict(zip(alone.on, cell, strict=True))
        assert record == kernels(apply(graph, edits_of(menu, chosen))).get("act")
    assert len({record for record in alone.records.values() if record is not None}) == 4


def test_an_option_is_applied_once_however_often_it_is_read() -> None:
    graph, menu = opened("resnet8")
    variants = Variants(graph, menu)
    first = variants.cells(kernels)
    assert variants.edited([(0, 1)]) is variants.edited([(0, 1)])
    assert variants.cells(kernels) == first


def test_a_width_and_a_precision_said_by_one_decision_are_read_together() -> None:
    graph, menu = opened("lenet5")
    group = next(e for d in menu.decisions for o in d.options for e in o.edits if isinstance(e, Width))
    site = next(e for d in menu.decisions for o in d.options for e in o.edits if isinstance(e, Precision))
    decision = Decision("both", "width", (Option("as is"), Option("small", (group, site))))
    found: dict[str, Cells[Kernel]] = {c.op: c for c in cells(graph, Menu(graph.key, (decision,)), kernels)}
    after = kernels(apply(graph, (group, site)))
    assert any(c.on for c in found.values())
    assert {name: c.at({0: 1}) for name, c in found.items()} == after


def test_a_record_may_be_a_plain_value() -> None:
    graph, menu = opened("resnet8")
    shapes = {c.op: c for c in cells(graph, menu, lambda of: {o.name: o.shape for o in of})}
    last = menu.find("5.body.3")
    for o in range(len(menu.decisions[last].options)):
        edited = apply(graph, edits_of(menu, {last: o}))
        assert shapes["5.add"].at({last: o}) == edited["5.add"].shape
    assert shapes["5.add"].on == (last, menu.find("5.body.0"))[:: 1 if last < menu.find("5.body.0") else -1]
