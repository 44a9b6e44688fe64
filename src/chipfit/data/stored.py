"""A part of a data set as files that other processes read: many rows are mapped there, and so held once by all."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from chipfit.core.data import Inputs, Split
from chipfit.data import limits
from chipfit.data.gather import walked, write_rows

_INPUTS, _TARGETS = "inputs.npy", "targets.npy"


def write_part(folder: Path, split: Split) -> None:
    """Writes inputs and targets into a folder, a piece at a time.

    Raises:
        BadInput: the disk is full.
    """
    with open(folder / _INPUTS, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file,
            {"descr": np.lib.format.dtype_to_descr(split.inputs.dtype), "fortran_order": False,
             "shape": split.inputs.shape},
        )  # fmt: skip
        for piece in walked(split.inputs):
            write_rows(file, piece, folder)
    if split.targets is not None:
        np.save(folder / _TARGETS, split.targets)


def read_part(folder: Path) -> Split:
    """What `write_part` wrote: in memory where the rows are few, else mapped from the file."""
    path, targets = folder / _INPUTS, folder / _TARGETS
    large = path.stat().st_size > limits.IN_MEMORY
    inputs = np.load(path, mmap_mode="r+" if large else None)
    return Split(cast(Inputs, inputs), np.load(targets) if targets.exists() else None)
