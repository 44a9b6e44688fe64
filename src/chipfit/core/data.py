"""What is learnt: pictures or arrays with targets, in three disjoint parts.

Search and training see `train` and `validation`. `test` opens through a function, so that the one place that
reads it (the report) is the one place that can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Inputs = NDArray[np.uint8] | NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Split:
    """One part of a data set: `inputs` (n, C, H, W) uint8 or float32, `targets` (n,) int64 or None (unlabelled)."""

    inputs: Inputs
    targets: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: NDArray[np.intp] | slice) -> Split:
        """The same part with only these rows."""
        return Split(self.inputs[rows], None if self.targets is None else self.targets[rows])


@dataclass(frozen=True, slots=True)
class Dataset:
    """Train, validation and a test part that opens on demand.

    uint8 inputs are scaled to 0..1 and then normalised with `mean` and `std` (one value a channel); float inputs
    are only normalised. `flip` and `shift` (pixels) are the augmentations that leave a class what it is.
    """

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: Split
    validation: Split
    open_test: Callable[[], Split] = field(repr=False)
    flip: bool = False
    shift: int = 0
    licence: str = "unknown"
    notes: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one input."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def labelled(self) -> bool:
        """True when the training inputs have targets."""
        return self.train.targets is not None

    def calibration(self, n: int = 512) -> Split:
        """The first `n` rows of train under a fixed permutation: what ranges and damage are estimated on."""
        order = np.random.default_rng(0).permutation(len(self.train))[:n]
        return self.train.take(np.sort(order))

    def normalise(self, inputs: Inputs) -> NDArray[np.float32]:
        """What a network sees: float32 (n, C, H, W), scaled and normalised."""
        x = inputs.astype(np.float32)
        if inputs.dtype == np.uint8:
            x /= 255.0
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x - np.asarray(self.mean, np.float32).reshape(shape)) / np.asarray(self.std, np.float32).reshape(shape)

    def digest(self) -> str:
        """Sha256 (16 hex digits) over names, sizes and every 64th row of train and validation."""
        h = hashlib.sha256(repr((self.name, self.classes, self.mean, self.std)).encode())
        for part in (self.train, self.validation):
            h.update(repr(part.inputs.shape).encode())
            h.update(np.ascontiguousarray(part.inputs[::64]).tobytes())
            if part.targets is not None:
                h.update(np.ascontiguousarray(part.targets).tobytes())
        return h.hexdigest()[:16]
