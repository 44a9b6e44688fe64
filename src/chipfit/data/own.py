"""The user's own data: a function that returns `dict(train=, validation=, test=)` of iterables of (inputs, targets).

Each iterable is walked once and kept as arrays, so what is random in it is drawn once. Items are batches, or single
rows where the target is one number. Targets may be None, or missing, in all parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from chipfit.core import user_code
from chipfit.core.data import Dataset, Inputs, Split
from chipfit.core.errors import BadInput, did_you_mean
from chipfit.data.batches import Batches, Labels
from chipfit.data.gather import gathered
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
    batches: dict[Part, Batches] = {p: Batches(f"{spec}: {p}", found[p]) for p in PARTS if p in found}
    given: dict[Part, Split] = {part: joined(one) for part, one in batches.items()}
    check_agreement(spec, given)
    parts = complete(given)
    (mean, std), origin = normalisation(parts.train.inputs, normalize)
    classes, absent = _classes(parts.train.targets)
    taken_for = sorted({note for one in batches.values() for note in one.notes})
    walked = "each of your loaders was walked once and kept; its augmentation is drawn once"
    return Dataset(
        name=spec,
        classes=classes,
        mean=mean,
        std=std,
        train=parts.train,
        validation=parts.validation,
        open_test=lambda: parts.test,
        notes=(walked, *taken_for, *absent, *parts.notes, *origin),
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


def joined(batches: Batches) -> Split:
    """All rows of a part; in a file where they are many."""
    targets: list[Labels] = []

    def inputs() -> Iterator[Inputs]:
        for x, y in batches:
            if y is not None:
                targets.append(y)
            yield x

    rows = gathered(inputs())
    return Split(rows, np.concatenate(targets) if targets else None)


def _classes(labels: Labels | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A name for each number up to the largest, and a note where many of them do not occur."""
    if labels is None:
        return (), ()
    most, there = int(labels.max()) + 1, len(np.unique(labels))
    absent = f"labels run from 0 to {most - 1}, and {there} of these {most} classes occur in train"
    return tuple(map(str, range(most))), (absent,) if there < most else ()


def check_agreement(spec: str, given: Mapping[Part, Split]) -> None:
    """Raises BadInput where a part has other inputs than train, labels that train has not, or none."""
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
