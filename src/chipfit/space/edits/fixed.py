"""Weights of a layer in fixed point, in formats that a bound on its transfers suggests (HotNAS, arXiv 2007.09087).

The grid is that of the weights which an accelerator stores: those with the batch norm behind the layer folded in. The
norm stays in the network, where training needs it; weights are such that they are numbers once they are multiplied by
its factor, which a file has exactly (`export.fold`). A bias has as many bits as its accumulator, and is not rounded.

Integer bits, the sign among them, are those that the largest weight needs; what is left of 16 bits are fraction bits.
Fewer of these are of use until the second largest of a layer's transfers and computing decides its time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from numbers import Integral

from chipfit.core.channels import foldable
from chipfit.core.edits import Edit, Edited, Factor, Rounded, Source
from chipfit.core.fixed_point import WIDEST
from chipfit.core.graph import Op
from chipfit.core.types import Plain
from chipfit.space.edits.kind import Kind, Structure
from chipfit.space.edits.layer import by_layer, changed

FORMATS = 6
"""Formats of one layer at most."""


@dataclass(frozen=True, slots=True)
class Fixed(Edit):
    """Keep the weights of a layer in fixed point with so many integer bits, the sign among them, and fraction bits."""

    layer: str
    integer: int
    fraction: int


def formats(integer: int, slack: float) -> tuple[int, ...]:
    """Fraction bits to choose from, ascending, for a layer whose weights need so many integer bits.

    `slack` is the largest of the layer's times (computing, loading weights or inputs, storing outputs) over the second
    largest, at least 1: with 16 bits divided by it weights are no longer what takes longest.

    >>> formats(1, 1.0), formats(1, 4.0)
    ((15,), (3, 6, 9, 12, 15))
    """
    beyond = WIDEST + 1 - integer
    least = min(max(floor(WIDEST / slack) - integer, 1), beyond - 1)
    step = max(ceil((beyond - least) / FORMATS), 1)
    return tuple(range(least, beyond, step))


def _rewrite(original: Structure, made: Edited, edits: Sequence[Fixed]) -> Edited:
    norms = {layer: made.graph[norm] for norm, layer in foldable(made.graph).items()}

    def rounded(edit: Fixed, o: Op, weight: Source) -> tuple[Op, Source]:
        _check(edit)
        on_grid = Rounded(weight, edit.integer, edit.fraction, _factor(norms.get(o.name), made.arrays))
        return o.having(integer_bits=edit.integer, fraction_bits=edit.fraction), on_grid

    return changed(made, by_layer(original.graph, edits), rounded)


def _check(edit: Fixed) -> None:
    bits: tuple[object, ...] = (edit.integer, edit.fraction)
    if not all(isinstance(n, Integral) for n in bits):
        raise ValueError(
            f"layer {edit.layer!r} gets {edit.integer} integer and {edit.fraction} fraction bits; give whole numbers"
        )
    if edit.integer < 0 or edit.fraction < 0 or not 1 <= edit.integer + edit.fraction <= WIDEST:
        raise ValueError(
            f"layer {edit.layer!r} gets {edit.integer} integer and {edit.fraction} fraction bits; "
            f"give none below 0, and 1 to {WIDEST} together"
        )


def _factor(norm: Op | None, arrays: Mapping[str, Source]) -> Factor | None:
    """What is folded into a layer's weights."""
    if norm is None:
        return None
    if norm.kind == "batch_norm":
        return Factor(arrays[norm.array("weight")], arrays[norm.array("running_var")], norm["eps"])
    return Factor(arrays[norm.array("scale")]) if norm["scale"] else None


def _from_plain(layer: str, rest: Sequence[Plain]) -> Fixed:
    integer, fraction = rest
    return Fixed(layer, integer, fraction)  # type: ignore[arg-type]


FIXED = Kind(
    "fixed",
    Fixed,
    _rewrite,
    to_plain=lambda e: [e.layer, e.integer, e.fraction],
    from_plain=_from_plain,
    in_words=lambda e: f"{e.layer!r} with weights of {e.integer + e.fraction} bits",
    changed="layers with fixed-point weights",
    caption="Bits of each layer's weights in fixed point.",
)
