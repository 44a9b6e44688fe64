"""What a user wrote becomes a number, or one line that names the option, the value and what is allowed.

The command line, a `chipfit.yaml` and Python calls all come through here, so that a number is read in one way: "1.5" is
no whole number, and neither is "1_000", True or "1e3".
"""

from __future__ import annotations

import math
import operator
import re

from chipfit.core.errors import BadInput

MOST_SHOWN = 60
"""Characters of a value that a message shows."""


def shown(value: object) -> str:
    """A value as messages show it: its repr, in one line, cut where it is long.

    >>> shown("abc")
    "'abc'"
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def number_of(n: int, noun: str, several: str = "") -> str:
    """A number of things; `several` is the noun's plural where that is not an s behind it.

    >>> number_of(1, "file"), number_of(0, "file"), number_of(2, "class", "classes")
    ('1 file', '0 files', '2 classes')
    """
    return f"{n} {noun if n == 1 else several or f'{noun}s'}"


def whole(option: str, value: object, least: int, most: int) -> int:
    """The whole number that was given for an option, as text or as a number.

    >>> whole("--seed", "7", 0, 100)
    7

    Raises:
        BadInput: not a whole number, or one outside `least`..`most`.
    """
    number = _whole(value)
    if number is None:
        raise BadInput(f"{option} {shown(value)} is not a whole number; give one from {least} to {most}")
    if number < least:
        raise BadInput(f"{option} {shown(number)} is too small; give {least} or more")
    if number > most:
        raise BadInput(f"{option} {shown(number)} is too large; give {most} or less")
    return number


def real(option: str, value: object, above: float, most: float, instead: str = "") -> float:
    """The number that was given for an option, above `above` and up to `most`; `instead` is a way out to propose.

    Raises:
        BadInput: not a number, or one outside the range.
    """
    number = _real(value)
    way_out = f"give a number like 4{instead}"
    if math.isnan(number):
        raise BadInput(f"{option} {shown(value)} is not a number; {way_out}")
    if number <= above:
        raise BadInput(f"{option} {number:g} is not above {_said(above)}; {way_out}")
    if number > most:
        raise BadInput(f"{option} {number:g} is too large; give {most:g} or less{instead}")
    return number


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        digits = re.fullmatch(r"\s*([-+]?[0-9]{1,30})\s*", value)
        return int(digits[1]) if digits else None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _real(value: object) -> float:
    """The number, nan where it is none."""
    if isinstance(value, bool):
        return math.nan
    if isinstance(value, str) and not re.fullmatch(r"\s*[-+]?([0-9.]+(e[-+]?[0-9]+)?|inf)\s*", value, re.IGNORECASE):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _said(limit: float) -> str:
    return "zero" if limit == 0 else f"{limit:g}"
