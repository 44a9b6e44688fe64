"""The strongest trivial method: every width narrowed by one factor, nothing dropped, one precision throughout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipfit.core.types import Limit
from chipfit.space.menu import Assignment, Menu


def uniform_width(menu: Menu, limits: Sequence[Limit], bits: int) -> Assignment | None:
    """The least narrowing of all widths by one factor that holds the limits, or None where none does.

    Widths are rounded to those that the menu offers, as any other method's are; depth stays.
    """
    best: Assignment | None = None
    for candidate in narrowings(menu, bits):
        if all(limit.met(menu.total(limit.metric, candidate)) for limit in limits):
            best = candidate
    return best


def narrowings(menu: Menu, bits: int) -> list[Assignment]:
    """The menu's networks of uniform width in this precision, the narrowest first."""
    factors = {o.value / d.options[0].value for d in menu.decisions if d.kind == "width" for o in d.options if o.value}
    return list(dict.fromkeys(_narrowed(menu, factor, bits) for factor in sorted(factors)))


def _narrowed(menu: Menu, factor: float, bits: int) -> Assignment:
    chosen = []
    for d in menu.decisions:
        values = np.array([o.value for o in d.options], float)
        if d.kind == "width":
            distance = np.where(values > 0, np.abs(values - factor * values[0]), np.inf)
            chosen.append(int(distance.argmin()))
        elif d.kind == "precision":
            chosen.append(int(np.flatnonzero(values == bits)[0]) if bits in values else 0)
        else:
            chosen.append(0)
    return tuple(chosen)
