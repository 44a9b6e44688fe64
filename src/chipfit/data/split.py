"""Three disjoint parts, fixed by rule.

Where a part is missing it is cut from train: with nothing but train, 80/10/10 under a fixed permutation of each class;
with a test part but no validation (or the reverse), the last tenth of each class in the order given. At least one row
of each class goes into each part, with two exceptions, both noted: a class of too few rows stays in train as a whole,
and where one row of each class would leave train fewer than `TRAIN_AT_LEAST` rows of 20 or more, the tenth is one of
all rows, taken from the largest classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from chipfit.core.data import Split, Targets
from chipfit.core.errors import BadInput
from chipfit.data.gather import taken, walked

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
SHARE = 0.1
"""Share of each class that goes into a part that is cut from train."""

TRAIN_AT_LEAST = 16
"""Rows that train keeps of 20 and more: with fewer nothing can be calibrated."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The three parts, and in words how they came about."""

    train: Split
    validation: Split
    test: Split
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """Which rows of train become which part, ascending; and in words how. Parts that were given are not in it."""

    rows: Mapping[Part, NDArray[np.intp]]
    notes: tuple[str, ...] = ()


def complete(given: Mapping[Part, Split], classes: tuple[str, ...] = ()) -> Parts:
    """All three parts, those that are missing cut from train.

    Raises:
        BadInput: a class too small to be cut.
    """
    train = given["train"]
    cut = cut_train(given.keys(), len(train), train.targets, classes)
    return finished({**given, **{part: taken(train, rows) for part, rows in cut.rows.items()}}, cut.notes, classes)


def cut_train(parts: Collection[Part], n: int, targets: Targets | None, classes: tuple[str, ...] = ()) -> Cut:
    """How the parts that are not among `parts` are cut from a train part of `n` rows; nothing where none is missing.

    Raises:
        BadInput: a class too small to be cut.
    """
    missing = [p for p in PARTS if p not in parts]
    if not missing:
        return Cut({})
    if len(missing) == 2:
        order = np.random.default_rng(0).permutation(n)
        notes = ["split 80/10/10 of each class into train, validation and test, at random with seed 0"]
    else:
        order = np.arange(n)
        notes = [f"{m}: the last tenth of each class of train" for m in missing]
    labels = _class_numbers(targets)
    of_classes = labels is not None
    labels = np.zeros(n, np.int64) if labels is None else labels
    tails = _tails(labels, order, len(missing))
    kept = n - sum(map(len, tails))
    if not all(map(len, tails)) or kept < TRAIN_AT_LEAST <= round((1 - 2 * SHARE) * n):
        tails = _tails_of_the_largest(labels, order, len(missing))
    if not all(map(len, tails)):
        raise BadInput(_too_few(labels, classes if of_classes else None, len(missing)))
    rows: dict[Part, NDArray[np.intp]] = {}
    for part, tail in zip(reversed(missing), tails, strict=True):
        rows[part] = np.sort(tail)
        order = order[~np.isin(order, tail)]
    rows["train"] = np.sort(order)
    return Cut(rows, tuple(notes))


def finished(parts: Mapping[Part, Split], notes: tuple[str, ...], classes: tuple[str, ...] = ()) -> Parts:
    """The three parts, with notes of classes that a part lacks and of rows that stand in two of them."""
    doubts = (*_absent_classes(parts, classes), *_shared_rows(parts))
    return Parts(parts["train"], parts["validation"], parts["test"], (*notes, *doubts))


def _class_numbers(targets: Targets | None) -> NDArray[np.int64] | None:
    """The targets where they are one class number a row, else None."""
    if targets is None or targets.ndim > 1 or targets.dtype != np.int64:
        return None
    return cast(NDArray[np.int64], targets)


