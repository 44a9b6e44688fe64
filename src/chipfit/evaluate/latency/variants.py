"""Networks to measure a device with: what a menu makes of a model, from as it is to nearly nothing.

Widths drawn one by one give networks that all cost about half. So each network has a level of its own that its
decisions are drawn around, and networks of uniform width are among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipfit.core.graph import Graph
from chipfit.search.uniform import narrowings
from chipfit.space import edits as on_graph
from chipfit.space.choices import MenuSpace
from chipfit.space.menu import Assignment, Menu
from chipfit.space.offer import offer

UNIFORM = 4
"""One network in so many is of uniform width."""

TRIES = 20
"""Draws for each network that is still missing, before the menu counts as used up."""


def variants(graph: Graph, bits: Sequence[int], block: dict[int, int], n: int, rng: np.random.Generator) -> list[Graph]:
    """Up to `n` different networks of a model's menu, the model itself first; fewer where the menu has no more.

    Args:
        graph: the model.
        bits: precisions that may be used.
        block: channels to a step of the widths, by precision.
        n: how many.
        rng: draws them.
    """
    menu = offer(graph, block, bits=bits).menu
    space = MenuSpace(menu)
    uniform = [a for b in bits for a in narrowings(menu, b)]
    rng.shuffle(uniform)
    found: dict[str, Graph] = {}
    tried: set[Assignment] = set()
    wanted = [menu.as_is, *uniform[: max(1, n // UNIFORM)]]
    for k in range(TRIES * n):
        a = wanted[k] if k < len(wanted) else space.repaired(drawn(menu, rng))
        if a in tried:
            continue
        tried.add(a)
        made = on_graph.apply(graph, menu.edits(a))
        found.setdefault(made.key, made)
        if len(found) == n:
            break
    return list(found.values())


def drawn(menu: Menu, rng: np.random.Generator) -> Assignment:
    """Options around a level that is drawn first; its ties may not hold.

    Precisions are all as they are, all low or mixed, a third of the networks each.
    """
    level, precision = rng.random(), rng.integers(3)
    chosen = []
    for d in menu.decisions:
        last = len(d.options) - 1
        if d.kind == "precision":
            chosen.append(int(rng.integers(last + 1)) if precision == 2 else last * int(precision))
        elif d.kind == "width":
            # a mean share of `level` and a spread of its own: Beta(2 l, 2 (1 - l)), widened where it would be a point
            share = rng.beta(0.2 + 2 * level, 0.2 + 2 * (1 - level))
            chosen.append(min(last, int(share * (last + 1))))
        else:
            chosen.append(int(rng.random() < level / 2) * last)
    return tuple(chosen)
