"""A design for a budget where the time was over before the solver had one that holds it: cheap, measured, certain.

The solver looks for the best design and proves it, which of large menus takes minutes; and the first one that it finds
may miss the budget by a per cent when it is measured. What is left then needs no search: a good assignment is a few
eliminations away (`search.hull`), one of uniform width needs none. These are measured and drawn back until one holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from chipfit.core.deadline import Deadline
from chipfit.core.errors import Infeasible
from chipfit.core.types import Limit
from chipfit.evaluate.design import Design, fitted, thrifty, timed
from chipfit.evaluate.sizes import Sizes, sized
from chipfit.evaluate.start import Start
from chipfit.evaluate.timing import Latencies
from chipfit.search.hull import within
from chipfit.search.least import least
from chipfit.search.program import tabulate
from chipfit.search.uniform import narrowings, uniform_width
from chipfit.space.menu import Assignment, Menu

MARGIN = 0.97
"""What is aimed at, as a share of the latency limit: there is no time for a file that misses it in the end."""

HASTE_S = 8.0
"""Seconds after which the narrowest and the cheapest networks are all that is still looked at."""


def in_haste(
    starts: Sequence[Start],
    limits: Sequence[Limit],
    timing: Latencies,
    bits: Sequence[int],
    sizes: dict[str, Sizes],
) -> tuple[Start, Design] | None:
    """The first of the starts with a design that holds the limits, as measured; None where none was found."""
    for start in starts:
        of = sizes[start.entry.name]
        with suppress(Infeasible):
            return start, _drawn_back(start, limits, timing, bits, of)
        for design in _least(start, limits, timing, bits, of):
            return start, design
    return None


def _drawn_back(start: Start, limits: Sequence[Limit], timing: Latencies, bits: Sequence[int], sizes: Sizes) -> Design:
    """The best of what needs no search, drawn back until it holds the limits.

    Raises:
        Infeasible: nothing that was measured does.
    """
    menu, prefer = start.menu, partial(start.menu.total, "damage")
    solve = sized(partial(_chosen, thrifty(menu), bits), sizes, prefer)
    return fitted(menu, start.entry.network.graph, limits, timing, solve, prefer, table_error=start.table_error,
                  margin=MARGIN, deadline=Deadline.after(HASTE_S))  # fmt: skip


def _chosen(menu: Menu, bits: Sequence[int], limits: Sequence[Limit]) -> Assignment:
    """The least damaged one of those within the limits, as foretold.

    Raises:
        Infeasible: none is; `nearest` has the least of each metric that uniform networks reach.
    """
    found = [within(menu, limits), *(uniform_width(menu, limits, b) for b in bits)]
    held = [a for a in found if a is not None]
    if held:
        return min(held, key=partial(menu.total, "damage"))
    known = [a for b in bits for a in narrowings(menu, b)]
    nearest = {x.metric: min((menu.total(x.metric, a) for a in known), default=float("inf")) for x in limits}
    raise Infeasible("nothing that needs no search holds the budget", nearest)


def _least(
    start: Start, limits: Sequence[Limit], timing: Latencies, bits: Sequence[int], sizes: Sizes
) -> Iterator[Design]:
    """The narrowest and the cheapest networks that hold the limits, whatever the tables foretold of them."""
    menu, ms = start.menu, next((x.value for x in limits if x.metric == "latency_ms"), None)
    narrow = [narrowed for b in bits for narrowed in narrowings(menu, b)[:1]]
    cheap = [least(menu, tabulate(menu, x.metric)).assignment for x in limits if not x.at_least]
    for a in (*narrow, *cheap):
        if a is None:
            continue
        design = timed(menu, start.entry.network.graph, a, timing, ms)
        reached = {"latency_ms": design.measured_ms, "size_mb": sizes.file_mb(a)}
        if all(x.met(reached.get(x.metric, menu.total(x.metric, a))) for x in limits):
            yield design
