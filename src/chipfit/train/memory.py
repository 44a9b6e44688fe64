"""A batch that a GPU's memory is too small for is computed in halves, and in halves of those.

Gradients are added up over the pieces, so that the step remains that of the whole batch; batch norm alone sees the
statistics of a piece. What runs out of memory on the processor ends the process: there the operating system decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def in_halves(compute: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`compute(x)` for inputs (n, ...), in as many halves as the memory asks for.

    Raises:
        torch.OutOfMemoryError: the memory is too small for one input.
    """
    try:
        return compute(x)
    except torch.OutOfMemoryError:
        if len(x) < 2:
            raise
    torch.cuda.empty_cache()  # out here, where the failed attempt's tensors are gone
    return torch.cat([in_halves(compute, half) for half in x.tensor_split(2)])


@dataclass
class Pieces:
    """Into how many pieces the batches of one training are cut; it only grows."""

    count: int = 1

    def add_up(self, backward: Callable[[Tensor, float], Tensor], rows: Tensor, again: Callable[[], None]) -> Tensor:
        """The mean loss of a batch, its gradients accumulated piece by piece.

        Args:
            backward: (rows of a piece, its share of the batch) to its share of the loss, after a backward pass.
            rows: of the whole batch, (n,).
            again: clears the gradients of an attempt that failed.

        Raises:
            torch.OutOfMemoryError: the memory is too small for one input.
        """
        while True:
            try:
                pieces = [piece for piece in rows.tensor_split(self.count) if len(piece)]
                return torch.stack([backward(piece, len(piece) / len(rows)) for piece in pieces]).sum()
            except torch.OutOfMemoryError:
                if self.count >= len(rows):
                    raise
            again()
            torch.cuda.empty_cache()
            self.count *= 2
