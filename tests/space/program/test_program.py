"""A program is one text, both ways, and says where it is none."""

from __future__ import annotations

import pytest

from chipfit.space.program import Instruction, parse
from chipfit.space.program.constants import Share, Window, constant_of, constant_text
from chipfit.space.program.opcodes import EXTENDED, FAITHFUL, OPCODES
from chipfit.space.program.published import PUBLISHED

GHOST = "pwconv(x, M/2); dwconv(_, KxK); concat(v1, _)"


def test_a_text_and_its_program_are_one() -> None:
    program = parse(GHOST)
    assert program.instructions == (
        Instruction("pwconv", (0,), (Share("M", 1, 2),)),
        Instruction("dwconv", (1,), (Window(),)),
        Instruction("concat", (1, 2)),
    )
    assert program.text == str(program) == GHOST
    assert parse("clip(x, 0, 6)").text == "clip(x, 0.0, 6.0)"
    assert parse("dwconv(x,3x3) ;pwconv( v1 , 2M/4)").text == "dwconv(x, 3x3); pwconv(_, M/2)"


CONSTANTS = [Window(), Window(3, 1), Window(0, 5), Share("C"), Share("M", 3, 4), 2, 0.5, "avg"]


@pytest.mark.parametrize("constant", CONSTANTS)
def test_constants_are_read_as_they_are_written(constant: object) -> None:
    assert constant_of(constant_text(constant)) == constant  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "instruction 1, '', is not of the form"),
        ("dwconv x", "not of the form"),
        ("warp(x)", "no opcode 'warp'; there are conv,"),
        ("dwconv(y, 3x3)", "'y' is no value"),
        ("dwconv(x, 3x3); pwconv(v7, M)", "instruction 2, 'pwconv': value 7 is not before it"),
        ("relu(v1)", "value 1 is not before it"),
        ("dwconv(x, 3)", "3 is no window; such are KxK"),
        ("dwconv(x)", "has 0 constants instead of 1"),
        ("add(x)", "reads 1 values instead of 2"),
        ("pool(x, low, 3x3)", "low is no how"),
        ("pwconv(x, 999M)", "share 999M has a number above 64"),
        ("dwconv(x, 99x3)", "window 99x3 is wider than 31 places"),
        ("power(x, 1e999)", "1e999 is no number"),
        ("pwconv(x, M/0)", "share M/0 is no positive fraction"),
        ("; ".join(["relu(x)"] * 9), "1 to 8 instructions, not 9"),
    ],
)
def test_what_is_no_program_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")):
        parse(text)


def test_what_nothing_depends_on_is_not_alive() -> None:
    assert parse("relu(x); pwconv(x, M); relu(v1); relu(v2)").live == {0, 2, 4}


def test_a_program_knows_whether_it_is_linear() -> None:
    assert parse("pool(x, avg, 3x3); pwconv(_, M)").linear
    assert not parse("pool(x, max, 3x3); pwconv(_, M)").linear
    assert not parse("pwconv(x, M); sigmoid(_); mul(v1, _)").linear
    assert parse("relu(x); pwconv(x, M)").linear  # what is not linear is not alive


def test_shares_are_in_steps_where_there_is_room() -> None:
    assert [Share("M", 1, 4).among(n) for n in (64, 100, 40, 28, 7, 2)] == [16, 24, 8, 7, 1, 1]
    assert Share("C", 3, 4).among(64) == 48
    assert Share("C", 2).among(13) == 24
    assert Share("M").among(13) == 13
    with pytest.raises(ValueError, match="no positive fraction in lowest terms"):
        Share("M", 2, 4)


def test_the_published_instructions_are_all_there() -> None:
    assert len(PUBLISHED) == len(FAITHFUL) == 30
    assert set(FAITHFUL) <= OPCODES.keys()
    assert set(EXTENDED) <= OPCODES.keys()
