"""Uniform widths are read off what options do: every width by one factor, nothing dropped, one precision."""

from __future__ import annotations

import pytest

from chipfit.core.edits import Precision, Skip, Width
from chipfit.search.uniform import narrowings
from chipfit.space.menu import Decision, Menu, Option


def width(name: str, size: int, *others: int, skip: bool = False) -> Decision:
    narrower = tuple(Option(str(w), (Width(name, tuple(range(w))),)) for w in others)
    dropped = (Option("skip", (Skip(name),)),) if skip else ()
    return Decision(name, "width", (Option(str(size)), *narrower, *dropped))


MENU = Menu(
    "",
    (
        width("wide", 32, 24, 16, 8, skip=True),
        width("narrow", 16, 8),
        width("fixed", 8, skip=True),
        Decision("block", "skip", (Option("keep"), Option("skip", (Skip("block"),)))),
        Decision("bits", "precision", (Option("fp32"), Option("int8", (Precision("site", 8),)))),
    ),
)


@pytest.mark.parametrize("bits", [32, 8])
def test_every_width_goes_with_the_same_factor_and_nothing_is_dropped(bits: int) -> None:
    low = int(bits == 8)
    quarter, half, most, whole = narrowings(MENU, bits)
    assert quarter == (3, 1, 0, 0, low), "8 of 32, the least of 16, and what has one width only"
    assert half == (2, 1, 0, 0, low)
    assert most == (1, 0, 0, 0, low), "12 of 16 is as near to 16 as to 8: the wider one"
    assert whole == (0, 0, 0, 0, low)


def test_a_precision_that_is_not_offered_leaves_things_as_they_are() -> None:
    assert narrowings(MENU, 4) == narrowings(MENU, 32)
