"""The section on operators: the slowest, programs on the menu or why there are none; nothing that breaks the page."""

from __future__ import annotations

from chipfit.report.operators import Operators
from chipfit.report.operators_table import section

SLOWEST = (("layer<1>", "conv", 0.25, 0.02), ("fc", "linear", 0.1, None))
PROGRAMS = (("dwconv(x, KxK); pwconv(_, M)", "conv 3x3 16x8x8 -> 16x8x8, float32", 3, 0.25, 0.0123, 0.8),)


def test_programs_are_told_with_what_they_gain_and_cost() -> None:
    text = section({"net": Operators(SLOWEST, 120, PROGRAMS, "", 0.8, 0.9)})
    assert "Of 120 programs that were looked at for net, 1 were put on the menu" in text
    assert "<code>dwconv(x, KxK); pwconv(_, M)</code>" in text
    assert "3 × conv 3x3 16x8x8 -&gt; 16x8x8, float32" in text
    for number in ("25.0 %", "4.00×", "0.012", "1.250×", "0.80", "0.90"):
        assert number in text


def test_a_network_without_programs_says_why_and_still_ranks_its_operators() -> None:
    text = section({"net & co": Operators(SLOWEST, 0, (), "no layer is <slow>")})
    assert "Layers of net &amp; co compute themselves: no layer is &lt;slow&gt;." in text
    assert "layer&lt;1&gt;" in text
    assert "programs-" not in text


def test_what_the_time_was_too_short_for_is_told_beside_either() -> None:
    short = "the time was too short to look at all programs for 2 of 3 kinds of layers"
    for found in (
        Operators(SLOWEST, 12, PROGRAMS, short=short),
        Operators(SLOWEST, 12, (), "none is good", short=short),
    ):
        assert f". The {short[4:]}." in section({"net": found})


def test_too_few_programs_to_tell_an_order_have_no_correlation() -> None:
    assert "Rank correlation" not in section({"net": Operators(SLOWEST, 10, PROGRAMS)})


def test_there_is_no_section_where_programs_were_not_asked_for() -> None:
    assert section({}) == ""
