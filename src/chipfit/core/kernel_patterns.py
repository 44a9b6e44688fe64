"""Patterns of kernels: the places of a 2-D kernel that may be other than zero, and which pattern a kernel is within.

A pattern is a tuple of flat places, ascending; in a graph it is a number, the sum of 2^place (`Op`: "patterns").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.graph import Op

Pattern = tuple[int, ...]
"""The flat places of a kernel that stay, ascending."""


def as_number(pattern: Pattern) -> int:
    """The pattern as a graph has it.

    >>> as_number((0, 1, 3))
    11
    """
    return sum(1 << place for place in pattern)


def as_places(number: int) -> Pattern:
    """The pattern that a graph's number stands for."""
    return tuple(place for place in range(number.bit_length()) if number >> place & 1)


def patterns_of(o: Op) -> tuple[Pattern, ...]:
    """The patterns of an operator's kernels; none where they are whole."""
    return tuple(as_places(number) for number in o.get("patterns") or ())


def as_masks(patterns: Sequence[Pattern], taps: int) -> NDArray[np.bool_]:
    """(patterns, taps) True where a place stays, for kernels of so many places."""
    masks = np.zeros((len(patterns), taps), bool)
    for mask, pattern in zip(masks, patterns, strict=True):
        mask[list(pattern)] = True
    return masks


def kept(kernels: NDArray[Any], patterns: Sequence[Pattern]) -> NDArray[np.bool_]:
    """True where kernels (..., rows, columns) stay: each takes the pattern that keeps the largest sum of squares.

    Of equal patterns a kernel takes the first, so that one that is within a pattern is not cut.
    """
    rows = kernels.reshape(-1, kernels.shape[-2] * kernels.shape[-1]).astype(np.float64)
    masks = as_masks(patterns, rows.shape[1])
    taken = (np.square(rows) @ masks.T).argmax(1)
    found: NDArray[np.bool_] = masks[taken].reshape(kernels.shape)
    return found
