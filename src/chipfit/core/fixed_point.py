"""Fixed-point numbers: which values there are with so many bits, and the nearest of them.

With i integer bits (the sign among them) and f fraction bits a number is a multiple of 2^-f from -2^(i-1) to
2^(i-1) - 2^-f: 2^(i+f) of them. Rounding is half up, then clamped.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDEST = 16
"""Integer and fraction bits together; each such number is one of float32 too."""


def bounds(integer: int, fraction: int) -> tuple[float, float]:
    """The least and the greatest number.

    >>> bounds(1, 3)
    (-1.0, 0.875)
    """
    top = 2.0 ** (integer - 1)
    return -top, top - 2.0**-fraction


def integer_bits(values: NDArray[Any]) -> int:
    """Integer bits that hold values, the sign among them: 1 and how often their largest must be halved until it is 1.

    Halves are rounded up. What is beyond 16 bits is clamped.

    >>> integer_bits(np.array([0.3, -0.9])), integer_bits(np.array([3.2])), integer_bits(np.zeros(4))
    (1, 3, 1)
    """
    largest = ceil(float(np.abs(values).max(initial=0.0)))
    halvings = max(0, largest - 1).bit_length()
    return min(WIDEST, 1 + halvings)


def on_grid(values: NDArray[Any], integer: int, fraction: int) -> NDArray[np.float64]:
    """The nearest number of each value.

    >>> on_grid(np.array([0.3, 0.25, -0.375, 5.0]), 1, 2)
    array([ 0.25,  0.25, -0.25,  0.75])
    """
    steps = 2.0**fraction
    nearest = np.floor(values.astype(np.float64) * steps + 0.5) / steps
    return np.clip(nearest, *bounds(integer, fraction))


def stored_as(values: NDArray[Any], factor: NDArray[np.float64], integer: int, fraction: int) -> NDArray[np.float64]:
    """Values (rows, ...) that are numbers once their rows are multiplied by `factor` (rows,).

    Rows of which nothing is left by their factor stay as they are.
    """
    by_row = factor.reshape(-1, *(1,) * (values.ndim - 1))
    alive = np.abs(by_row) > FAINTEST
    safe = np.where(alive, by_row, 1.0)
    return np.where(alive, on_grid(values * safe, integer, fraction) / safe, values)


FAINTEST = 1e-12
"""Factors below this are zero."""
