"""Children are programs of the same place, and chance reaches every kind of change."""

from __future__ import annotations

import numpy as np

from chipfit.space.program import Place, lowered, parse
from chipfit.space.program.lower import fits
from chipfit.space.program.mutate import changed_by_node, crossed, drawn, mutated
from chipfit.space.program.opcodes import FAITHFUL
from chipfit.space.program.seeds import LOW_RANK, SEPARABLE, same, seeds
from program_places import PLACES


def test_every_child_fits(place: Place) -> None:
    rng = np.random.default_rng(0)
    parent = seeds(place)[0]
    for _ in range(40):
        child = mutated(parent, place, rng, pool=seeds(place))
        assert child is not None
        assert child != parent
        assert lowered(child, place).ops[-1].shape == place.after
        parent = child


def test_changes_of_every_kind_come_up() -> None:
    rng = np.random.default_rng(0)
    children = [mutated(SEPARABLE, PLACES["as wide"], rng, pool=[LOW_RANK]) for _ in range(300)]
    texts = {child.text for child in children if child is not None}
    assert any(len(parse(text).instructions) == 3 for text in texts)  # one more
    assert "pwconv(x, M)" in texts  # one less
    assert any(text.startswith("dwconv(x, 5x5)") for text in texts)  # another constant
    assert any("1xK" in text for text in texts)  # a part of another program
    assert len(texts) > 60


def test_a_child_of_two_has_the_beginning_of_one_and_the_end_of_the_other() -> None:
    rng = np.random.default_rng(0)
    children = {c.text for _ in range(200) if (c := crossed(SEPARABLE, LOW_RANK, PLACES["as wide"], rng)) is not None}
    assert "dwconv(x, KxK); conv(_, 1xK, M)" in children


def test_a_part_from_another_layer_fits_as_its_widths_are_relative() -> None:
    rng = np.random.default_rng(0)
    there = [drawn(PLACES["wider"], rng, most=3) for _ in range(10)]
    children = [crossed(SEPARABLE, other, PLACES["narrow"], rng) for other in there]
    assert any(child is not None and fits(child, PLACES["narrow"]) for child in children)


def test_the_published_mutation_changes_nodes_by_chance() -> None:
    rng = np.random.default_rng(0)
    place = PLACES["as wide"]
    program = parse("conv(x, KxK, M); relu(_); abs(_); add(x, _)")
    assert changed_by_node(program, place, 0.0, rng, opcodes=FAITHFUL) == program
    children = [changed_by_node(program, place, 0.1, rng, opcodes=FAITHFUL) for _ in range(200)]
    kept = [c for c in children if c is not None]
    assert all(len(c.instructions) == 4 for c in kept)
    assert any(c != program for c in kept)
    assert sum(c == program for c in kept) > 60  # four nodes stay as they are in .9 ** 4 of the cases


def test_the_layer_itself_can_evolve(place: Place) -> None:
    assert mutated(same(place), place, np.random.default_rng(0)) is not None
