"""One start's design for a budget: the exact optimum as measured, what real scores make of it, and a uniform width."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from chipfit.core.deadline import Deadline
from chipfit.core.errors import Infeasible, OutOfTime
from chipfit.core.types import Limit
from chipfit.evaluate.design import MARGIN, Design, fitted, thrifty, timed
from chipfit.evaluate.sizes import Sizes, on_weights, sized
from chipfit.evaluate.start import Start
from chipfit.evaluate.timing import Latencies
from chipfit.recipes.settings import budget_text
from chipfit.search.coefficients import search_coefficients
from chipfit.search.one_design import solved
from chipfit.search.uniform import uniform_width
from chipfit.space.menu import Assignment, Menu

SOLVE_SHARE = 0.5
"""Of what is left of an assignment's time, for one solve: what it finds may miss the budget when it is measured."""

SEARCH_SHARE = 0.4
"""Of an assignment's time for the searched coefficients of one design."""

SEARCH_S = 8.0
"""Seconds at most for the searched coefficients of one design: on these menus they seldom beat the plain optimum."""

WORTH_CORRECTING = 0.02
"""Nats of damage from which on real scores are worth their seconds."""

NOTES_MB = 1e-3
"""What normalisation, classes and versions add to a file, where no ready file tells."""

LAST_LOOKS = 3
"""How often a design is re-solved under a tighter limit after its longest timing, which decides, missed the budget."""


def optimum(
    start: Start,
    limits: Sequence[Limit],
    timing: Latencies,
    drift: float = 1.0,
    sizes: Sizes | None = None,
    deadline: Deadline | None = None,
) -> Design:
    """The exact optimum that holds the limits as measured, by the longest timing and the file's size.

    `drift`: measured / predicted latency of a similar design (1.0 if none).

    Raises:
        Infeasible: no design of this start that was tried holds the limits.
    """
    own = sizes or Sizes(start.menu, start.entry.network.graph, timing, NOTES_MB)
    return _held(start, limits, timing, np.ones(len(start.menu.decisions)), drift, own, deadline)


def corrected(
    start: Start,
    plain: Design,
    limits: Sequence[Limit],
    timing: Latencies,
    seed: int,
    deadline: Deadline,
    sizes: Sizes | None = None,
) -> Design:
    """What coefficients searched against real scores make of the optimum, where more inputs confirm that it is better.

    An optimum that harms next to nothing is left as it is.
    """
    if start.menu.total("damage", plain.assignment) < WORTH_CORRECTING or deadline.passed():
        return plain
    own = sizes or Sizes(start.menu, start.entry.network.graph, timing, NOTES_MB)
    tight = _tighter(limits, 1 / plain.drift)
    if any(x.metric == "size_mb" for x in limits):
        tight = on_weights(tight, own.beside_mb(plain.assignment))
    try:
        better = search_coefficients(
            thrifty(start.menu), tight, start.true_damage, np.random.default_rng(seed),
            random_rounds=6, patience=4, max_solves=10, deadline=deadline.share(SEARCH_SHARE).sooner(SEARCH_S),
            confirm=start.confirmed_damage,
        )  # fmt: skip
        if np.all(better.scale == 1.0):
            return plain
        held = _held(start, limits, timing, better.scale, plain.drift, own, deadline)
    except (Infeasible, OutOfTime):
        return plain
    return min(plain, held, key=lambda d: start.confirmed_damage(d.assignment))


def _held(
    start: Start,
    limits: Sequence[Limit],
    timing: Latencies,
    scale: NDArray[np.float64],
    drift: float,
    sizes: Sizes,
    deadline: Deadline | None,
) -> Design:
    """The optimum for these coefficients, drawn back until its longest timing is within the limit; its file is anyway.

    One that keeps no margin for another sitting is taken where no other is found.
    """
    menu, graph, error = start.menu, start.entry.network.graph, start.table_error
    prefer = partial(menu.total, "damage")
    solve = sized(partial(_in_halves, thrifty(menu), scale, deadline or Deadline.never()), sizes, prefer)
    fit_to = partial(fitted, menu, graph, timing=timing, solve=solve, prefer=prefer, table_error=error)
    budget_ms = next((limit.value for limit in limits if limit.metric == "latency_ms"), np.inf)
    margin, least = MARGIN, np.inf
    close: Design | None = None
    for _ in range(LAST_LOOKS):
        try:
            found = fit_to(limits=limits, drift=drift, margin=margin, deadline=deadline)
        except (Infeasible, OutOfTime):
            if close is None:
                raise
            break
        drift = found.drift
        found = timed(menu, graph, found.assignment, timing, budget_ms * MARGIN)
        room = budget_ms * MARGIN / found.measured_ms
        if room >= 1.0 or np.isinf(budget_ms):
            return found
        if close is None and found.measured_ms <= budget_ms:
            close = found
        least = min(least, found.measured_ms)
        margin *= min(1.0, room)
    if close is None:
        raise Infeasible(f"no design within {budget_text(limits)} was found", {"latency_ms": float(least)})
    return close


def _in_halves(menu: Menu, scale: NDArray[np.float64], deadline: Deadline, limits: Sequence[Limit]) -> Assignment:
    """The exact solver, for half of the time that is left; for the rest too where it found nothing in that.

    Raises:
        Infeasible: nothing is within the limits.
        OutOfTime: nothing was found.
    """
    with suppress(OutOfTime):
        return solved(menu, limits, scale=scale, deadline=deadline.share(SOLVE_SHARE))
    return solved(menu, limits, scale=scale, deadline=deadline)


def _tighter(limits: Sequence[Limit], share: float) -> list[Limit]:
    """The limits with the latency at most this share of what it was."""
    return [
        replace(limit, value=limit.value * min(1.0, share)) if limit.metric == "latency_ms" else limit
        for limit in limits
    ]


def uniform(
    start: Start, limits: Sequence[Limit], timing: Latencies, bits: int, sizes: Sizes, deadline: Deadline
) -> Design | None:
    """One width for all layers in these bits, the widest that holds the limits as measured; None where none does."""
    if deadline.passed():
        return None
    menu, graph = start.menu, start.entry.network.graph

    def solve(scaled: Sequence[Limit]) -> Assignment:
        found = uniform_width(menu, scaled, bits)
        if found is None:
            raise Infeasible("no uniform width holds the budget", {})
        return found

    try:
        prefer = partial(menu.total, "damage")
        within = sized(solve, sizes, prefer)
        return fitted(menu, graph, limits, timing, within, prefer, table_error=start.table_error,
                      deadline=deadline)  # fmt: skip
    except Infeasible:
        return None
