"""Free widths of a program, solved for a budget instead of drawn by chance (as Canvas, arXiv 2304.07741, solves them).

A width inside a program that nothing else fixes is free: a rank, or the channels of a bottleneck. Every layer is a
product of at most two widths, so that with all free ones multiplied by t a program has

    MACs(t) = a + b t + c t²

multiply-accumulates, but for rounding. Three values of t tell a, b and c; the root is the t that fills the budget. The
widths that follow are rounded to eighths of the layer's channels, and their multiply-accumulates counted again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Final

import numpy as np

from chipfit.space.program.constants import Share
from chipfit.space.program.lower import alone, fits
from chipfit.space.program.place import Place
from chipfit.space.program.program import Program

PARTS: Final = 8
"""Free widths are so many parts of the layer's channels, or a multiple of that."""

_TRIED = (0.5, 1.0, 2.0)

Spot = tuple[int, int]
"""Index of an instruction, and of a constant of it."""


def free_widths(program: Program, place: Place) -> Mapping[Spot, Share]:
    """The widths that can be changed one by one and leave the program well-typed."""
    found: dict[Spot, Share] = {}
    for n, instruction in enumerate(program.instructions):
        for k, constant in enumerate(instruction.constants):
            if isinstance(constant, Share) and n + 1 in program.live:
                other = Share(constant.of, 3, 7)  # of no program, so that no other width is the same by chance
                if fits(_with(program, {(n, k): other}), place):
                    found[n, k] = constant
    return found


def filled(program: Program, place: Place, share: float) -> Program | None:
    """The program with its free widths such that it has at most this share of the layer's MACs, and hardly less.

    None where it has no free width, does not get down to that share, or fits only with widths as they are.
    """
    free = free_widths(program, place)
    if not free:
        return None
    budget = share * place.macs
    try:
        factor = _factor([_macs(program, free, t, place) for t in _TRIED], budget)
    except ValueError:  # it fits thanks to rounding: three quarters of 16 channels are 16 in steps of 8
        return None
    parts = {spot: max(1, int(PARTS * factor * w.times / w.by + 0.5)) for spot, w in free.items()}
    while True:  # rounding may go beyond the budget by a step or two
        child = _with(program, {spot: _eighths(free[spot], n) for spot, n in parts.items()})
        if not fits(child, place):
            return None
        if alone(child, place).total_macs <= budget:
            return child
        widest = max(parts, key=parts.__getitem__)
        if parts[widest] == 1:
            return None
        parts[widest] -= 1


def _macs(program: Program, free: Mapping[Spot, Share], t: float, place: Place) -> float:
    """MACs with the free widths times t, as if channels were no whole numbers: of a layer with many more of them."""
    large = _enlarged(place)
    scaled = {spot: _exact(width, t) for spot, width in free.items()}
    growth = large.channels[0] / place.channels[0]
    return alone(_with(program, scaled), large).total_macs / growth**2


def _enlarged(place: Place) -> Place:
    """The layer with 64 times the channels on both sides, where steps of eight do not show."""
    times = 64

    def wide(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[: place.axis], times * shape[place.axis], *shape[place.axis + 1 :])

    return replace(place, before=wide(place.before), after=wide(place.after))


def _factor(macs: list[float], budget: float) -> float:
    """The t at which a parabola through the values at `_TRIED` meets the budget; 0 where it is above it throughout."""
    c, b, a = np.polyfit(_TRIED, macs, 2)
    roots = np.roots([c, b, a - budget])
    reached = [float(r.real) for r in roots if abs(r.imag) < 1e-9 and r.real > 0]
    return min(reached, default=0.0)


def _exact(width: Share, t: float) -> Share:
    part = Fraction(width.times, width.by) * Fraction(t)
    return Share(width.of, part.numerator, part.denominator)


def _eighths(width: Share, n: int) -> Share:
    """So many eighths of the layer's channels that the width is of."""
    part = Fraction(n, PARTS)
    return Share(width.of, part.numerator, part.denominator)


def _with(program: Program, widths: Mapping[Spot, Share]) -> Program:
    rows = list(program.instructions)
    for (n, k), width in widths.items():
        constants = list(rows[n].constants)
        constants[k] = width
        rows[n] = replace(rows[n], constants=tuple(constants))
    return Program(tuple(rows))
