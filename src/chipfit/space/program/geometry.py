"""Which instructions have the stride and padding of the layer that a program stands in for.

Along rows and along columns alike, the layer's stride and padding have to be met exactly once on every way from what
goes in to what comes out. The first window wider than one place has them: a 3x1 window before a 1x3 one has the stride
along rows and leaves that along columns to the other, which is what makes the pair able to equal a strided 3x3. Where
ways differ in that, or none has such a window, the first instruction with weights on a map has them, 1x1 included.
"""

from __future__ import annotations

from chipfit.space.program.constants import Window
from chipfit.space.program.place import Place
from chipfit.space.program.program import Instruction, Program


def takers(program: Program, place: Place) -> tuple[frozenset[int], frozenset[int]]:
    """For rows and columns the numbers of the values whose instructions have the layer's stride and padding.

    Raises:
        ValueError: it would be met twice or never on some way.
    """
    rows, columns = (_along(program, place, axis) for axis in (0, 1))
    return rows, columns


def _along(program: Program, place: Place, axis: int) -> frozenset[int]:
    if place.kind != "conv" or not place.moves(axis):
        return frozenset()
    for eager in (False, True):
        found = _walked(program, place, axis, eager)
        if found is not None:
            return found
    along = ("rows", "columns")[axis]
    raise ValueError(f"{program.text!r} cannot have the stride of {place.name!r} along {along} once on every way")


def _walked(program: Program, place: Place, axis: int, eager: bool) -> frozenset[int] | None:
    """The takers where the first window wider than one place takes, or any with `eager`; None where ways differ.

    Each value is before the layer's stride (False) or behind it (True), or has no size (None).
    """
    behind: dict[int, bool | None] = {0: False}
    found = set()
    for n in sorted(program.live - {0}):
        instruction = program.instructions[n - 1]
        sides = {behind[i] for i in instruction.of} - {None}
        if len(sides) > 1:
            return None
        behind[n] = next(iter(sides), None)
        space = instruction.record.space
        if space in ("whole", "up"):
            behind[n] = None if space == "whole" else True
        elif space == "window" and behind[n] is False and (eager or _wide(instruction, place, axis)):
            behind[n] = True
            found.add(n)
    return None if behind[len(program.instructions)] is False else frozenset(found)


def _wide(instruction: Instruction, place: Place, axis: int) -> bool:
    window = next((c for c in instruction.constants if isinstance(c, Window)), Window(1, 1))
    return ((window.rows, window.columns)[axis] or place.kernel[axis]) > 1
