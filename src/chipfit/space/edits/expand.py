"""Widening the kernels of a layer by one place all around, with zeros: the same function, with room to learn more.

A kernel of k places becomes one of k + 2 whose new places are zero, and the padding grows by the dilation, which is how
far apart its places are: every output stays what it was. It costs arithmetic where an engine has some to spare, under a
layer that is bound by its memory (HotNAS, arXiv 2007.09087).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chipfit.core.edits import Edit, Edited, Padded, Source
from chipfit.core.graph import Op
from chipfit.space.edits.kind import Kind, Structure
from chipfit.space.edits.layer import by_layer, changed

ALL_AROUND = {2: (1, 1), 3: (1, 1)}
"""One zero before and after on the rows and columns of a convolution's weight."""


@dataclass(frozen=True, slots=True)
class Expand(Edit):
    """Widen the kernels of a convolution by one place on each side, without changing what it computes."""

    layer: str


def _rewrite(original: Structure, made: Edited, edits: Sequence[Expand]) -> Edited:
    return changed(made, by_layer(original.graph, edits, frozenset({"conv"})), _wider)


def _wider(edit: Expand, o: Op, weight: Source) -> tuple[Op, Source]:
    (rows, columns), (above, left), (down, across) = o["kernel"], o["padding"], o["dilation"]
    wider = o.having(kernel=(rows + 2, columns + 2), padding=(above + down, left + across))
    return wider, Padded(weight, ALL_AROUND)


EXPAND = Kind(
    "expand",
    Expand,
    _rewrite,
    to_plain=lambda e: [e.layer],
    from_plain=lambda layer, _: Expand(layer),
    in_words=lambda e: f"{e.layer!r} with wider kernels",
    changed="layers with wider kernels",
    caption="Layers whose kernels have one more place all around.",
    grows=True,
)
