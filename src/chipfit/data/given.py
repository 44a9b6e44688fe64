"""A data set that a Python caller built by hand: looked at as the rows of a loader are, before anything works on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from chipfit.core.data import Dataset, Split, release
from chipfit.core.errors import BadInput
from chipfit.data.batches import Batches
from chipfit.data.own import check_agreement, joined
from chipfit.data.statistics import channels_of

_ROWS_AT_ONCE = 1024


def checked(dataset: Dataset) -> Dataset:
    """The same data set, its arrays uint8 or float32 with targets int64; the test part is looked at when it opens.

    Raises:
        BadInput: parts of another form or that do not agree, labels without a class, a mean or deviation too few.
    """
    train, validation = (_part(dataset, name, getattr(dataset, name)) for name in ("train", "validation"))
    check_agreement(f"data {dataset.name!r}", {"train": train, "validation": validation})
    _check_classes(dataset, train)
    _check_constants(dataset, channels_of(train.inputs))

    def open_test() -> Split:
        test = _part(dataset, "test", dataset.open_test())
        check_agreement(f"data {dataset.name!r}", {"train": train, "test": test})
        return test

    return replace(dataset, train=train, validation=validation, open_test=open_test)


def _part(dataset: Dataset, name: str, split: object) -> Split:
    where = f"data {dataset.name!r}: {name}"
    if not isinstance(split, Split):
        raise BadInput(f"{where} is a {type(split).__name__}; give a chipfit.Split of inputs and targets")
    if split.targets is not None and len(split.targets) != len(split.inputs):
        raise BadInput(f"{where} has {len(split.inputs)} inputs and {len(split.targets)} targets; give one for each")
    batches = Batches(where, _rows(split))
    sound = isinstance(split.inputs, np.ndarray) and split.inputs.dtype in (np.uint8, np.float32)
    labels = split.targets is None or (isinstance(split.targets, np.ndarray) and split.targets.dtype == np.int64)
    if not (sound and labels):
        return joined(batches)
    for _ in batches:  # only looked at: what is sound is left as it is, in memory or in its file
        release(split.inputs)
    return split


def _rows(split: Split) -> Iterator[Any]:
    for start in range(0, len(split.inputs), _ROWS_AT_ONCE):
        stretch = slice(start, start + _ROWS_AT_ONCE)
        yield split.inputs[stretch], None if split.targets is None else split.targets[stretch]


def _check_classes(dataset: Dataset, train: Split) -> None:
    if train.targets is not None and int(train.targets.max()) >= len(dataset.classes):
        raise BadInput(
            f"data {dataset.name!r} has the label {int(train.targets.max())} but {len(dataset.classes)} classes; "
            f"name a class for each label from 0"
        )


def _check_constants(dataset: Dataset, channels: int) -> None:
    for name, values in (("mean", dataset.mean), ("std", dataset.std)):
        if len(values) not in (1, channels) or not all(map(math.isfinite, values)):
            raise BadInput(f"data {dataset.name!r} has {name}={values}; give {channels} finite values, one a channel")
    if min(dataset.std) <= 0:
        raise BadInput(f"data {dataset.name!r} has a deviation of {min(dataset.std):g}; it must be above zero")
