"""Other numbers, and nothing else."""

from __future__ import annotations

import pytest

from chipfit.core.edits import Edited
from chipfit.space.edits import Precision, edited, from_plain, to_plain
from models.residual import residual


def test_only_the_bits_of_what_can_be_quantised_change() -> None:
    graph = residual()
    made, before = edited(graph, [Precision("stem", 8)]), Edited.nothing(graph)
    assert [o.name for o in made.graph if o.bits == 8] == ["stem", "r0", "a1", "ra", "a2", "add_a", "r1"]
    assert (made.arrays, made.stands_for, made.channels) == (before.arrays, before.stands_for, before.channels)


def test_one_layer_alone_takes_what_it_is_computed_with() -> None:
    graph = residual()
    made = edited(graph, [Precision("stem", 8, alone=True), Precision("b2", 8, alone=True)])
    assert [o.name for o in made.graph if o.bits == 8] == ["stem", "r0", "b2"], "not the addition behind it"
    last_word = edited(graph, [Precision("stem", 8), Precision("a1", 32, alone=True)])
    assert [o.name for o in last_word.graph if o.bits == 8] == ["stem", "r0", "a2", "add_a", "r1"]
    with pytest.raises(KeyError, match="no layer 'r0'; there are stem, a1"):
        edited(graph, [Precision("r0", 8, alone=True)])


def test_sites_are_written_as_before_and_layers_so_that_they_read_back() -> None:
    edits = (Precision("a1", 8), Precision("stem", 8, alone=True))
    assert to_plain(edits) == [["precision", "a1", 8], ["precision", "stem", 8, True]]
    assert from_plain(to_plain(edits)) == edits  # type: ignore[arg-type]
