"""Heads, their widths and dense blocks of a transformer: narrowed, ordered, solved for and dropped."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from chipfit.compress.edit import apply
from chipfit.compress.hessian import hessians
from chipfit.compress.obs import removal_order
from chipfit.compress.profile import Profile, profile, stitch
from chipfit.compress.refit import refit
from chipfit.core.edits import Edit
from chipfit.core.graph import Network
from chipfit.space import edits as on_graph
from chipfit.space.edits import Skip, Width
from chipfit.space.groups import channel_groups, residual_blocks, sites
from chipfit.space.offer import offer
from compress.networks import answers, zeroed
from models.transformer_graph import random_weights, transformer

GROUPS = {"qkv/0": 3, "qkv/1": 4, "mlp1.up": 20, "hq/0": 3, "hq/1": 4, "hv/1": 4, "mlp2.up": 20}
STREAM = {"embed": 12}
"""Whose norms see what is zeroed, so that pruned is not zeroed."""


@cache
def network() -> Network:
    return random_weights(transformer())


def inputs(n: int) -> np.ndarray:
    """Tokens of which each is much like the one before, so that channels depend on one another."""
    noise = np.random.default_rng(3).standard_normal((n, 3, 4))
    return noise.cumsum(2).astype(np.float32)


@cache
def made() -> Profile:
    return profile(network(), inputs(200), np.random.default_rng(0))


def test_groups_blocks_and_sites() -> None:
    graph = network().graph
    coupling = channel_groups(graph)
    assert {g.name: g.size for g in coupling.groups} == {**STREAM, **GROUPS}
    assert coupling.group("hq/0").producers == ("hq", "hk", "hv"), "a head is one of all three"
    assert coupling.group("hq/1").products == ("hand.scores",), "queries and keys are as wide, values need not be"
    assert coupling.group("embed").norms == ("norm1", "norm2", "norm3", "norm4", "norm5")
    blocks = {b.name: b.shortcut for b in residual_blocks(graph)}
    assert blocks == {"add1": "placed", "add2": "add1", "add3": "add2", "add4": "add3"}
    found = {s.name: s.ops for s in sites(graph)}
    assert found.keys() == {"head", "embed", "qkv", "packed.proj", "mlp1.up", "mlp1.down"}, "by shape, and the head"
    assert found["packed.proj"] == ("packed.proj", "hq", "hk", "hv", "hand.proj")


def test_a_narrower_graph_says_so_in_every_shape() -> None:
    graph = on_graph.apply(network().graph, [Width("hq/0", (0, 2)), Width("hq/1", (1, 2, 3)), Width("hv/1", (0,))])
    assert graph["hq"].shape == (5, 6)
    assert graph["hq.split"].shape == graph["hq.split"]["to"] == (5, 2, 3)
    assert graph["hand.k.t"].shape == (2, 3, 5)
    assert graph["hand.biased"].shape == graph["pairs"].shape == (2, 5, 5)
    assert graph["hand.flat"].shape == (5, 2)
    assert graph["hand.proj"].shape == (5, 12)


@pytest.mark.parametrize("group", GROUPS)
def test_pruned_is_zeroed(group: str) -> None:
    keep = (0, 2) if GROUPS[group] < 20 else (1, 2, 7, 19)
    small = apply(network(), [Width(group, keep)])
    assert small.graph == on_graph.apply(network().graph, [Width(group, keep)])
    np.testing.assert_allclose(
        answers(small, inputs(4)), answers(zeroed(network(), group, keep), inputs(4)), atol=1e-4, rtol=1e-3
    )


def test_a_head_that_nobody_listens_to_goes_first() -> None:
    net = network()
    weights = {name: w.copy() for name, w in net.weights.items()}
    weights["hand.proj.weight"][:, 4:8] *= 1e-3
    weights["hk.weight"][[2, 6, 10]] *= 1e-3  # the third channel of each head
    deaf, groups = Network(net.graph, weights), channel_groups(net.graph)
    moments = hessians(deaf, inputs(100), np.random.default_rng(0))
    assert removal_order(deaf, groups.group("hq/0"), moments)[0] == 1
    assert removal_order(deaf, groups.group("hq/1"), moments)[0] == 2
    for g in groups.groups:
        assert sorted(removal_order(deaf, g, moments)) == list(range(g.size))


def error(small: Network) -> float:
    x = inputs(300)[200:]
    return float(np.square(answers(small, x) - answers(network(), x)).mean())


@pytest.mark.parametrize(
    "edits",
    [(("mlp1.up", 12),), (("qkv/0", 2), ("hv/1", 2)), (("hq/0", 2), ("hq/1", 3), ("mlp2.up", 10))],
)
def test_stitching_and_solving_repair(edits: tuple[tuple[str, int], ...]) -> None:
    real: list[Edit] = [made().width(group, n) for group, n in edits]
    plain, stitched = apply(network(), real), stitch(network(), made(), real)
    solved = refit(network(), stitched, real, inputs(200), np.random.default_rng(0))
    assert error(solved) < error(stitched) < error(plain)


def test_a_dropped_block_is_made_good_by_the_layer_before_it() -> None:
    edits = [Skip("add3")]
    dropped = apply(network(), edits)
    assert "hand.scores" not in dropped.graph.by_name
    assert "pairs.value" not in dropped.weights
    assert error(refit(network(), dropped, edits, inputs(200), np.random.default_rng(0))) < 0.8 * error(dropped)


def test_the_menu_offers_heads_one_by_one_and_whole_blocks() -> None:
    menu = offer(network().graph, {32: 8, 8: 8}).menu
    labels = {d.name: [o.label for o in d.options] for d in menu.decisions}
    assert labels["qkv/0"] == ["3", "2", "skip"]
    assert labels["mlp1.up"] == ["20", "16", "8", "skip"]
    assert labels["bits:mlp1.up"] == ["fp32", "int8"]
    said = {menu.decisions[d].name for (d, o), _ in menu.ties if menu.decisions[d].options[o].edits == (Skip("add3"),)}
    assert len(said) == 1, "what drops a block is said in all its decisions, tied to the first"
