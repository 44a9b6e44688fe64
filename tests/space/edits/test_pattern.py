"""Pruned kernels: what patterns there are, what a graph says of them, and what is refused."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from chipfit.compress.edit import apply
from chipfit.core.edits import Masked, Take, Width
from chipfit.core.kernel_patterns import patterns_of
from chipfit.space.edits import edited
from chipfit.space.edits.expand import Expand
from chipfit.space.edits.pattern import DIAMOND, ZEROS, Pattern, candidates, drawn_by_hand
from compress.networks import network_of
from models.residual import residual

FIVE = tuple((4, *others) for others in ((0, 1, 2, 3), (5, 6, 7, 8), (1, 3, 5, 7), (0, 2, 6, 8)))
FIVE = tuple(tuple(sorted(p)) for p in FIVE)


def test_there_are_as_many_patterns_as_ways_to_place_the_zeros() -> None:
    counts = {(size, z): len(candidates(size, z)) for size, zeros in ZEROS.items() for z in zeros}
    assert counts == {(3, 1): 8, (3, 2): 28, (3, 3): 56, (3, 4): 70, (5, 6): 924, (5, 8): 495}
    for (size, zeros), n in counts.items():
        found = candidates(size, zeros)
        assert len(set(found)) == n == comb(8 if size == 3 else 12, zeros)
        assert {len(p) for p in found} == {size * size - zeros}
        always = set(range(size * size)).intersection(*found)
        assert always == ({4} if size == 3 else set(DIAMOND)), "the centre stays, and every other place may go"


def test_zeros_are_in_the_order_of_their_places() -> None:
    gone = [tuple(sorted(set(range(9)) - set(p))) for p in candidates(3, 2)]
    assert gone == sorted(gone)
    assert gone[0] == (0, 1)
    assert gone[-1] == (7, 8), "the last place is zeroed too"


def test_kernels_of_seven_have_four_patterns() -> None:
    found = drawn_by_hand()
    assert len(set(found)) == 4
    assert all(25 <= len(p) <= 28 and 24 in p and p[-1] < 49 for p in found)
    assert tuple(p for p in range(49) if 1 <= p // 7 <= 5 and 1 <= p % 7 <= 5) in found


def test_other_sizes_have_none() -> None:
    with pytest.raises(ValueError, match="no patterns of 3x3 kernels with 5 zeros; there are 3x3 with 1, 2, 3, 4 "):
        candidates(3, 5)


def test_the_graph_says_how_many_taps_are_left_and_which() -> None:
    graph = residual()
    uneven = ((0, 4), *FIVE)
    made = edited(graph, [Pattern("a1", uneven), Width("stem", (0, 2, 5))])
    assert made.graph["a1"]["taps"] == 5, "an engine computes the most of any"
    assert patterns_of(made.graph["a1"]) == uneven
    assert made.arrays["a1.weight"] == Masked(Take("a1.weight", {1: (0, 2, 5)}), uneven)
    changed = {o.name for o in made.graph if o.get("taps")}
    assert changed == {"a1"}
    assert made.graph.macs(made.graph["a1"]) == 24 * 3 * 9 * 64, "a runtime computes the zeros too"


def test_kernels_are_within_their_patterns_and_keep_the_best_of_them() -> None:
    network = network_of("mobilenetv2")
    layers = [o for o in network.graph if o.kind == "conv" and o["kernel"] == (3, 3)]
    assert any(o["groups"] > 1 for o in layers)
    edited_network = apply(network, [Pattern(o.name, FIVE) for o in layers])
    for o in layers:
        before, after = (n.weights[o.array("weight")].reshape(-1, 9) for n in (network, edited_network))
        sums = np.stack([np.square(before[:, list(p)]).sum(1) for p in FIVE])
        np.testing.assert_allclose(np.square(after).sum(1), sums.max(0), rtol=1e-5)
        assert ((after == 0) | (after == before)).all()


def test_places_are_those_of_a_widened_kernel() -> None:
    """A 1x1 kernel with four new places around it."""
    cross = ((1, 3, 4, 5, 7),)
    graph = residual()
    made = edited(graph, [Pattern("short", cross), Expand("short")])
    assert made.graph["short"]["kernel"] == (3, 3)
    assert made.graph["short"]["taps"] == 5
    with pytest.raises(ValueError, match="'short' has 1x1 kernels"):
        edited(graph, [Pattern("short", cross)])


@pytest.mark.parametrize(
    ("patterns", "text"),
    [
        ((), "gets the patterns none"),
        (((0, 4), (0, 1)), r"patterns \[\(0, 1\)\]; give ascending places of 0..8 with the centre 4"),
        (((4, 9),), "ascending places of 0..8"),
        (((4, 0),), "ascending places of 0..8"),
    ],
)
def test_patterns_that_do_not_fit_are_refused(patterns: tuple[tuple[int, ...], ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        edited(residual(), [Pattern("a1", patterns)])


def test_only_convolutions_have_patterns() -> None:
    with pytest.raises(KeyError, match="no layer 'head' of kind conv; there are stem, a1"):
        edited(residual(), [Pattern("head", FIVE)])
