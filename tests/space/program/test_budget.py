"""Free widths fill a budget of multiply-accumulates."""

from __future__ import annotations

import pytest

from chipfit.space.program import parse
from chipfit.space.program.budget import filled, free_widths
from chipfit.space.program.words import share_of_macs
from program_places import conv

PLACE = conv(64, 64)


def test_widths_that_nothing_else_fixes_are_free() -> None:
    free = free_widths(parse("pwconv(x, C/4); conv(_, KxK, M/4); pwconv(_, M)"), PLACE)
    assert list(free) == [(0, 0), (1, 1)]
    assert not free_widths(parse("dwconv(x, KxK); pwconv(_, M)"), PLACE)
    assert not free_widths(parse("pwconv(x, M/2); dwconv(_, KxK); concat(v1, _)"), PLACE)
    assert list(free_widths(parse("relu(x); pwconv(x, C/2); pwconv(x, C/2); pwconv(_, M)"), PLACE)) == [(2, 0)]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.35, 0.5])
@pytest.mark.parametrize(
    "text", ["conv(x, Kx1, M/2); conv(_, 1xK, M)", "pwconv(x, C/4); conv(_, KxK, M/4); pwconv(_, M)"]
)
def test_a_budget_is_filled_and_never_overdrawn(text: str, share: float) -> None:
    program = filled(parse(text), PLACE, share)
    assert program is not None
    reached = share_of_macs(program, PLACE)
    assert 0.6 * share < reached <= share


def test_a_rank_is_that_of_the_formula() -> None:
    """A column and a row of rank r have 3 r (C + M) products a place, a 3x3 convolution 9 C M: r is 96 x the share."""
    program = filled(parse("conv(x, Kx1, M/2); conv(_, 1xK, M)"), conv(64, 64), 0.42)
    assert program is not None
    assert program.text == "conv(x, Kx1, 5M/8); conv(_, 1xK, M)"  # of 40.3 channels 40


def test_what_cannot_get_there_is_none() -> None:
    assert filled(parse("dwconv(x, KxK); pwconv(_, M)"), PLACE, 0.5) is None
    assert filled(parse("conv(x, Kx1, M/2); conv(_, 1xK, M)"), PLACE, 0.01) is None
