"""Prices of limits on further metrics, such as a file's size, with which a joint search's bounds are high.

Any prices give bounds (`search.joint_problem`); good ones make them high, so that few designs are left to be solved.
The bound of a design is a concave function of the prices: for one design, that of the least bound without prices, it is
climbed along one price after the other by golden sections. What is best for it is used for all, whose networks within
the same limits are alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chipfit.search.design_costs import Indices, Table, Tabled, tabled
from chipfit.search.elimination import Chosen, Stacked
from chipfit.search.joint_bounds import lower_bounds
from chipfit.search.joint_problem import Form

_ROUNDS = 2
"""Times that each price is climbed, where there are several."""
_DOUBLINGS = 30
_SECTIONS = 14
"""Bounds that are computed between a price that is too low and one that is too high: a thousandth of that is left."""
_GOLDEN = (5**0.5 - 1) / 2


def prices(form: Form, some: Tabled) -> tuple[float, ...]:
    """A price for each further limit of the form, chosen for one of some designs.

    Zeros where none of these has an assignment within the main limit.
    """
    lower = _bounds(form, some)
    best = [0.0] * len(form.excesses)
    if not np.isfinite(lower).any():
        return tuple(best)
    one = tabled(some, np.array([int(np.argmin(lower))]))
    ceiling = float(form.at(one, form.scale(one)).ceiling()[0])
    for _ in range(_ROUNDS if len(best) > 1 else 1):
        for k, excess in enumerate(form.excesses):

            def bound(price: float, k: int = k) -> float:
                return float(_bounds(form.pricing([*best[:k], price, *best[k + 1 :]]), one)[0])

            best[k] = _climbed(bound, _first(form, one, excess), ceiling)
    return tuple(best)


def _bounds(form: Form, some: Tabled) -> Table:
    return lower_bounds(form.at(some, form.scale(some)), None, np.inf, _silent).lower


def _silent(rows: Indices, chosen: Chosen, goals: Table) -> float:
    return np.inf


def _first(form: Form, one: Tabled, excess: Stacked) -> float:
    """A price at which the goal weighs a thousand times as much as the excess."""
    problem = form.at(one, form.scale(one))
    goal = sum(float(np.ptp(t)) for t in problem.plain if t is not None)
    return 1e-3 * goal / (sum(float(np.ptp(t)) for t in excess.values()) or 1.0)


def _climbed(bound: Callable[[float], float], first: float, ceiling: float) -> float:
    """The price of about the highest bound, 0 where none raises it; one with a bound above the ceiling is enough."""
    free, low, high = bound(0.0), 0.0, first
    highest = free
    for _ in range(_DOUBLINGS):
        now = bound(high)
        if now > ceiling:
            return high
        if now < highest:
            break
        low, high, highest = high / 2, 2 * high, now
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_a, at_b = bound(a), bound(b)
    for _ in range(_SECTIONS):
        if at_a < at_b:
            low, a, at_a = a, b, at_b
            b = low + _GOLDEN * (high - low)
            at_b = bound(b)
        else:
            high, b, at_b = b, a, at_a
            a = high - _GOLDEN * (high - low)
            at_a = bound(a)
    price, value = max(((a, at_a), (b, at_b)), key=lambda found: found[1])
    return price if value > free else 0.0
