"""The published search over operator programs: how candidates come to be in it (`search.grassroots` has the loop).

Of Benmeziane et al. (arXiv 2309.11246): the first generation is the layer's own graph with changes by chance, children
are the beginning of one parent and the end of the other, and each node of a child gets another instruction or another
constant with .1, from the 30 published instructions and no others. What differs, and why: types are checked, since
what is ill-typed cannot be run; widths are relative to the layer, as in all programs here.
"""

from __future__ import annotations

import numpy as np

from chipfit.search.grassroots import Variation
from chipfit.space.program import Place, Program
from chipfit.space.program.mutate import changed_by_node, crossed, mutated
from chipfit.space.program.opcodes import FAITHFUL
from chipfit.space.program.seeds import same


def variation(place: Place) -> Variation[Program]:
    """How candidates for a place come to be, as published."""
    original = same(place)

    def first(rng: np.random.Generator) -> Program | None:
        return mutated(original, place, rng, opcodes=FAITHFUL)

    def cross(a: Program, b: Program, rng: np.random.Generator) -> Program | None:
        return crossed(a, b, place, rng)

    def mutate(program: Program, rate: float, rng: np.random.Generator) -> Program | None:
        return changed_by_node(program, place, rate, rng, opcodes=FAITHFUL)

    return Variation(first, cross, mutate)
