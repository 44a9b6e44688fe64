"""What a user's loader hands over, one batch after the other, as arrays that are known to be sound.

A loader is any iterable of `(inputs, targets)`, of inputs alone, or of single rows with a target each; inputs may be
several (`data.several`). An array or tensor, or a pair of them, is all rows at once; what has a length and an index (a
torch Dataset) is walked by index.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.data import Inputs, Targets
from chipfit.core.errors import BadInput
from chipfit.core.metric import IGNORED
from chipfit.core.ports import Ports
from chipfit.core.supervised import supervised, supervised_items
from chipfit.data import limits, several

Labels = NDArray[np.int64]
Batch = tuple[Inputs, Targets | None]
Collate = Callable[[list[Any]], Any]
"""The user's own: from a list of items to one batch (inputs, targets), as a DataLoader's."""

_ROWS_AT_ONCE, _COLLATED_AT_ONCE = 1024, 64
"""Rows of a whole array that are taken at once, and items that a user's `collate` is given."""


class Batches:
    """The batches of one part, walked once; `where` names it in messages, `notes` tells what was taken for what.

    With `numbers` whole targets are numbers like others, not those of classes. `collate` makes batches of items.
    """

    def __init__(self, where: str, items: object, *, numbers: bool = False, collate: Collate | None = None) -> None:
        self.where = where
        self.numbers = numbers
        self.notes: set[str] = set()
        self.ports: Ports = ()
        self.rows = 0
        with supervised(where):  # what they are is asked of them: `len` and `shape` may be the user's own
            self._by_row = collate is None and _is_indexed(items)
            found = _iterable(where, items)
            self._items = found if collate is None else _collated(found, collate)

    def __iter__(self) -> Iterator[Batch]:
        """(inputs (n, ...), targets (n, ...) or None), empty batches left out.

        Raises:
            BadInput: a batch of another form, its first bad row named; the user's own error; no end.
        """
        kinds: list[str] = []
        forms: set[tuple[int, ...]] = set()
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
            forms |= set() if y is None else {y.shape[1:]}
            if len(forms) > 1:
                raise BadInput(f"{self.where} has targets of different shapes: {', '.join(map(str, sorted(forms)))}")
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
        y = None if targets is None else _array(self.where, targets)
        if (parts := self._several(given, y)) is not None:
            return self._side_by_side(parts, y)
        x = _array(self.where, next(iter(given.values())) if isinstance(given, Mapping) and given else given)
        if y is not None and (y.ndim == 0 or (self._by_row and _is_row(x, y))):
            x, y = x[None], y[None]
        if x.ndim and len(x) == 0 and (y is None or len(y) == 0):
            return np.zeros((0, 1), np.float32), None
        if y is None:
            return _inputs(self.where, x, self.rows), None
        return _inputs(self.where, x, self.rows), targets_of(self.where, y, len(x), self.numbers, self.notes)

    def _several(self, given: object, y: NDArray[Any] | None) -> dict[str, Any] | None:
        """The inputs by name where they are several."""
        parts = several.named(given)
        if parts is None or len(parts) < 2:
            return None
        batch = not self._by_row and y is not None and y.ndim > 0
        if batch and not isinstance(given, Mapping) and len(self.ports) != len(parts):
            return None if y is None or several.are_rows(parts, len(y)) else parts
        return parts

    def _side_by_side(self, given: Mapping[str, Any], y: NDArray[Any] | None) -> Batch:
        parts = {name: _array(self.where, value) for name, value in given.items()}
        if self._by_row or (y is not None and y.ndim == 0):
            parts, y = {name: part[None] for name, part in parts.items()}, None if y is None else y[None]
        if any(part.ndim == 0 for part in parts.values()):
            raise BadInput(f"{self.where} has inputs that are single numbers; give batches, one row for each")
        rows, ports = several.side_by_side(self.where, parts, self.rows)
        if self.ports:
            several.check_alike(self.where, self.ports, ports)
        self.ports = ports
        return rows, None if y is None else targets_of(self.where, y, len(rows), self.numbers, self.notes)


def _iterable(where: str, items: Any) -> Iterable[Any]:
    if isinstance(items, Mapping | str | bytes):
        raise BadInput(f"{where} is {_kind(items)}; give an iterable of (inputs, targets), such as a DataLoader")
    if isinstance(getattr(items, "shape", None), tuple) and hasattr(items, "__len__"):
        return _slices(items)
    if (
        isinstance(items, tuple | list)
        and len(items) == 2
        and _is_one_batch(items[0], items[1], isinstance(items, tuple))
    ):
        inputs, targets = map(_slices, items)
        return zip(inputs, targets, strict=True)
    if isinstance(items, tuple) and len(items) == 2 and _are_whole(items[0], _rows(items[1], True)):
        return [items]
    two = isinstance(items, tuple | list) and len(items) == 2
    if two and getattr(items[0], "ndim", 0) >= 2 and (n := _rows(items[1], False)) is not None:
        raise BadInput(f"{where} has {len(items[0])} inputs with {n} targets; give one for each")
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


