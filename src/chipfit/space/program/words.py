"""Programs and places in words: formulas for people, and one line for where a program stood."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chipfit.core.graph import Graph
from chipfit.space.program.constants import constant_text
from chipfit.space.program.lower import alone, lowered
from chipfit.space.program.place import Place
from chipfit.space.program.program import Program

OUTPUT = "y"


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction as a formula, with what it is at a place: shape of what it makes, MACs and weights."""

    formula: str
    about: str
    shape: str
    macs: int
    params: int


def formulas(program: Program) -> tuple[str, ...]:
    """Each instruction as an equation; what comes out is y.

    >>> from chipfit.space.program.program import parse
    >>> formulas(parse("dwconv(x, 3x3); pwconv(_, M)"))
    ('v1 = dwconv(x, 3x3)', 'y = pwconv(v1, M)')
    """
    last = len(program.instructions)
    made = list[str]()
    for n, instruction in enumerate(program.instructions, 1):
        operands = ["x" if i == 0 else f"v{i}" for i in instruction.of]
        inside = ", ".join(operands + [constant_text(c) for c in instruction.constants])
        made.append(f"{OUTPUT if n == last else f'v{n}'} = {instruction.opcode}({inside})")
    return tuple(made)


def lines(program: Program, place: Place) -> tuple[Line, ...]:
    """The live instructions of a program at a place.

    Raises:
        ValueError: the program does not fit there.
    """
    graph, of = alone(program, place), lowered(program, place).instructions
    told = formulas(program)
    found = list[Line]()
    for n in sorted(program.live - {0}):
        own = [o for o in graph if of.get(o.name) == n]
        params = sum(_values(graph, o.name) for o in own)
        macs = sum(graph.macs(o) for o in own)
        about = program.instructions[n - 1].record.about
        found.append(Line(told[n - 1], about, sized(own[-1].shape), macs, params))
    return tuple(found)


def share_of_macs(program: Program, place: Place) -> float:
    """MACs of a program / MACs of the layer that it stands in for."""
    return alone(program, place).total_macs / place.macs


def place_words(place: Place) -> str:
    """A place in words, equal for layers that programs cannot tell apart."""
    words = [place.kind]
    if place.kind == "conv":
        words.append(sized(place.kernel))
    if place.stride != (1, 1):
        words.append(f"stride {sized(place.stride)}")
    if place.dilation != (1, 1):
        words.append(f"dilation {sized(place.dilation)}")
    numbers = "int8" if place.bits == 8 else "float32"
    words.append(f"{sized(place.before)} -> {sized(place.after)}, {numbers}")
    return " ".join(words)


def sized(shape: tuple[int, ...]) -> str:
    """A shape as people write it."""
    return "x".join(map(str, shape))


def _values(graph: Graph, name: str) -> int:
    return sum(math.prod(shape) for shape in graph.learnt(graph[name]).values())
