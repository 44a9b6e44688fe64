"""Counts of a menu are those of the network that an assignment makes, to the digit, whatever is concatenated."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from chipfit.compress.edit import apply
from chipfit.core.graph import Network
from chipfit.core.types import Limit
from chipfit.evaluate.counts import priced_counts
from chipfit.evaluate.drawn import random_assignment
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from chipfit.search.assign import assign, reachable
from chipfit.space import edits as on_graph
from chipfit.space.menu import Menu
from chipfit.space.offer import offer
from models.awkward import AWKWARD, INPUT_SHAPE
from models.joined import JOINED

MODELS = {**BUILDERS, **AWKWARD, **JOINED}


@cache
def traced(name: str) -> Network:
    return trace(MODELS[name](), (1, 28, 28) if name in BUILDERS else INPUT_SHAPE)


def counted(name: str, bits: tuple[int, ...] = (32, 8)) -> Menu:
    graph = traced(name).graph
    return priced_counts(graph, offer(graph, {32: 8, 8: 8}, bits=bits))


@pytest.mark.parametrize("bits", [(32, 8), (32,), (8,)])
@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_of_the_edited_graph(name: str, bits: tuple[int, ...]) -> None:
    graph, menu, rng = traced(name).graph, counted(name, bits), np.random.default_rng(0)
    for a in (menu.as_is, *(random_assignment(menu, rng) for _ in range(12))):
        assert menu.valid(a)
        edited = on_graph.apply(graph, menu.edits(a))
        assert menu.total("macs", a) == edited.total_macs
        assert menu.total("params", a) == edited.total_params
        assert menu.total("bops", a) == sum(edited.macs(o) * o.bits**2 for o in edited)


@pytest.mark.parametrize("name", JOINED)
def test_and_of_the_edited_network(name: str) -> None:
    menu, rng = counted(name), np.random.default_rng(1)
    for _ in range(3):
        a = random_assignment(menu, rng)
        small = apply(traced(name), menu.edits(a))
        assert menu.total("macs", a) == small.graph.total_macs
        learnt = sum(w.size for n, w in small.weights.items() if "running" not in n)
        assert menu.total("params", a) == learnt


def test_what_can_be_reached_is_not_called_impossible() -> None:
    graph, menu = traced("Ways").graph, counted("Ways")
    least, a = reachable(menu, "macs")
    assert least == on_graph.apply(graph, menu.edits(a)).total_macs
    assert least < 0.2 * graph.total_macs
    narrowest = tuple(len(d.options) - 1 if d.kind == "width" else 0 for d in menu.decisions)
    assert least == on_graph.apply(graph, menu.edits(narrowest)).total_macs
    assert assign(menu, [Limit("macs", least)], objective="params") is not None


def test_bytes_follow_the_bits_and_shared_arrays_are_stored_once() -> None:
    """By hand: 3x3 convolutions 3 → 32 and 32 → 32 (used three times), each with a bias once folded, dense 32 → 10."""
    weights, channels = 32 * 27 + 32 * 288 + 320, 32 + 32 + 10
    menu = counted("Recurrent")
    assert menu.total("size_mb", menu.as_is) == pytest.approx((4 * weights + 4 * channels) / 1e6)
    again = counted("Recurrent with norms")  # a batch norm for each use folds into a copy for each
    assert again.total("size_mb", again.as_is) - menu.total("size_mb", menu.as_is) == pytest.approx(
        2 * 4 * (32 * 288 + 32) / 1e6
    )
    low = tuple(int(d.kind == "precision") for d in menu.decisions)
    # in int8 each use has arrays of its own in the file
    assert menu.total("size_mb", low) == pytest.approx((weights + 2 * 32 * 288 + 9 * (channels + 2 * 32)) / 1e6)


def test_a_dense_layer_on_rows_is_counted_for_each() -> None:
    graph, menu = traced("Tokens").graph, counted("Tokens")
    mixing = {o.name: graph.macs(o) for o in graph if o.kind == "linear" and len(o.shape) == 2}
    assert len(mixing) == 4
    told = {t.label: float(t.table.flat[0]) for t in menu.terms if t.metric == "macs" and t.label in mixing}
    assert told == mixing
