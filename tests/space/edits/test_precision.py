"""Other numbers, and nothing else."""

from __future__ import annotations

from chipfit.core.edits import Edited
from chipfit.space.edits import Precision, edited
from models.residual import residual


def test_only_the_bits_of_what_can_be_quantised_change() -> None:
    graph = residual()
    made, before = edited(graph, [Precision("stem", 8)]), Edited.nothing(graph)
    assert [o.name for o in made.graph if o.bits == 8] == ["stem", "r0", "a1", "ra", "a2", "add_a", "r1"]
    assert (made.arrays, made.stands_for, made.channels) == (before.arrays, before.stands_for, before.channels)
