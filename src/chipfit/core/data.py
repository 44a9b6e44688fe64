"""What is learnt: pictures or arrays with targets, in three disjoint parts.

Search and training see `train` and `validation`. `test` opens through a function, so that the one place that
reads it (the report) is the one place that can.
"""

from __future__ import annotations

import hashlib
import math
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chipfit.core.ports import Ports
from chipfit.core.task import CLASSIFICATION, Task

Inputs = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int64]
"""Rows of one shape: in memory, or mapped from a file where they are more than memory should hold (`release`)."""

Targets = NDArray[np.int64] | NDArray[np.float32]
"""Class numbers, 0 or 1 for each label, or real numbers: one for each row, or an array (n, ...)."""

_ROWS_AT_ONCE = 64
"""Rows that are read from a file between two releases."""

PIECE_BYTES = 2**28
"""Bytes of normalised inputs that are held at once where a whole part is walked (256 MiB)."""


def in_file(inputs: Inputs) -> mmap.mmap | None:
    """The mapped file that these rows are a view of; None for rows in memory."""
    base: object = inputs
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def release(inputs: Inputs) -> None:
    """Gives back the memory that rows mapped from a file took when they were read; they stay as they are.

    Called after each batch of a walk, so that a walk takes the memory of a batch: the next read finds the rows in the
    file, mostly in the system's cache of it. Rows in memory are left alone.
    """
    mapped = in_file(inputs)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _chosen(inputs: Inputs, rows: NDArray[np.intp] | slice) -> Inputs:
    """`inputs[rows]`; rows by number are read from a file a few at a time, since each maps its surroundings as well."""
    if isinstance(rows, slice) or in_file(inputs) is None:
        return inputs[rows]
    chosen = np.empty((len(rows), *inputs.shape[1:]), inputs.dtype)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        chosen[start : start + _ROWS_AT_ONCE] = inputs[rows[start : start + _ROWS_AT_ONCE]]
        release(inputs)
    return chosen


@dataclass(frozen=True, slots=True)
class Split:
    """One part of a data set, of equal rows.

    `inputs` are pictures (n, C, H, W), signals (n, C, L), rows of features (n, F), or numbers of tokens (n, T), int64;
    `targets` what the task has, class numbers (n,) as a rule; None where there are none.
    """

    inputs: Inputs
    targets: Targets | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: NDArray[np.intp] | slice) -> Split:
        """The same part with only these rows; in memory where they are given by number."""
        return Split(_chosen(self.inputs, rows), None if self.targets is None else self.targets[rows])

    def pieces(self, answer: int = 1) -> Iterator[Split]:
        """The part in order, in pieces that take at most `PIECE_BYTES` as float32; a small part is one piece.

        `answer` is how many values a network answers to each input, which may be more than the input has.
        """
        row_bytes = 4 * max(1, answer, math.prod(self.inputs.shape[1:]))
        rows = max(1, PIECE_BYTES // row_bytes)
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))
            release(self.inputs)


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
    task: Task = CLASSIFICATION
    """What networks are trained for and judged by."""
    ports: Ports = ()
    """The inputs that stand side by side in each row, float32, of networks that take several; none for one input."""

    @property
    def of_tokens(self) -> bool:
        """True where inputs are whole numbers that a network looks up, not values that it computes with."""
        return self.train.inputs.dtype.kind == "i"

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
        """What a network sees: float32 (n, C, H, W), scaled and normalised; numbers of tokens as they are, as float32.

        Float32 holds whole numbers up to 2^24 exactly.
        """
        x = np.array(inputs, np.float32)
        release(inputs)
        if inputs.dtype == np.uint8:
            x /= 255.0
        shape = (1, -1) + (1,) * (x.ndim - 2)
        # in place: a large part is held once, not three times
        x -= np.asarray(self.mean, np.float32).reshape(shape)
        x /= np.asarray(self.std, np.float32).reshape(shape)
        return x

    def digest(self) -> str:
        """Sha256 (16 hex digits) over names, sizes and every 64th row of train and validation."""
        about: tuple[object, ...] = (self.name, self.classes, self.mean, self.std)
        about = about if self.task.default else (*about, self.task.key)
        h = hashlib.sha256(repr((*about, self.ports) if self.ports else about).encode())
        for part in (self.train, self.validation):
            h.update(repr(part.inputs.shape).encode())
            h.update(part.take(np.arange(0, len(part), 64)).inputs.tobytes())
            if part.targets is not None:
                h.update(np.ascontiguousarray(part.targets).tobytes())
        return h.hexdigest()[:16]
