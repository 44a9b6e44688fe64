"""Assignments that are drawn at random, to hold tables against what whole networks take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipfit.space.menu import Assignment, Menu


def random_assignment(menu: Menu, rng: np.random.Generator) -> Assignment:
    """Uniform options, ties repaired towards the first of each pair."""
    return tied(menu, [int(rng.integers(n)) for n in menu.sizes], rng)


def tied(menu: Menu, options: Sequence[int], rng: np.random.Generator) -> Assignment:
    """The options with ties repaired towards the first of each pair."""
    a = list(options)
    free: dict[int, int] = {}  # a decision's options before the first that a tie sets
    for _, (e, p) in menu.ties:
        free[e] = min(p, free.get(e, p))
    for (d, o), (e, p) in menu.ties:
        if (a[d] == o) != (a[e] == p):
            a[e] = p if a[d] == o else int(rng.integers(free[e]))
    return tuple(a)


def spread_out(menu: Menu, n: int, rng: np.random.Generator) -> list[Assignment]:
    """As it is, all int8, and random assignments of which a third each is all fp32, all int8 and mixed."""
    found = [menu.as_is]
    precision = [i for i, d in enumerate(menu.decisions) if d.kind == "precision"]
    if precision:
        found.append(tuple(int(i in precision) for i in range(len(menu.decisions))))
    while len(found) < n + 2:
        a = random_assignment(menu, rng)
        if mode := len(found) % 3:
            a = tuple((mode - 1) if i in precision else o for i, o in enumerate(a))
        found.append(a)
    return list(dict.fromkeys(found))


def to_watch(menu: Menu, n: int, rng: np.random.Generator) -> list[Assignment]:
    """As it is, all int8, and random assignments whose operators are to be seen: two of four mix precisions.

    Every other one is mild: with options nearer to the first, as what is chosen under budgets is; precisions stay as
    they were drawn.
    """
    precision = [i for i, d in enumerate(menu.decisions) if d.kind == "precision"]
    found = spread_out(menu, 0, rng)
    while len(found) < n:
        a = random_assignment(menu, rng)
        if len(found) % 2:
            mild = (o if i in precision else int(o * rng.random()) for i, o in enumerate(a))
            a = tied(menu, list(mild), rng)
        if (mode := len(found) % 4) < 2:
            a = tuple(mode if i in precision else o for i, o in enumerate(a))
        found.append(a)
    return list(dict.fromkeys(found))
