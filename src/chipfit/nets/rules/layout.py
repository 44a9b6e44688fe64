"""Where the batch is in a torch value, so that networks which move or merge it stay batch first in the graph.

Attention puts the batch second, (N, B, C), or merges it with heads and windows, (B·nW, N, C). The graph holds such a
value batch first all the same: without its batch axis, which at an axis that is merged leaves the other factor there.
An operator on the other axes does not see the difference, a permutation often becomes none at all, and a view is a
view of what is left: taking the batch out of a row-major order keeps the order of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """The batch is a factor of axis `axis`, of size before · batch · after."""

    axis: int = 0
    before: int = 1
    after: int = 1

    @property
    def merged(self) -> int:
        """What else its axis holds."""
        return self.before * self.after

    def stripped(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a torch value as the graph has it, without the batch."""
        rest = (self.merged,) if self.merged > 1 else ()
        return (*shape[: self.axis], *rest, *shape[self.axis + 1 :])

    def place(self, axis: int) -> int | None:
        """A torch axis counted as the graph has it; None for one that holds the batch alone."""
        if axis < self.axis:
            return axis
        if axis == self.axis:
            return axis if self.merged > 1 else None
        return axis if self.merged > 1 else axis - 1

    def constant(self, value: Tensor, rank: int) -> Tensor | None:
        """A constant that torch broadcasts to a value of this rank, as it broadcasts to (1, *stripped).

        None where it changes along the axis of the batch.
        """
        aligned = value.reshape((1,) * (rank - value.dim()) + tuple(value.shape)) if value.dim() < rank else value
        if aligned.dim() != rank or aligned.shape[self.axis] != 1:
            return None
        return aligned.unsqueeze(0) if self.merged > 1 else aligned.movedim(self.axis, 0)


FIRST = Layout()
"""The batch alone, and first."""


def viewed(layout: Layout, before: tuple[int, ...], after: tuple[int, ...], batch: int) -> Layout | None:
    """Where the batch is after a view of shape `before` as `after`; None where no axis holds it whole."""
    left = prod(before[: layout.axis]) * layout.before
    right = layout.after * prod(before[layout.axis + 1 :])
    outer = 1
    for axis, size in enumerate(after):
        inner = prod(after[axis + 1 :])
        if left % outer == 0 and right % inner == 0:
            own_before, own_after = left // outer, right // inner
            if own_before * batch * own_after == size:
                return Layout(axis, own_before, own_after)
        outer *= size
    return None


def permuted(layout: Layout, order: list[int]) -> tuple[Layout, tuple[int, ...]]:
    """Where the batch is once torch's axes are put in an order, and the permutation of the graph's axes."""
    moved = Layout(order.index(layout.axis), layout.before, layout.after)
    places = [layout.place(axis) for axis in order]
    return moved, tuple(p for p in places if p is not None)
