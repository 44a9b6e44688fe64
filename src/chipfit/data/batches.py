"""What a user's loader hands over, one batch after the other, as arrays that are known to be sound.

A loader is any iterable of `(inputs, targets)`, of inputs alone, or of single rows with a number each. An array or
tensor, or a pair of them, is all rows at once; what has a length and an index (a torch Dataset) is walked by index.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.data import Inputs
from chipfit.core.errors import BadInput
from chipfit.core.supervised import supervised, supervised_items
from chipfit.data import limits

Labels = NDArray[np.int64]
Batch = tuple[Inputs, Labels | None]

_ROWS_AT_ONCE = 1024
"""Rows of a whole array that are taken at once."""


class Batches:
    """The batches of one part, walked once; `where` names it in messages, `notes` tells what was taken for what."""

    def __init__(self, where: str, items: object) -> None:
        self.where = where
        self.notes: set[str] = set()
        self.rows = 0
        with supervised(where):  # what they are is asked of them: `len` and `shape` may be the user's own
            self._items = _iterable(where, items)

    def __iter__(self) -> Iterator[Batch]:
        """(inputs (n, ...), targets (n,) or None), empty batches left out.

        Raises:
            BadInput: a batch of another form, its first bad row named; the user's own error; no end.
        """
        kinds: list[str] = []
        labelled, batches, empty = 0, 0, 0
        for item in self._walked():
            x, y = self._arrays(item)
            if not len(x):
                empty += 1
                if empty > limits.EMPTY_BATCHES:
                    raise BadInput(f"{self.where} gives {empty} batches without rows; does it ever end? give fewer")
                continue
            kinds = sorted({*kinds, f"{x.dtype} {x.shape[1:]}"})
            if len(kinds) > 1:
                raise BadInput(
                    f"{self.where} has inputs of different kinds: {', '.join(kinds)}; give all one shape and type"
                )
            self.rows, batches, labelled = self.rows + len(x), batches + 1, labelled + (y is not None)
            yield x, y
        if not batches:
            raise BadInput(
                f"{self.where} has no rows; give at least one batch (a generator that was used up gives none)"
            )
        if labelled not in (0, batches):
            raise BadInput(f"{self.where} has targets in {labelled} of {batches} batches; give them in all or in none")

    def _walked(self) -> Iterator[Any]:
        """The items, as long as that may take; what the user's code raises is told in one line."""
        start = time.monotonic()
        for count, item in enumerate(supervised_items(self.where, self._items), 1):
            if max(count, self.rows) > limits.FILES:
                raise BadInput(f"{self.where} gives more than {limits.FILES} rows; does it ever end? bound it")
            if time.monotonic() - start > limits.LOADER_SECONDS:
                raise BadInput(
                    f"{self.where} gave {self.rows} rows in {limits.LOADER_SECONDS:.0f} s and has not ended; "
                    f"does it ever? give fewer rows"
                )
            yield item

    def _arrays(self, item: object) -> Batch:
        given, targets = _pair(self.where, item)
        x = _array(self.where, given)
        y = None if targets is None else _array(self.where, targets)
        if y is not None and y.ndim == 0:
            x, y = x[None], y[None]
        if x.ndim and len(x) == 0 and (y is None or len(y) == 0):
            return np.zeros((0, 1), np.float32), None
        if y is None:
            return _inputs(self.where, x, self.rows), None
        return _inputs(self.where, x, self.rows), _labels(self.where, y, len(x), self.notes)


def _iterable(where: str, items: Any) -> Iterable[Any]:
    if isinstance(items, Mapping | str | bytes):
        raise BadInput(f"{where} is {_kind(items)}; give an iterable of (inputs, targets), such as a DataLoader")
    if isinstance(getattr(items, "shape", None), tuple) and hasattr(items, "__len__"):
        return _slices(items)
    if isinstance(items, tuple | list) and len(items) == 2 and _is_one_batch(*items[:2]):
        inputs, targets = map(_slices, items)
        return zip(inputs, targets, strict=True)
    if isinstance(items, Iterable):
        return items
    if hasattr(items, "__getitem__") and hasattr(items, "__len__"):
        if len(items) > limits.FILES:
            raise BadInput(f"{where} has {len(items)} rows, at most {limits.FILES} are possible; give fewer")
        return _by_index(items)
    raise BadInput(f"{where} is {_kind(items)}; give an iterable of (inputs, targets), such as a DataLoader")


