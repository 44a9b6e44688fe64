"""The original beside the compressed network: what changed, what each layer should compute, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from chipfit.compress.edit import apply
from chipfit.compress.forward import batch
from chipfit.compress.pair import Original, Pair, changed, shortcuts_first
from chipfit.core.edits import Edited, Take
from chipfit.core.graph import Network
from chipfit.nets.build import build
from chipfit.space.edits import Width, edited
from compress.networks import network_of, noise


def test_changes_reach_all_that_reads_them() -> None:
    network = network_of("resnet8")
    found = changed(network.graph, edited(network.graph, [Width("5.body.0", (0, 1))]))
    assert {"5.body.0", "5.body.3", "5.add", network.graph.output} <= found
    assert not {"0", "3.body.0", "4.body.0", "5.shortcut.0"} & found
    assert changed(network.graph, Edited.nothing(network.graph)) == frozenset()


def test_another_array_is_a_change_too() -> None:
    """Of two operators that are as they were: one computes with other numbers, the other reads what it makes."""
    graph = network_of("resnet8").graph
    made = Edited.nothing(graph)
    other = {"5.body.3.weight": Take("5.body.3.weight", {0: tuple(range(64))})}
    found = changed(graph, replace(made, arrays={**made.arrays, **other}))
    assert {"5.body.3", "5.add"} <= found
    assert "5.body.0" not in found


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
        pair = Pair(Original(network, x), apply(network, edits), edited(network.graph, edits))
        pair.original.want(["4.add"])
        whole = build(network).capture(x, ["4.add"])["4.add"]
        torch.testing.assert_close(pair.goal("4.add"), whole[:, [1, 4, 9]], atol=1e-4, rtol=1e-4)
        assert pair.goal_moments("4.add").mean.shape == (3,)
        for array in pair.weights.values():
            array.zero_()
    assert all(np.any(a) for n, a in network.weights.items() if n.endswith(".weight"))  # it works on copies
