"""The constants of instructions, and how they are written.

KxK, 3x3, Kx1   a window of rows x columns; K is the replaced layer's own
M, C/4, 3M/4    channels, as a share of what the replaced layer makes (M) or reads (C)
2, 0.5, avg     whole numbers, numbers, words
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

STEP = 8
"""Channels are rounded to multiples of this: what vector units of processors take at once."""

MOST_PARTS = 64
"""Shares have no larger numbers: what is written by hand may not ask for a layer of a million channels."""

WIDEST = 31
"""Places of a window, at most, along rows or columns."""

_WINDOW = re.compile(r"([1-9]\d*|K)x([1-9]\d*|K)")
_SHARE = re.compile(r"(\d*)([CM])(?:/(\d+))?")
_WHOLE = re.compile(r"-?\d+")
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class Window:
    """Rows and columns of a kernel; 0 is the replaced layer's own."""

    rows: int = 0
    columns: int = 0

    def __post_init__(self) -> None:
        if not 0 <= min(self.rows, self.columns) <= max(self.rows, self.columns) <= WIDEST:
            raise ValueError(f"window {self} is wider than {WIDEST} places")

    def __str__(self) -> str:
        return f"{self.rows or 'K'}x{self.columns or 'K'}"


@dataclass(frozen=True, slots=True)
class Share:
    """`times / by` of the channels that the replaced layer reads ("C") or makes ("M")."""

    of: Literal["C", "M"]
    times: int = 1
    by: int = 1

    def __post_init__(self) -> None:
        if self.times < 1 or self.by < 1 or math.gcd(self.times, self.by) > 1:
            raise ValueError(f"share {self} is no positive fraction in lowest terms")
        if max(self.times, self.by) > MOST_PARTS:
            raise ValueError(f"share {self} has a number above {MOST_PARTS}")

    def __str__(self) -> str:
        times = "" if self.times == 1 else str(self.times)
        return f"{times}{self.of}" + (f"/{self.by}" if self.by != 1 else "")

    def among(self, channels: int) -> int:
        """So many of `channels`, in steps of 8 from 8 on, and at least 1; the whole is exactly the whole.

        >>> Share("M", 1, 4).among(100), Share("M", 1, 4).among(12), Share("M").among(100)
        (24, 3, 100)
        """
        if self.times == self.by:
            return channels
        exact = channels * self.times / self.by
        if exact < STEP:  # no room for a step
            return max(1, int(exact))
        return int(exact / STEP + 0.5) * STEP


Constant = int | float | str | Window | Share


def constant_text(constant: Constant) -> str:
    """A constant as it is written; `constant_of` reads it back."""
    return repr(constant) if isinstance(constant, float) else str(constant)


def constant_of(text: str) -> Constant:
    """The constant that is written so.

    Raises:
        ValueError: it is none.
    """
    if found := _WINDOW.fullmatch(text):
        rows, columns = found.groups()
        return Window(_places(rows), _places(columns))
    if found := _SHARE.fullmatch(text):
        times, of, by = found.groups()
        return _share("C" if of == "C" else "M", int(times or 1), int(by or 1))
    if _WHOLE.fullmatch(text):
        return int(text)
    if _WORD.fullmatch(text):
        return text
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _places(size: str) -> int:
    return 0 if size == "K" else int(size)


def _share(of: Literal["C", "M"], times: int, by: int) -> Share:
    common = math.gcd(times, by) or 1
    return Share(of, times // common, by // common)
