"""Operator programs: up to eight instructions that stand in for one layer.

A program is text, relative to the layer that it replaces; at a place in a network it becomes operators of known kinds,
which run, train, are priced and are written to files like all others. A new opcode is a row in the file of its family.
"""

from chipfit.space.program.lower import Lowered, alone, lowered
from chipfit.space.program.place import Place, place_of
from chipfit.space.program.program import Instruction, Program, parse

__all__ = ["Instruction", "Lowered", "Place", "Program", "alone", "lowered", "parse", "place_of"]
