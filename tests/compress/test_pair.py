"""Which operator of the original an operator of the compressed network answers for."""

from __future__ import annotations

import numpy as np
import torch

from chipfit.compress.edit import apply
from chipfit.compress.forward import batch
from chipfit.compress.pair import Original, Pair, changed, counterparts, shortcuts_first
from chipfit.core.graph import Network
from chipfit.nets.build import build
from chipfit.space.edits import Skip, Width
from compress.networks import network_of, noise


def test_without_skips_everyone_answers_for_himself() -> None:
    graph = network_of("resnet8").graph
    small = apply(network_of("resnet8"), [Width("5.body.0", (0, 1))]).graph
    assert counterparts(graph, small, [Width("5.body.0", (0, 1))]) == {o.name: o.name for o in small}


def test_skipped_identity_blocks_are_absorbed() -> None:
    """Blocks 3, 4, 5 of stage one: when 4 and 5 go, block 3 answers for 5."""
    network = network_of("resnet20")
    edits = [Skip("4.add"), Skip("5.add")]
    small = apply(network, edits).graph
    of = counterparts(network.graph, small, edits)
    relu = {b: network.graph.users[f"{b}.add"][0] for b in (3, 5)}
    assert of["3.add"] == "5.add"
    assert of[relu[3]] == relu[5]
    assert of["3.body.3"] == "3.body.3"
    assert {name for name, model in of.items() if name != model} == {"3.add", relu[3]}


def test_a_projection_answers_for_the_block_it_replaces() -> None:
    network = network_of("resnet8")
    small = apply(network, [Skip("5.add")]).graph
    assert counterparts(network.graph, small, [Skip("5.add")])["5.shortcut.1"] == "5.add"


def test_linear_bottlenecks() -> None:
    network = network_of("mobilenetv2")
    small = apply(network, [Skip("5.add")]).graph
    assert counterparts(network.graph, small, [Skip("5.add")])["4.body.7"] == "5.add"


def test_changes_reach_all_that_reads_them() -> None:
    network = network_of("resnet8")
    edits = [Width("5.body.0", (0, 1))]
    small = apply(network, edits).graph
    found = changed(network.graph, small, counterparts(network.graph, small, edits))
    assert {"5.body.0", "5.body.3", "5.add", small.output} <= found
    assert not {"0", "3.body.0", "4.body.0", "5.shortcut.0"} & found
    assert changed(network.graph, network.graph, {o.name: o.name for o in network.graph}) == frozenset()


def test_shortcuts_come_first_and_inputs_before_users(net: Network) -> None:
    order = shortcuts_first(net.graph)
    place = {o.name: n for n, o in enumerate(order)}
    assert set(place) == {o.name for o in net.graph}
    assert all(place[i] < place[o.name] for o in order for i in o.inputs)
    if "5.shortcut.1" in place:
        assert place["5.shortcut.1"] < place["5.body.0"]


def test_values_of_the_original_in_any_order_and_only_while_wanted() -> None:
    network = network_of("resnet8")
    x = batch(noise(network, 8))
    names = ["5.add", "3.add", "4.body.0"]
    with torch.inference_mode():
        expected = build(network).capture(x, names)
        original = Original(network, x)
        original.want(names, moments=["5.body.3"])
        for name in names:
            torch.testing.assert_close(original.value(name), expected[name], atol=1e-4, rtol=1e-4)
        found = original.moments("5.body.3")
        y = build(network).capture(x, ["5.body.3"])["5.body.3"].double()
    torch.testing.assert_close(found.mean, y.mean((0, 2, 3)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.var, y.var((0, 2, 3), correction=0), atol=1e-5, rtol=1e-4)


def test_goals_are_the_kept_channels() -> None:
    network = network_of("resnet8")
    x, edits = batch(noise(network, 8)), [Width("4.body.3", (1, 4, 9))]
    with torch.inference_mode():
        pair = Pair(Original(network, x), apply(network, edits), edits)
        pair.original.want(["4.add"])
        whole = build(network).capture(x, ["4.add"])["4.add"]
        torch.testing.assert_close(pair.goal("4.add"), whole[:, [1, 4, 9]], atol=1e-4, rtol=1e-4)
        assert pair.goal_moments("4.add").mean.shape == (3,)
        for array in pair.weights.values():
            array.zero_()
    assert all(np.any(a) for n, a in network.weights.items() if n.endswith(".weight"))  # it works on copies
