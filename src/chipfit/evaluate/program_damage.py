"""The damage of programs counts while their layers are there: none is left of it where a block is dropped with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from chipfit.core.edits import Skip
from chipfit.core.graph import Graph
from chipfit.space.groups import residual_blocks
from chipfit.space.menu import Menu, Term
from chipfit.space.programmed import programs_of


def while_there(menu: Menu, graph: Graph, terms: list[Term]) -> list[Term]:
    """The damage terms, one a decision in the menu's order, with those of programs over what drops their layers too."""
    found = list(terms)
    for layer, programs in programs_of(menu).items():
        dropped_by = _dropped_by(menu, graph, layer)
        if dropped_by:
            found[programs.decision] = _unless(menu, terms[programs.decision], dropped_by)
    return found


def _dropped_by(menu: Menu, graph: Graph, layer: str) -> dict[int, list[int]]:
    """The decisions that can drop a layer, each with the options that do."""
    gone = {b.name for b in residual_blocks(graph) if layer in b.body}
    found: dict[int, list[int]] = {}
    for d, decision in enumerate(menu.decisions):
        for o, option in enumerate(decision.options):
            if any(isinstance(e, Skip) and e.block in gone for e in option.edits):
                found.setdefault(d, []).append(o)
    return found


def _unless(menu: Menu, term: Term, dropped_by: Mapping[int, list[int]]) -> Term:
    """The term, with none where the layer is dropped; of several decisions that say so the one that can say most."""
    home = max(dropped_by, key=lambda d: len(dropped_by[d]))
    there = np.ones(len(menu.decisions[home].options))
    there[dropped_by[home]] = 0.0
    return replace(term, on=(home, *term.on), table=np.multiply.outer(there, term.table))
