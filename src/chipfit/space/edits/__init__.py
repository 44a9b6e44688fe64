"""Edits on a Graph: the shapes, MACs and bytes that changes lead to, and how the new graph came to be.

One file a kind. A new kind is a file with its record, its rule and its words, and a row of `table.KINDS`.
"""

from chipfit.core.edits import Precision, Skip, Swap, Width
from chipfit.space.edits.precision import computed_in, sites_in
from chipfit.space.edits.skip import drops
from chipfit.space.edits.table import KINDS, apply, edited, from_plain, kind_of, named, structural, to_plain
from chipfit.space.edits.width import narrowed_to

__all__ = [
    "KINDS",
    "Precision",
    "Skip",
    "Swap",
    "Width",
    "apply",
    "computed_in",
    "drops",
    "edited",
    "from_plain",
    "kind_of",
    "named",
    "narrowed_to",
    "sites_in",
    "structural",
    "to_plain",
]
