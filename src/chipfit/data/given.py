"""A data set that a Python caller built by hand: looked at as the rows of a loader are, before anything works on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from chipfit.core.data import Dataset, Split, release
from chipfit.core.errors import BadInput
from chipfit.core.supervised import supervised
from chipfit.core.words import shown
from chipfit.data import several
from chipfit.data.batches import Batches
from chipfit.data.own import check_agreement, joined
from chipfit.data.statistics import channels_of

_ROWS_AT_ONCE = 1024


def checked(dataset: Dataset) -> Dataset:
    """The same data set, its arrays uint8, float32 or int64, targets int64 or float32; test is looked at when it opens.

    Raises:
        BadInput: parts of another form or that do not agree, labels without a class, a mean or deviation too few.
    """
    if not isinstance(dataset.name, str):
        raise BadInput(f"data {shown(dataset.name)} has no text for a name; give it one")
    if not callable(dataset.open_test):
        raise BadInput(f"data {dataset.name!r}: open_test is no function; give one that returns the test part")
    dataset = _with_ports(dataset)
    train, validation = (_part(dataset, name, getattr(dataset, name)) for name in ("train", "validation"))
    check_agreement(f"data {dataset.name!r}", {"train": train, "validation": validation})
    _check_classes(dataset, train)
    _check_constants(dataset, channels_of(train.inputs))

    def open_test() -> Split:
        with supervised(f"data {dataset.name!r}: open_test"):
            found = dataset.open_test()
        test = _part(dataset, "test", found)
        check_agreement(f"data {dataset.name!r}", {"train": train, "test": test})
        return test

    return replace(dataset, train=train, validation=validation, open_test=open_test)


def _with_ports(dataset: Dataset) -> Dataset:
    """The data set with the inputs that its rows hold, where the first of them are a tuple or a mapping."""
    split: object = dataset.train
    if not isinstance(split, Split) or not isinstance(split.inputs, tuple | Mapping) or dataset.ports:
        return dataset
    batches = Batches(f"data {dataset.name!r}: train", _several_rows(split))
    for _ in batches:
        break
    return replace(dataset, ports=batches.ports)


def _part(dataset: Dataset, name: str, split: object) -> Split:
    where = f"data {dataset.name!r}: {name}"
    if not isinstance(split, Split):
        raise BadInput(f"{where} is a {type(split).__name__}; give a chipfit.Split of inputs and targets")
    if dataset.ports and isinstance(split.inputs, tuple | Mapping):
        return joined(Batches(where, _several_rows(split), numbers=dataset.task.divergence == "squared"))
    if split.targets is not None and len(split.targets) != len(split.inputs):
        raise BadInput(f"{where} has {len(split.inputs)} inputs and {len(split.targets)} targets; give one for each")
    batches = Batches(where, _rows(split), numbers=dataset.task.divergence == "squared")
    sound = isinstance(split.inputs, np.ndarray) and split.inputs.dtype in (np.uint8, np.float32, np.int64)
    kinds = (np.int64, np.float32)
    labels = split.targets is None or (isinstance(split.targets, np.ndarray) and split.targets.dtype in kinds)
    if not (sound and labels):
        return joined(batches)
    for _ in batches:  # only looked at: what is sound is left as it is, in memory or in its file
        release(split.inputs)
    return split


def _rows(split: Split) -> Iterator[Any]:
    for start in range(0, len(split.inputs), _ROWS_AT_ONCE):
        stretch = slice(start, start + _ROWS_AT_ONCE)
        yield split.inputs[stretch], None if split.targets is None else split.targets[stretch]


def _several_rows(split: Split) -> Iterator[Any]:
    """The rows of a part whose inputs are a tuple or a mapping of arrays."""
    parts: dict[str, Any] = several.named(split.inputs) or {}
    for start in range(0, len(next(iter(parts.values()), ())), _ROWS_AT_ONCE):
        stretch = slice(start, start + _ROWS_AT_ONCE)
        named = {name: part[stretch] for name, part in parts.items()}
        inputs = named if isinstance(split.inputs, Mapping) else tuple(named.values())
        yield inputs, None if split.targets is None else split.targets[stretch]


def _check_classes(dataset: Dataset, train: Split) -> None:
    if train.targets is None or not dataset.task.default or train.targets.ndim > 1 or train.targets.dtype != np.int64:
        return
    if int(train.targets.max()) >= len(dataset.classes):
        raise BadInput(
            f"data {dataset.name!r} has the label {int(train.targets.max())} but {len(dataset.classes)} classes; "
            f"name a class for each label from 0"
        )


def _check_constants(dataset: Dataset, channels: int) -> None:
    for name, values in (("mean", dataset.mean), ("std", dataset.std)):
        with np.errstate(over="ignore", under="ignore"):
            kept = np.asarray(values, np.float32) if _are_numbers(values) else np.empty(0, np.float32)
        if len(kept) not in (1, channels) or not np.isfinite(kept).all():
            raise BadInput(f"data {dataset.name!r} has {name}={values}; give {channels} finite values, one a channel")
        if name == "std" and not (np.abs(kept) >= np.finfo(np.float32).tiny).all() and min(values) > 0:
            raise BadInput(f"data {dataset.name!r} has std={values}; give values above 1e-38, which float32 can hold")
    if min(dataset.std) <= 0:
        raise BadInput(f"data {dataset.name!r} has a deviation of {min(dataset.std):g}; it must be above zero")


def _are_numbers(values: object) -> bool:
    """True for a list of numbers, of whatever kind of list."""
    if isinstance(values, str | bytes) or not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
        return False
    return all(isinstance(v, int | float | np.number) for v in values)
