"""Three disjoint parts, fixed by rule.

Where a part is missing it is cut from train: with nothing but train, 80/10/10 under a fixed permutation of each class;
with a test part but no validation (or the reverse), the last tenth of each class in the order given. At least one row
of each class goes into each part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chipfit.core.data import Split
from chipfit.core.errors import BadInput
from chipfit.data.gather import taken, walked

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
SHARE = 0.1
"""Share of each class that goes into a part that is cut from train."""


Targets = NDArray[np.int64]


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
    return with_shared_rows({**given, **{part: taken(train, rows) for part, rows in cut.rows.items()}}, cut.notes)


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
    rows: dict[Part, NDArray[np.intp]] = {}
    share = SHARE
    for part in reversed(missing):
        order, tail = _cut(targets, order, share, len(missing), classes)
        rows[part] = np.sort(tail)
        share = SHARE / (1 - SHARE)
    rows["train"] = np.sort(order)
    return Cut(rows, tuple(notes))


def with_shared_rows(parts: Mapping[Part, Split], notes: tuple[str, ...]) -> Parts:
    """The three parts, with a note of the rows that stand in two of them."""
    return Parts(parts["train"], parts["validation"], parts["test"], (*notes, *_shared_rows(parts)))


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


def _cut(
    targets: NDArray[np.int64] | None,
    order: NDArray[np.intp],
    share: float,
    parts: int,
    classes: tuple[str, ...],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Head and tail of `order`: the tail is the last `share` of the rows of each class, one at least."""
    labels = np.zeros(len(order), np.int64) if targets is None else targets[order]
    tail = np.zeros(len(order), bool)
    for c in np.unique(labels):
        rows = np.flatnonzero(labels == c)
        if len(rows) < 2:
            who = f"class {classes[c] if c < len(classes) else c!s}" if targets is not None else "train"
            raise BadInput(
                f"{who} has too few rows to cut {'validation and test' if parts == 2 else 'a part'} from it; "
                f"give it at least {parts + 1}, or give train, val and test parts"
            )
        tail[rows[-max(1, round(share * len(rows))) :]] = True
    return order[~tail], order[tail]


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