def _slices(array: Any) -> Iterator[Any]:
    """A whole array or tensor in pieces: it may be mapped from a file that is larger than the memory."""
    for start in range(0, len(array), _ROWS_AT_ONCE):
        yield array[start : start + _ROWS_AT_ONCE]


def _by_index(items: Any) -> Iterator[Any]:
    for k in range(len(items)):
        yield items[k]


def _is_one_batch(x: object, y: object) -> bool:
    """True for arrays of inputs and of targets, not for two batches or two rows."""
    return getattr(x, "ndim", 0) in (2, 4) and hasattr(x, "__len__") and _rows(y) == len(x)


def _rows(y: object) -> int | None:
    """How many class numbers these are; None for anything else."""
    if isinstance(y, list):
        return len(y) if all(isinstance(v, int) for v in y) else None
    shape: Any = getattr(y, "shape", ())
    return int(shape[0]) if len(shape) == 1 else None


def _pair(where: str, item: object) -> tuple[object, object | None]:
    if not isinstance(item, tuple | list | Mapping):
        return item, None
    if isinstance(item, Mapping) or len(item) not in (1, 2):
        raise BadInput(f"{where} gives {_kind(item)} of {len(item)}; give (inputs, targets)")
    given: list[object] = list(item)
    return given[0], given[1] if len(given) == 2 else None


def _array(where: str, value: Any) -> NDArray[Any]:
    """A numpy array of what the user gives; tensors may need gradients, be on a GPU, or in bfloat16."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return np.asarray(value)
    except Exception as e:  # whatever the user's own types do when they are asked to be an array
        raise BadInput(f"{where} gives {_kind(value)} that is no array ({_reason(e)}); give arrays or tensors") from e


def _inputs(where: str, x: NDArray[Any], before: int) -> Inputs:
    if x.ndim not in (2, 4) or 0 in x.shape[1:]:
        raise BadInput(f"{where} has inputs of shape {x.shape}; give (n, channels, height, width) or (n, features)")
    if _channels_last(x):
        raise BadInput(
            f"{where} has inputs of shape {x.shape}, which look like (n, height, width, channels); give channels "
            f"before height, e.g. x.transpose(0, 3, 1, 2)"
        )
    if x.dtype == np.uint8:
        return np.array(x)  # a copy: a generator may fill one buffer again and again
    if x.dtype.kind != "f":
        raise BadInput(f"{where} has inputs of type {x.dtype}; give uint8 (0..255) or float32")
    with np.errstate(over="ignore"):
        values = np.array(x, np.float32)
    bad = ~np.isfinite(values.reshape(len(x), -1)).all(axis=1)
    if bad.any():
        large = ", or too large for float32," if np.isfinite(np.asarray(x[bad][0], np.float64)).all() else ""
        raise BadInput(
            f"{where} has NaN or infinite inputs{large} in {int(bad.sum())} rows of a batch, the first is row "
            f"{before + int(bad.argmax())}; clean them"
        )
    return values


def _channels_last(x: NDArray[Any]) -> bool:
    """True for pictures as files hold them: one, three or four colours at the end, and no such number in front."""
    if x.ndim != 4 or x.shape[3] not in (1, 3, 4) or x.shape[1] <= 4:
        return False
    return x.shape[1] == x.shape[2] or (x.dtype == np.uint8 and x.shape[2] > 4)


def _labels(where: str, y: NDArray[Any], n: int, notes: set[str]) -> Labels:
    if y.ndim != 1:
        raise BadInput(
            f"{where} has targets of shape {y.shape}; give one class number a row, e.g. argmax(1) of one-hot"
        )
    if len(y) != n:
        raise BadInput(f"{where} has a batch of {n} inputs with {len(y)} targets; give one for each")
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool((np.isfinite(y) & (y == np.floor(y))).all()))
    if not whole:
        raise BadInput(
            f"{where} has targets of type {y.dtype}; give whole class numbers 0, 1, ... (regression comes later)"
        )
    if y.dtype.kind in "fb":
        notes.add(f"targets of type {y.dtype} were taken as class numbers")
    # asked before they are converted: 2^64 - 1 and 1e300 would become other numbers
    least, most = int(y.min()), int(y.max())
    if least < 0:
        raise BadInput(f"{where} has the label {least}; labels are 0, 1, ..., classes - 1")
    if most >= limits.CLASSES:
        raise BadInput(
            f"{where} has the label {most}; labels are 0, 1, ..., classes - 1, with at most {limits.CLASSES} classes"
        )
    return y.astype(np.int64)


def _reason(e: BaseException) -> str:
    return " ".join(str(e).split())[:300] or "without a message"


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
