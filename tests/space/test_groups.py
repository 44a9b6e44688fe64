"""Channel groups, blocks and sites, against what a person would say of each network."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from chipfit.core.graph import Graph
from chipfit.nets.trace import trace
from chipfit.space.edits import Skip, apply
from chipfit.space.groups import channel_groups, residual_blocks, sites
from chipfit.space.offer import offer
from models.awkward import INPUT_SHAPE
from models.joined import JOINED
from models.residual import conv, residual


def test_groups_of_a_residual_network() -> None:
    coupling = channel_groups(residual())
    groups = {g.name: g for g in coupling.groups}
    assert groups.keys() == {"stem", "a1", "b1", "b2"}
    assert groups["stem"].producers == ("stem", "a2")
    assert [c.op for c in groups["stem"].consumers] == ["a1", "b1", "short"]
    assert groups["b2"].producers == ("b2", "short")
    assert coupling.frozen == (("head", "its outputs are the network's answers"),)
    with pytest.raises(KeyError, match="no channel group 'nope'"):
        coupling.group("nope")


def test_blocks_and_what_is_left_without_them() -> None:
    graph = residual()
    assert [(b.name, b.shortcut) for b in residual_blocks(graph)] == [("add_a", "r0"), ("add_b", "short")]
    without = apply(graph, [Skip("add_a"), Skip("add_b")])
    assert [o.name for o in without] == ["input", "stem", "r0", "short", "r2", "mean", "head"]  # r1 was ReLU of a ReLU
    assert without["short"].inputs == ("r0",)


def test_sites_change_where_the_resolution_does() -> None:
    assert [s.ops[0] for s in sites(residual())] == ["stem", "b1", "mean"]


def test_offer_lists_every_decision_and_every_refusal() -> None:
    made = offer(residual(), {32: 16, 8: 8})
    labels = {d.name: [o.label for o in d.options] for d in made.menu.decisions}
    assert labels["stem"] == ["16", "8"]
    assert labels["a1"] == ["24", "16", "8", "skip"]
    assert labels["b1"] == ["32", "24", "16", "8", "skip"]
    assert labels["b2"] == ["32", "24", "16", "8"]
    assert labels["bits:mean"] == ["fp32", "int8"]
    assert made.inner == {"add_a": ("a1",), "add_b": ("b1",)}
    assert made.untouched == (("head", "its outputs are the network's answers"),)
    coarse = offer(residual(), {32: 16}, bits=(32,), keep=("a1", "add_b"), depth=True)
    assert [d.name for d in coarse.menu.decisions] == ["b1", "b2", "add_a"]
    assert ("stem", "its 16 channels are no more than one kernel block of 16") in coarse.untouched
    assert ("a1", "'a1' was named to be kept") in coarse.untouched


def test_two_inner_groups_are_tied_to_one_skip() -> None:
    graph = residual()
    ops = list(graph.ops)
    at = next(i for i, o in enumerate(ops) if o.name == "b2")
    ops[at : at + 1] = [conv("bm", "rb", 32, 24, size=4), conv("b2", "bm", 24, 32, size=4)]  # type: ignore[list-item]
    menu = offer(Graph(tuple(ops), "head"), {8: 8}, bits=(8,)).menu
    (((d, o), (e, p)),) = menu.ties
    assert {menu.decisions[d].name, menu.decisions[e].name} == {"b1", "bm"}
    assert menu.decisions[d].options[o].edits == menu.decisions[e].options[p].edits == (Skip("add_b"),)
    assert menu.decisions[d].options[o].label == menu.decisions[e].options[p].label == "skip"


def test_a_block_goes_with_the_one_around_it() -> None:
    """Each inner block says in one decision whether it is there, for whatever reason it is not."""
    graph = trace(JOINED["Nested"](), INPUT_SHAPE).graph
    made = offer(graph, {8: 8}, bits=(32,))
    menu, blocks = made.menu, {b.name: b for b in residual_blocks(graph)}
    assert set(made.inner) == set(blocks)
    for name, block in blocks.items():
        d, inside = menu.find(made.inner[name][0]), block.body & set(blocks)
        skip = [o.label for o in menu.decisions[d].options].index("skip")
        chosen = {d: skip} | dict(tied for first, tied in menu.ties if first == (d, skip))
        a = tuple(chosen.get(i, 0) for i in range(len(menu.decisions)))
        assert menu.valid(a)
        left, edits = apply(graph, menu.edits(a)), menu.edits(a)
        assert [e for e in edits if isinstance(e, Skip)] == [Skip(name)]
        assert not inside & set(left.by_name)
        gone = [menu.find(made.inner[b][0]) for b in inside]
        assert all(menu.decisions[g].options[a[g]].label == f"skip with {name}" for g in gone)
    assert all(bool(o.edits) == (n > 0) for d in menu.decisions for n, o in enumerate(d.options)), "all but the first"
    assert sorted(len(b.body & set(blocks)) for b in blocks.values()) == [0, 0, 0, 1, 2, 5]


def test_one_of_the_blocks_that_share_a_layer_stays() -> None:
    """Whether its arrays are there could not be said in one place else."""
    made = offer(trace(JOINED["Recurrent"](), INPUT_SHAPE).graph, {8: 8})
    assert len(made.inner) == 2
    assert ("add", "'conv.weight' is used in other blocks too, one of which stays") in made.untouched


class OnTwoAxes(nn.Module):
    """One dense layer on tokens and on a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice = nn.Conv2d(3, 16, 4, 4), nn.Linear(16, 16)
        self.last = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.twice(self.stem(x).flatten(2)).reshape(len(x), 16, 4, 4)
        return self.last(self.twice(y.mean((2, 3))).relu())


def test_a_layer_on_two_axes_keeps_its_widths() -> None:
    coupling = channel_groups(trace(OnTwoAxes(), INPUT_SHAPE).graph)
    assert coupling.groups == ()
    reasons = dict(coupling.frozen)
    assert reasons["stem"] == "layer 'twice@2' is used twice with different channels"
    assert reasons["twice"] == reasons["twice@2"] == "'global_pool' goes over them"