def stratified(targets: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """A permutation every prefix of which holds the classes in their proportions.

    The k-th of the n rows of a class (in random order) stands at (k + 1/2) / n of the whole.
    """
    order = rng.permutation(len(targets))
    place = np.empty(len(targets))
    for c in np.unique(targets):
        rows = order[targets[order] == c]
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return order[np.argsort(place[order], kind="stable")]


def _tails(labels: NDArray[np.int64], order: NDArray[np.intp], parts: int) -> list[NDArray[np.intp]]:
    """Rows of each part to cut off: of each class the last tenth in `order`, one row at least, then the tenth before.

    A class that has no row more than there are parts to cut gives none.
    """
    tails: list[list[int]] = [[] for _ in range(parts)]
    for c in np.unique(labels):
        rows = order[labels[order] == c]
        if len(rows) <= parts:
            continue
        share = SHARE
        for tail in tails:
            n = max(1, round(share * len(rows)))
            tail += rows[-n:].tolist()
            rows = rows[:-n]
            share = SHARE / (1 - SHARE)
    return [np.array(tail, np.intp) for tail in tails]


def _tails_of_the_largest(labels: NDArray[np.int64], order: NDArray[np.intp], parts: int) -> list[NDArray[np.intp]]:
    """The same, each a tenth of all rows: one of each class that has a row for every part, then of the largest.

    Each class keeps a row.
    """
    left = {int(c): order[labels[order] == c].tolist() for c in np.unique(labels)}
    size = max(1, round(SHARE * len(order)))
    tails: list[NDArray[np.intp]] = []
    for still in range(parts, 0, -1):
        enough = sorted((rows for rows in left.values() if len(rows) > still), key=len, reverse=True)
        tail = [rows.pop() for rows in enough[:size]]
        while len(tail) < size:
            largest = max(left.values(), key=len)
            if len(largest) < 2:
                break
            tail.append(largest.pop())
        tails.append(np.array(tail, np.intp))
    return tails


def _too_few(labels: NDArray[np.int64], classes: tuple[str, ...] | None, parts: int) -> str:
    c, n = int(labels[0]), int((labels == labels[0]).sum())
    name = "train" if classes is None else f"class {classes[c] if c < len(classes) else c!s}"
    others = "" if classes is None else f" ({n}), and so has every other"
    return (
        f"{name} has too few rows{others} to cut {'validation and test' if parts == 2 else 'a part'} from it; "
        f"give it at least {parts + 1} (and 20 rows in all), or give train, val and test parts"
    )


def _absent_classes(parts: Mapping[Part, Split], classes: tuple[str, ...]) -> list[str]:
    """What to warn of: classes of train that a part holds no row of."""
    trained, notes = parts["train"].targets, list[str]()
    if _class_numbers(trained) is None or trained is None:
        return notes
    for part in PARTS[1:]:
        targets = parts[part].targets
        absent = np.setdiff1d(trained, [] if targets is None else targets)
        if len(absent) and targets is not None:
            names = [classes[c] if c < len(classes) else str(c) for c in absent[:3]]
            more = ", ..." if len(absent) > 3 else ""
            of = f"{len(absent)} of {len(np.unique(trained))} classes ({', '.join(names)}{more})"
            notes.append(f"{part} holds no row of {of}: scores on it say nothing of them")
    return notes


def _shared_rows(parts: Mapping[Part, Split]) -> list[str]:
    """What to warn of: rows that stand in an earlier part too."""
    notes: list[str] = []
    seen = set(fingerprints(parts["train"]))
    for part, earlier in zip(PARTS[1:], ("train", "train or validation"), strict=True):
        prints = fingerprints(parts[part])
        if n := sum(p in seen for p in prints):
            notes.append(f"{n} of {len(prints)} {part} rows stand in {earlier} too: scores on them read too high")
        seen.update(prints)
    return notes


def fingerprints(split: Split) -> list[bytes]:
    """A hash of each row's values."""
    prints: list[bytes] = []
    for piece in walked(split.inputs):
        prints += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in piece]
    return prints