def _is_one_batch(x: object, y: object, pair: bool) -> bool:
    """True for arrays of inputs and of targets, not for two batches or two rows.

    Targets of several numbers a row are taken for such in a tuple (`pair`) only: a list may hold two batches of inputs.
    """
    return getattr(x, "ndim", 0) >= 2 and hasattr(x, "__len__") and _rows(y, pair) == len(x)


def _are_whole(x: object, rows: int | None) -> bool:
    """True for several inputs by name, or one array of `rows` each, that come with so many targets."""
    if not rows or not isinstance(x, Mapping | tuple):
        return False
    return isinstance(x, Mapping) or all(getattr(part, "ndim", 0) >= 2 and len(part) == rows for part in x)


def _rows(y: object, several: bool) -> int | None:
    """For how many rows these are targets; None for anything else."""
    if isinstance(y, list):
        return len(y) if all(isinstance(v, int | float) for v in y) else None
    shape: Any = getattr(y, "shape", ())
    return int(shape[0]) if len(shape) == 1 or (several and len(shape) > 1) else None


def _is_indexed(items: Any) -> bool:
    """True for what is walked by index, row by row, such as a torch Dataset."""
    return not isinstance(items, Iterable) and hasattr(items, "__getitem__") and hasattr(items, "__len__")


def _is_row(x: NDArray[Any], y: NDArray[Any]) -> bool:
    """True for one row of a data set whose targets are arrays: a picture, a row of features, or other lengths."""
    return x.ndim in (1, 3) or not x.ndim or len(x) != len(y)


def _collated(items: Iterable[Any], collate: Collate) -> Iterator[Any]:
    """Batches that the user's function makes of a few items at a time."""
    walk = iter(items)
    while chunk := list(islice(walk, _COLLATED_AT_ONCE)):
        yield collate(chunk)


def _pair(where: str, item: object) -> tuple[object, object | None]:
    if isinstance(item, Mapping):
        inputs, targets = several.inputs_and_targets(item)
        if not inputs:
            raise BadInput(f"{where} gives {_kind(item)} without inputs; give them by the names that the model takes")
        return inputs, targets
    if not isinstance(item, tuple | list):
        return item, None
    if len(item) not in (1, 2):
        raise BadInput(
            f"{where} gives {_kind(item)} of {len(item)}; give (inputs, targets), or ((a, b), targets) for two inputs"
        )
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
    whole = x.dtype.kind in "iu" and x.dtype != np.uint8 and x.ndim == 2
    signal = x.dtype.kind == "f" and x.ndim in (3, 5)
    if (x.ndim not in (2, 4) and not signal) or 0 in x.shape[1:]:
        raise BadInput(
            f"{where} has inputs of shape {x.shape}; give (n, channels, height, width) or (n, features), float signals "
            f"(n, channels, length), or whole numbers of tokens (n, length)"
        )
    if whole:
        return _tokens(where, x)
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


def _tokens(where: str, x: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers of tokens; float32, in which they travel, holds them exactly up to `limits.TOKENS`."""
    least, most = int(x.min()), int(x.max())
    if least < 0 or most >= limits.TOKENS:
        raise BadInput(
            f"{where} has the number {least if least < 0 else most} among its inputs; whole numbers are those of "
            f"tokens, 0 to {limits.TOKENS - 1}; give values as float32"
        )
    return x.astype(np.int64)


def targets_of(where: str, y: NDArray[Any], n: int, numbers: bool, notes: set[str]) -> Targets:
    """The targets of a batch of `n` inputs: class numbers as int64, anything else as float32.

    One whole number a row is one of a class unless targets are told to be `numbers`; whole numbers of more places are
    those of classes, or yes and no.

    Raises:
        BadInput: not one for each input, or nothing that can be learnt.
    """
    if len(y) != n:
        raise BadInput(f"{where} has a batch of {n} inputs with {len(y)} targets; give one for each")
    if y.dtype.kind not in "iubf":
        raise BadInput(f"{where} has targets of type {y.dtype}; give whole class numbers 0, 1, ..., or real numbers")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise BadInput(f"{where} has targets that are NaN or infinite; leave such rows out, or mend them")
    if numbers or (y.dtype.kind == "f" and not _are_classes(y)):
        return _numbers(where, y)
    return _labels(where, y, notes)


def _are_classes(y: NDArray[Any]) -> bool:
    """Whether floats may be class numbers: one whole number a row, none below 0 or beyond what classes there may be."""
    return y.ndim == 1 and bool(((y == np.floor(y)) & (y >= 0) & (y < limits.CLASSES)).all())


def _numbers(where: str, y: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers to be learnt; bytes of pictures are scaled to 0..1."""
    with np.errstate(over="ignore"):
        found = y.astype(np.float32)
    if not np.isfinite(found).all():
        raise BadInput(f"{where} has targets too large for float32; give them in a larger unit")
    return found / np.float32(255) if y.dtype == np.uint8 and y.ndim == 4 else found


def _labels(where: str, y: NDArray[Any], notes: set[str]) -> Labels:
    if y.dtype.kind in "fb" and y.ndim == 1:
        notes.add(f"targets of type {y.dtype} were taken as class numbers")
    # asked before they are converted: 2^64 - 1 and 1e300 would become other numbers
    least, most = int(y.min()), int(y.max())
    if least < (IGNORED if y.ndim > 1 else 0):
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
