"""Rows that come in pieces become one array: in memory while they are few, else in a file that is read by need.

The file has no name, so that nothing is left of it however the process ends. It stands in `$TMPDIR` where that is set,
else in the user's cache, else where temporary files go: those are often held in memory themselves.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from chipfit.core.data import Inputs, Split, release
from chipfit.core.errors import BadInput
from chipfit.data import limits


def gathered(pieces: Iterable[Inputs], expected: int = 0) -> Inputs:
    """All rows of the pieces, in order; the pieces agree in type and in shape but for their length.

    `expected` is how many bytes they are known to take: what is too much for memory is then written from the start.

    Raises:
        BadInput: more bytes than a data set may have, or than the disk has free.
        ValueError: no piece.
    """
    remaining = iter(pieces)
    first: deque[Inputs] = deque()
    size = 0
    for piece in remaining:
        first.append(piece)
        size += piece.nbytes
        if max(size, expected) > limits.IN_MEMORY:
            return _in_file(chain(_emptied(first), remaining))
    return cast(Inputs, np.concatenate(first))


def taken(split: Split, rows: NDArray[np.intp]) -> Split:
    """These rows of a part; never in memory where they are too many for it."""
    per_piece = rows_at_once(split.inputs)
    starts = range(0, max(1, len(rows)), per_piece)
    inputs = gathered(split.take(rows[start : start + per_piece]).inputs for start in starts)
    return Split(inputs, None if split.targets is None else split.targets[rows])


def rows_at_once(inputs: Inputs) -> int:
    """How many rows are handled at once where all of them are walked."""
    row_bytes = inputs.itemsize * math.prod(inputs.shape[1:])
    return max(1, limits.BATCH_BYTES // max(1, row_bytes))


def walked(inputs: Inputs) -> Iterator[Inputs]:
    """The rows in pieces of bounded size, whose memory is given back when the next is asked for."""
    per_piece = rows_at_once(inputs)
    for start in range(0, len(inputs), per_piece):
        yield inputs[start : start + per_piece]
        release(inputs)


def check_bytes(rows: int, shape: tuple[int, ...], what: str, way_out: str, itemsize: int = 1) -> None:
    """Raises BadInput where so many rows of a shape are more than a data set may have, or than the disk has free."""
    size = rows * math.prod(shape) * itemsize
    form = "x".join(map(str, shape))
    if size > limits.SET_BYTES:
        raise BadInput(
            f"{what}: {rows} inputs of {form} take {size / 1e9:.1f} GB decoded, at most "
            f"{limits.SET_BYTES / 1e9:g} GB are possible; {way_out}"
        )
    if size > limits.IN_MEMORY and size > (free := _free(_folder())):
        raise BadInput(
            f"{what}: {rows} inputs of {form} take {size / 1e9:.1f} GB decoded, the disk of {str(_folder())!r} has "
            f"{free / 1e9:.1f} GB for them; set TMPDIR to a folder on a larger one, or {way_out}"
        )


def _emptied(pieces: deque[Inputs]) -> Iterator[Inputs]:
    """The pieces, each let go when it was handed out."""
    while pieces:
        yield pieces.popleft()


def _in_file(pieces: Iterable[Inputs]) -> Inputs:
    folder = _folder()
    rows, size = 0, 0
    most = min(limits.SET_BYTES, _free(folder))
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = np.dtype(np.uint8)
    with tempfile.TemporaryFile(dir=folder, prefix="chipfit-data-") as file:
        for piece in pieces:
            rows, size = rows + len(piece), size + piece.nbytes
            shape, dtype = piece.shape[1:], piece.dtype
            if size > most:
                raise _too_large(folder, rows, most)
            write_rows(file, piece, folder)
        file.flush()
        # shared and writable, since torch warns of arrays that are read-only; nobody writes
        return cast(Inputs, np.memmap(file, dtype, "r+", shape=(rows, *shape)))


def write_rows(file: IO[bytes], piece: Inputs, folder: Path) -> None:
    """Appends rows to a file in `folder`.

    Raises:
        BadInput: the disk is full.
    """
    # written, not stored through the map: a full disk is an error here and a killed process there
    try:
        file.write(np.ascontiguousarray(piece).data.cast("B"))
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise BadInput(
            f"the disk of {str(folder)!r} is full ({e.strerror}), where decoded inputs are kept; "
            f"set TMPDIR to a folder on a larger one, or give fewer inputs"
        ) from e


def _too_large(folder: Path, rows: int, most: int) -> BadInput:
    where = "" if most == limits.SET_BYTES else f" on the disk of {str(folder)!r}; set TMPDIR to one on a larger disk"
    return BadInput(
        f"the first {rows} inputs of one part take more than {most / 1e9:.1f} GB, the most that is possible{where}; "
        f"give fewer inputs"
    )


def _folder() -> Path:
    """The first folder that takes a file."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chipfit"
    given = os.environ.get("TMPDIR")
    for folder in ([Path(given)] if given else []) + [cache]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return Path(tempfile.gettempdir())


def _free(folder: Path) -> int:
    """Bytes that decoded inputs may take there."""
    return max(0, shutil.disk_usage(folder).free - limits.FREE_BYTES)
