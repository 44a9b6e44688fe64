"""Programs that differ only in how they are written have one hash; others do not."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.space.program import Instruction, Program, alone, parse
from chipfit.space.program.canonical import canonical, canonical_at, structural_hash
from chipfit.space.program.mutate import drawn
from chipfit.space.program.opcodes import EXTENDED
from chipfit.space.program.program import MOST
from program_places import PLACES

FORMS = [
    ("relu(x); pwconv(x, M)", "pwconv(x, M)"),
    ("part(x, 1, 1); pwconv(_, M)", "pwconv(x, M)"),
    ("part(x, 1, 2); part(x, 2, 2); concat(v1, _); pwconv(_, M)", "pwconv(x, M)"),
    ("pwconv(x, M); relu(_); relu(_)", "pwconv(x, M); relu(_)"),
    ("relu(x); relu(x); add(v1, v2); pwconv(_, M)", "relu(x); add(_, _); pwconv(_, M)"),
    ("conv(x, 1x1, M)", "pwconv(x, M)"),
    ("gconv(x, KxK, M, 1)", "conv(x, KxK, M)"),
    ("pwconv(x, 2C); pwconv(_, M)", "pwconv(x, M)"),
    ("pwconv(x, M); pwconv(_, M/2); pwconv(_, M)", "pwconv(x, M/2); pwconv(_, M)"),
    ("conv(x, KxK, M); pwconv(_, M)", "conv(x, KxK, M)"),
    ("pwconv(x, C); conv(_, KxK, M)", "conv(x, KxK, M)"),
    ("scale(x); dwconv(_, KxK); scale(_); pwconv(_, M); scale(_)", "dwconv(x, KxK); pwconv(_, M)"),
    ("conv(x, KxK, M); conv(x, KxK, M); add(v1, _)", "conv(x, KxK, M)"),
]

AS_THEY_ARE = [
    "pwconv(x, M/2); pwconv(_, M)",
    "pwconv(x, C/4); conv(_, KxK, M/4); pwconv(_, M)",
    "dwconv(x, KxK); norm(_); pwconv(_, M)",
    "conv(x, Kx1, M/2); conv(_, 1xK, M)",
    "dwconv(x, KxK); dwconv(x, 3x3); add(v1, _); pwconv(_, M)",
    "pwconv(x, M); relu(_); pwconv(_, M)",
    "scale(x); relu(_); pwconv(_, M)",
    "sub(x, x); pwconv(_, M)",
]


@pytest.mark.parametrize(("text", "form"), FORMS)
def test_folds_keep_what_can_be_computed(text: str, form: str) -> None:
    assert canonical(parse(text)).text == form
    assert structural_hash(parse(text)) == structural_hash(parse(form))


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_what_says_something_stays(text: str) -> None:
    once = canonical(parse(text))
    assert len(once.instructions) == len(parse(text).instructions)
    assert canonical(once) == once


def test_at_a_place_what_equals_its_own_is_called_so() -> None:
    place = PLACES["as wide"]  # 3x3, 16 channels in and out
    for text in ("dwconv(x, 3x3); pwconv(_, C)", "dwconv(x, KxK); pwconv(_, 3M/4)", "dwconv(x, Kx3); pwconv(_, M)"):
        assert canonical_at(parse(text), place).text == "dwconv(x, KxK); pwconv(_, M)"
    assert canonical_at(parse("conv(x, 3x1, M/2); conv(_, 1x3, M)"), place).text == "conv(x, Kx1, M/2); conv(_, 1xK, M)"
    assert (
        canonical_at(parse("conv(x, 1x1, M/2); pwconv(_, M)"), PLACES["point"]).text == "pwconv(x, M/2); pwconv(_, M)"
    )


def test_the_words_of_a_place_change_no_operator_but_what_folds_there() -> None:
    rng, place = np.random.default_rng(4), PLACES["as wide"]
    for _ in range(200):
        program = drawn(place, rng, most=4)
        form = canonical_at(program, place)
        assert canonical_at(form, place) == form
        named, plain = alone(form, place), alone(canonical(program), place)
        assert named.ops == plain.ops or len(named.ops) < len(plain.ops)


def test_a_norm_is_another_program() -> None:
    normed, plain = parse("dwconv(x, KxK); norm(_); pwconv(_, M)"), parse("dwconv(x, KxK); pwconv(_, M)")
    assert structural_hash(normed) != structural_hash(plain)


def test_a_thousand_programs_shuffled_hash_equal() -> None:
    rng = np.random.default_rng(1)
    for _ in range(1000):
        program = drawn(PLACES["as wide"], rng, most=4)
        assert structural_hash(shuffled(program, rng)) == structural_hash(program), program.text


def shuffled(program: Program, rng: np.random.Generator) -> Program:
    """The same in another order, with operands turned, with something that nothing depends on and one identity more."""
    rows = list(program.instructions)
    order = _order(rows, rng)
    place = {0: 0} | {n: at for at, n in enumerate(order, 1)}
    made = []
    for n in order:
        row = rows[n - 1]
        operands = [place[i] for i in row.of]
        if row.record.commutes:
            operands.reverse()
        made.append(Instruction(row.opcode, tuple(operands), row.constants))
    if len(made) < MOST:
        made = _with_identity(made, rng)
    if len(made) < MOST:
        dead = Instruction("relu", (int(rng.integers(len(made))),))
        made = [*made[:-1], dead, _moved(made[-1], len(made) - 1, 1)]
    return Program(tuple(made))


def _order(rows: list[Instruction], rng: np.random.Generator) -> list[int]:
    """The numbers of the instructions in a random order in which operands come first; the last stays last."""
    waiting, order = list(range(1, len(rows))), list[int]()
    while waiting:
        ready = [n for n in waiting if all(i == 0 or i in order for i in rows[n - 1].of)]
        order.append(ready[int(rng.integers(len(ready)))])
        waiting.remove(order[-1])
    return [*order, len(rows)]


def _with_identity(rows: list[Instruction], rng: np.random.Generator) -> list[Instruction]:
    """All channels as one part, before an instruction by chance."""
    at = int(rng.integers(len(rows)))
    source = rows[at].of[0]
    identity = [Instruction("part", (source,), (1, 1)), Instruction("shuffle", (source,), (1,))]
    behind = [_moved(row, at, 1) for row in rows[at:]]
    first = behind[0]
    behind[0] = Instruction(first.opcode, (at + 1, *first.of[1:]), first.constants)
    return [*rows[:at], identity[int(rng.integers(2))], *behind]


def _moved(row: Instruction, behind: int, by: int) -> Instruction:
    return Instruction(row.opcode, tuple(i + by * (i > behind) for i in row.of), row.constants)


def test_random_programs_are_of_all_opcodes() -> None:
    rng = np.random.default_rng(3)
    seen = {row.opcode for _ in range(400) for row in drawn(PLACES["as wide"], rng).instructions}
    assert set(EXTENDED) - seen <= {"linear"}  # of dense layers alone
