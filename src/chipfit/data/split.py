"""Three disjoint parts, fixed by rule.

Where a part is missing it is cut from train: with nothing but train, 80/10/10 under a fixed permutation of each class;
with a test part but no validation (or the reverse), the last tenth of each class in the order given. At least one row
of each class goes into each part, with two exceptions, both noted: a class of too few rows stays in train as a whole,
and where one row of each class would leave train fewer than `TRAIN_AT_LEAST` rows of 20 or more, the tenth is one of
all rows, taken from the largest classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chipfit.core.data import Split
from chipfit.core.errors import BadInput

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


def complete(given: Mapping[Part, Split], classes: tuple[str, ...] = ()) -> Parts:
    """All three parts, those that are missing cut from train.

    Raises:
        BadInput: a class too small to be cut.
    """
    parts = dict(given)
    missing = [p for p in PARTS if p not in parts]
    if len(missing) == 2:
        order = np.random.default_rng(0).permutation(len(parts["train"]))
        notes = ["split 80/10/10 of each class into train, validation and test, at random with seed 0"]
    else:
        order = np.arange(len(parts["train"]))
        notes = [f"{m}: the last tenth of each class of train" for m in missing]
    labels = _labels(parts["train"], len(order))
    tails = _tails(labels, order, len(missing))
    kept = len(order) - sum(map(len, tails))
    if not all(map(len, tails)) or kept < TRAIN_AT_LEAST <= round((1 - 2 * SHARE) * len(order)):
        tails = _tails_of_the_largest(labels, order, len(missing))
    if missing and not all(map(len, tails)):
        raise BadInput(_too_few(labels, classes if parts["train"].targets is not None else None, len(missing)))
    for part, tail in zip(reversed(missing), tails, strict=True):
        parts[part] = given["train"].take(np.sort(tail))
        order = order[~np.isin(order, tail)]
    if missing:
        parts["train"] = given["train"].take(np.sort(order))
    notes += [*_absent_classes(parts, classes), *_shared_rows(parts)]
    return Parts(parts["train"], parts["validation"], parts["test"], tuple(notes))


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


def _labels(split: Split, n: int) -> NDArray[np.int64]:
    """The class of each row; one class for all where there are no labels."""
    return np.zeros(n, np.int64) if split.targets is None else split.targets


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
    """The same, each a tenth of all rows, taken from what are then the largest classes; each class keeps a row."""
    left = {int(c): order[labels[order] == c].tolist() for c in np.unique(labels)}
    tails: list[NDArray[np.intp]] = []
    for _ in range(parts):
        tail: list[int] = []
        while len(tail) < max(1, round(SHARE * len(order))):
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
    if trained is None:
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
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in split.inputs]
