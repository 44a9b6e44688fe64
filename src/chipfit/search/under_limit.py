"""The best candidate under a limit, every pick checked: quality is known, whether the limit holds must be measured.

A measurement of x is worth max(q_x - best, 0) with the probability p_x that x holds the limit (expected improvement
under a constraint; Schonlau, Welch and Jones 1998, Gardner et al. 2014, with the objective known). The candidate that
promises most is measured; what it says refits the predictor, and so on.

Published searches with a latency predictor (HELP, Lee et al. 2021; NASFLAT, Akhauri and Abdelfattah 2024) never
measure what they pick, and break the limit where the predictor errs. Here nothing is returned that was not measured.
Looking further ahead (the k candidates that together promise most, the boldest first) was tried on source devices: with
25 measurements it lost .01 to .08 points of accuracy there, one step none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """What the search ends with.

    `row` is the best measured candidate that holds the limit, or None where none does; `nearest` the measured one of
    the least value, None where no measurement succeeded. `rows` and `values` are all measurements in their order; a
    measurement that failed is NaN.
    """

    row: int | None
    nearest: int | None
    rows: tuple[int, ...]
    values: tuple[float, ...]


def under_limit(
    quality: Floats,
    measure: Callable[[int], float],
    limit: float,
    chance: Callable[[Ints, Floats], Floats],
    *,
    first: Sequence[int] | Ints,
    budget: int,
    worth: float = 0.0,
) -> Found:
    """Measures candidates until no better one is likely to hold the limit, or the budget is used up.

    Args:
        quality: (n,) of the candidates, more is better.
        measure: the value of a candidate (a row of `quality`); NaN where it cannot be had. Called once for a row.
        limit: a value up to this holds.
        chance: takes the rows measured so far and their values, gives the (n,) probabilities that each candidate
            holds the limit: a predictor that is fitted anew to all samples.
        first: rows to measure before any choice is made.
        budget: measurements in all, those of `first` among them.
        worth: quality that a further measurement must promise at least, on average.

    Raises:
        BadInput: a quality that is no number, or more first rows than the budget allows.
    """
    if not np.isfinite(quality).all():
        raise BadInput(f"candidate {int(np.argmin(np.isfinite(quality)))} has no quality; leave it out")
    start = list(dict.fromkeys(int(i) for i in first))
    if len(start) > budget:
        raise BadInput(f"{len(start)} first measurements exceed the budget of {budget}")
    values = {row: measure(row) for row in start}
    while len(values) < budget:
        known = [row for row, value in values.items() if math.isfinite(value)]
        holds = chance(np.array(known, np.int64), np.array([values[row] for row in known]))
        row = _likeliest(quality, holds, values, limit, worth)
        if row is None:
            break
        values[row] = measure(row)
    return _found(quality, values, limit)


def _likeliest(quality: Floats, chance: Floats, values: dict[int, float], limit: float, worth: float) -> int | None:
    """The candidate that promises most, or None where none is worth a measurement."""
    held = [quality[row] for row, value in values.items() if value <= limit]
    best = max(held, default=quality.min() - 1.0)  # before anything holds, any is a gain
    gain = chance * np.maximum(quality - best, 0.0)
    gain[list(values)] = 0.0
    row = int(np.argmax(gain))
    return row if gain[row] > worth else None


def _found(quality: Floats, values: dict[int, float], limit: float) -> Found:
    holding = [row for row, value in values.items() if value <= limit]
    known = [row for row, value in values.items() if math.isfinite(value)]
    return Found(
        max(holding, key=lambda row: quality[row], default=None),
        min(known, key=lambda row: values[row], default=None),
        tuple(values), tuple(values.values()),
    )  # fmt: skip
