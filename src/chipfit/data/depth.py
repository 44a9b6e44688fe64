"""Deep pictures (16 and 32 bits a value, floats) to 8 bits, by one rule for the whole set.

Rule: the bits that the largest value of the whole set takes (8 at least) become the upper 8: every value is divided by
one power of two, and where all are below 256 they stay as they are. Cameras and sensors store 10, 12 or 14 bits, and
masks a few values, in a file of 16: the type of the file does not tell. Floats that stay within 0..1 are multiplied by
255; floats with fractions that go beyond (overshoot of a filter, brightness in other units), up to 128, are shares of
the next power of two. Negative values and NaN have no such rule: that picture is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
"""(H, W) or (H, W, 3), whole numbers or floats."""


LARGEST_SHARE = 128.0
"""Floats with fractions up to here lose more by rounding than by scaling."""

_NOTED = re.compile(r"(\d+) pictures of (?:floats in 0\.\.(\S+) were multiplied|more than 8 bits .*\((\d+) bits\))")
"""What `Depth.note` says: how many pictures, and the unit or the bits."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How deep pictures become 8 bits.

    `largest` is the largest value of all of them. `unit` is what stands for white where they are floats to be scaled, a
    power of two; 0 where their bits are shifted.
    """

    largest: float
    unit: float = 0.0
    pictures: int = 0

    @property
    def bits(self) -> int:
        """Bits of the largest value, 8 at least."""
        return max(8, int(self.largest).bit_length())

    def note(self) -> str:
        """What was done, for the notes of a data set."""
        if self.unit:
            what = f"{self.pictures} pictures of floats in 0..{self.unit:g}"
            return f"{what} were multiplied by {255 / self.unit:g} and rounded to 8 bits"
        way = "taken as they are" if self.bits == 8 else f"divided by {2 ** (self.bits - 8)}"
        return (
            f"{self.pictures} pictures of more than 8 bits a value: the largest value of all is {self.largest:g} "
            f"({self.bits} bits), so they were {way} to fit 8 bits"
        )


def depth_of(pictures: Iterable[Values]) -> Depth:
    """The rule for a set of deep pictures, which are looked at one after the other."""
    count, largest, floats, fractions = 0, 0.0, True, False
    for values in pictures:
        count += 1
        largest = max(largest, float(values.max()))
        floats = floats and values.dtype.kind == "f"
        fractions = fractions or (floats and bool((values % 1 != 0).any()))
    if not floats or largest > (LARGEST_SHARE if fractions else 1.0):
        return Depth(largest, 0.0, count)
    return Depth(largest, 2.0 ** math.ceil(math.log2(max(1.0, largest))), count)


def noted(notes: Sequence[str]) -> Depth | None:
    """The rule that the notes of a data set tell, its largest value as far as they do; None where they tell of none."""
    for found in filter(None, map(_NOTED.match, notes)):
        pictures, unit, bits = found.groups()
        largest = 2.0 ** int(bits) - 1 if unit is None else float(unit)
        return Depth(largest, float(unit or 0), int(pictures))
    return None


def checked(values: Values) -> Values:
    """The values, if the rule holds for them.

    Raises:
        ValueError: negative values, NaN or infinity.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("holds NaN or infinite values")
    if values.min() < 0:
        raise ValueError(f"holds negative values such as {values.min():g}, which are no brightness")
    return values


def to_8_bits(values: Values, depth: Depth) -> NDArray[np.uint8]:
    """The values in 0..255."""
    brightness = np.round(values * (255.0 / depth.unit)) if depth.unit else values // 2 ** (depth.bits - 8)
    return np.asarray(brightness, np.uint8)
