"""The user's own data: a function that returns `dict(train=, validation=, test=)` of iterables of (inputs, targets).

Each iterable is walked once and kept as arrays, so what is random in it is drawn once. Items are batches, or single
rows where the target is one number. Targets may be None, or missing, in all parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chipfit.core import user_code
from chipfit.core.data import Dataset, Inputs, Split
from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.supervised import supervised_items
from chipfit.data.options import Normalisation
from chipfit.data.split import PARTS, Part, complete
from chipfit.data.statistics import normalisation

_MEANING = {"loss": "cross_entropy", "metric": "accuracy"}
"""What a classification is trained with and judged by: the one kind of task so far."""


def load(spec: str, *, normalize: Normalisation | None = None) -> Dataset:
    """What `my_data.py:loaders` gives: inputs uint8 or float32 (n, C, H, W) or (n, features), targets int64.

    Raises:
        BadInput: no such function, its own error, or data of another form, with the part and the row.
    """
    found = user_code.call(spec, "loaders")
    if not isinstance(found, Mapping):
        raise BadInput(f"{spec} returned {_kind(found)}; return dict(train=, validation=, test=)")
    _check_keys(spec, found)
    given: dict[Part, Split] = {p: _split(f"{spec}: {p}", found[p]) for p in PARTS if p in found}
    _check_agreement(spec, given)
    parts = complete(given)
    (mean, std), origin = normalisation(parts.train.inputs, normalize)
    labels = parts.train.targets
    return Dataset(
        name=spec,
        classes=() if labels is None else tuple(str(c) for c in range(int(labels.max()) + 1)),
        mean=mean,
        std=std,
        train=parts.train,
        validation=parts.validation,
        open_test=lambda: parts.test,
        notes=("each of your loaders was walked once and kept; its augmentation is drawn once", *parts.notes, *origin),
    )


def _check_keys(spec: str, found: Mapping[Any, Any]) -> None:
    known = (*PARTS, *_MEANING)
    for key in found:
        if key not in known:
            raise BadInput(f"{spec}: key {key!r} is unknown{did_you_mean(str(key), known)}; known: {', '.join(known)}")
    if "train" not in found:
        raise BadInput(f"{spec}: 'train' is missing; return dict(train=, validation=, test=)")
    for key, only in _MEANING.items():
        if found.get(key, only) != only:
            raise BadInput(f"{spec}: {key} {found[key]!r} is not supported; leave it out or give {only!r}")


def _split(where: str, items: object) -> Split:
    if not isinstance(items, Iterable):
        raise BadInput(f"{where} is {_kind(items)}; give an iterable of (inputs, targets), such as a DataLoader")
    inputs: list[Inputs] = []
    targets: list[NDArray[np.int64]] = []
    try:
        for item in supervised_items(where, items):
            x, y = _pair(where, item)
            if y is not None and y.ndim == 0:
                x, y = x[None], y[None]
            if y is not None:
                _check_targets(where, y, len(x))
                targets.append(y.astype(np.int64))
            inputs.append(_inputs(where, x, sum(map(len, inputs))))
    except BadInput:
        raise
    except Exception as e:
        raise BadInput(f"{where} raised {type(e).__name__} while being read: {' '.join(str(e).split())[:300]}") from e
    if not inputs or not sum(map(len, inputs)):
        raise BadInput(f"{where} has no rows; give at least one batch (a generator that was used up gives none)")
    if targets and len(targets) != len(inputs):
        raise BadInput(f"{where} has targets in {len(targets)} of {len(inputs)} batches; give them in all or in none")
    if len({x.shape[1:] for x in inputs}) > 1 or len({x.dtype for x in inputs}) > 1:
        kinds = sorted({f"{x.dtype} {x.shape[1:]}" for x in inputs})
        raise BadInput(f"{where} has inputs of different kinds: {', '.join(kinds[:3])}; give all one shape and type")
    return Split(cast(Inputs, np.concatenate(inputs)), np.concatenate(targets) if targets else None)


def _pair(where: str, item: object) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if isinstance(item, tuple | list) and len(item) in (1, 2):
        x, y = item[0], item[1] if len(item) == 2 else None
        return np.asarray(x), None if y is None else np.asarray(y)
    if isinstance(item, tuple | list | Mapping):
        raise BadInput(f"{where} gives {_kind(item)} of {len(item)}; give (inputs, targets)")
    return np.asarray(item), None


def _inputs(where: str, x: NDArray[Any], before: int) -> Inputs:
    if x.ndim not in (2, 4):
        raise BadInput(f"{where} has inputs of shape {x.shape}; give (n, channels, height, width) or (n, features)")
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        raise BadInput(f"{where} has inputs of type {x.dtype}; give uint8 (0..255) or float32")
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(axis=1)
    if bad.any():
        raise BadInput(
            f"{where} has NaN or infinite inputs in {int(bad.sum())} rows of a batch, the first is row "
            f"{before + int(bad.argmax())}; clean them"
        )
    return x.astype(np.float32)


def _check_targets(where: str, y: NDArray[Any], n: int) -> None:
    if y.ndim != 1:
        raise BadInput(
            f"{where} has targets of shape {y.shape}; give one class number a row, e.g. argmax(1) of one-hot"
        )
    if len(y) != n:
        raise BadInput(f"{where} has a batch of {n} inputs with {len(y)} targets; give one for each")
    if y.dtype.kind not in "iu":
        raise BadInput(
            f"{where} has targets of type {y.dtype}; give whole class numbers 0, 1, ... (regression comes later)"
        )
    if len(y) and y.min() < 0:
        raise BadInput(f"{where} has the label {int(y.min())}; labels are 0, 1, ..., classes - 1")


def _check_agreement(spec: str, given: Mapping[Part, Split]) -> None:
    train = given["train"]
    for part, split in given.items():
        if split.inputs.shape[1:] != train.inputs.shape[1:] or split.inputs.dtype != train.inputs.dtype:
            mine, other = (f"{s.inputs.dtype} {s.inputs.shape[1:]}" for s in (train, split))
            raise BadInput(f"{spec}: inputs are {mine} in train and {other} in {part}; give all one shape and type")
        if (split.targets is None) != (train.targets is None):
            without = part if split.targets is None else "train"
            raise BadInput(f"{spec}: {without} has no targets, other parts have; give them in all or in none")
        if split.targets is not None and train.targets is not None:
            most, value = int(train.targets.max()), int(split.targets.max())
            if value > most:
                raise BadInput(f"{spec}: label {value} in {part} is outside 0..{most}, the labels of train")


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
