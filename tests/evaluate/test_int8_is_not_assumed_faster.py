"""On recorded tables of a device where int8 loses, layers stay in float although int8 would harm nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chipfit.core.types import Limit
from chipfit.evaluate.design import slower_in_int8, thrifty
from chipfit.nets.load import load_models
from chipfit.search.assign import assign
from chipfit.space.edits import computed_in, drops, narrowed_to
from chipfit.space.menu import Assignment, Menu, Term
from chipfit.space.offer import offer, sites_of

RECORDED = Path(__file__).parents[1] / "golden" / "litert_dscnn.json"
"""Latency terms (ms) of the zoo's DS-CNN on LiteRT 2.3.0 with XNNPACK, an Intel Xeon with VNNI and AMX, one thread."""


@pytest.fixture(scope="module")
def menu() -> Menu:
    recorded = json.loads(RECORDED.read_text())
    (entry,) = load_models(["zoo:fashion-mnist/dscnn"])
    block = {int(bits): step for bits, step in recorded["channel_block"].items()}
    bare = offer(entry.network.graph, block).menu
    terms = [Term("latency_ms", tuple(on), np.array(table), label) for on, table, label in recorded["terms"]]
    return bare.priced([*terms, *harm(bare)])


def harm(menu: Menu) -> list[Term]:
    """Damage of narrower widths; int8 harms nothing."""
    found = []
    for d, decision in enumerate(menu.decisions):
        if decision.kind == "width":
            whole = int(decision.options[0].label)
            left = [0 if drops(o.edits) else narrowed_to(o.edits) or whole for o in decision.options]
            table = 1 - np.array(left) / whole
            found.append(Term("damage", (d,), table, decision.name))
    return found


def everywhere(menu: Menu, bits: int) -> Assignment:
    """The untouched widths in one precision."""
    pick: Callable[[int], int] = lambda d: [computed_in(o.edits) or 32 for o in menu.decisions[d].options].index(bits)  # noqa: E731
    return tuple(pick(d) if x.kind == "precision" else 0 for d, x in enumerate(menu.decisions))


def in_int8(menu: Menu, a: Assignment) -> set[int]:
    """The precision decisions that an assignment takes int8 for."""
    return {
        d
        for d, (decision, o) in enumerate(zip(menu.decisions, a, strict=True))
        if decision.kind == "precision" and computed_in(decision.options[o].edits) == 8
    }


def slow(menu: Menu) -> set[int]:
    """The precision decisions for which int8 alone makes the untouched network slower."""
    sites = slower_in_int8(menu, menu.as_is).keys()
    return {d for d, decision in enumerate(menu.decisions) if sites_of(decision) & sites}


def test_int8_is_slower_here(menu: Menu) -> None:
    assert menu.total("latency_ms", everywhere(menu, 8)) > 1.5 * menu.total("latency_ms", menu.as_is)
    assert [menu.decisions[d].name for d in slow(menu)] == ["bits:0"], "all convolutions, not the dense layer"


@pytest.mark.parametrize("share", [1.0, 0.8, 0.6])
def test_the_design_stays_in_float_there(menu: Menu, share: float) -> None:
    limit = Limit("latency_ms", share * menu.total("latency_ms", menu.as_is))
    found = assign(thrifty(menu), [limit])
    assert not in_int8(menu, found) & slow(menu)
    assert menu.total("latency_ms", found) <= limit.value


def test_where_the_tables_say_the_opposite_it_is_int8(menu: Menu) -> None:
    def turned(t: Term) -> Term:
        table = t.table
        for axis, d in enumerate(t.on):
            if menu.decisions[d].kind == "precision":
                table = np.flip(table, axis)
        return Term(t.metric, t.on, table, t.label)

    other = menu.priced([turned(t) for t in menu.terms if t.metric == "latency_ms"])
    limit = Limit("latency_ms", other.total("latency_ms", everywhere(other, 8)))
    assert in_int8(other, assign(thrifty(other), [limit])) >= slow(menu)
