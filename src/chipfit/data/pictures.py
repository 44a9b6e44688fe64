"""A folder or zip of pictures, one folder a class, with `train/`, `val/` and `test/` above them where they exist.

A folder of pictures without class folders is a data set without labels. Files that are no pictures by their name are
passed over; whatever is passed over, left out or changed is said in the notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chipfit.core.data import Dataset, Split
from chipfit.data.archive import opened_zip
from chipfit.data.decode import Decoded, decode
from chipfit.data.files import File, Tree, shown
from chipfit.data.folder import read_folder
from chipfit.data.layout import Layout, layout_of
from chipfit.data.options import Normalisation
from chipfit.data.split import PARTS, Cut, Part, cut_train, finished
from chipfit.data.statistics import normalisation


def load(path: Path, *, resize: tuple[int, int] | None, normalize: Normalisation | None) -> Dataset:
    """The pictures below a folder, or in a zip, as uint8 (n, 1 or 3, H, W).

    Raises:
        BadInput: no zip, no pictures, an empty class folder, pictures that cannot be read or differ in size.
    """
    source = shown(str(path))
    with _opened(path) as tree:
        layout = layout_of(tree, source)
        labels = {part: _array(given) for part, given in layout.labels.items()}
        cut = cut_train(layout.parts.keys(), len(layout.parts["train"]), labels["train"], layout.classes)
        # decoded in the order of the parts, so that each is one stretch of the rows
        sizes = {part: len(cut.rows.get(part, layout.parts.get(part, ()))) for part in PARTS}
        decoded = decode([f for part in PARTS for f in _files(layout, cut, part)], resize, source)
    given: dict[Part, Split] = {}
    start = 0
    for part in PARTS:
        targets = labels["train"] if part in cut.rows else labels[part]
        if targets is not None and part in cut.rows:
            targets = targets[cut.rows[part]]
        given[part] = Split(decoded.pictures[start : start + sizes[part]], targets)
        start += sizes[part]
    parts = finished(given, cut.notes, layout.classes)
    (mean, std), origin = normalisation(parts.train.inputs, normalize)
    return Dataset(
        name=shown(path.resolve().stem if path.is_file() else path.resolve().name),
        classes=layout.classes,
        mean=mean,
        std=std,
        train=parts.train,
        validation=parts.validation,
        open_test=lambda: parts.test,
        flip=True,
        shift=min(4, max(1, decoded.pictures.shape[2] // 8)),
        notes=(*layout.notes, *parts.notes, *origin, *_told(decoded, resize)),
    )


@contextmanager
def _opened(path: Path) -> Iterator[Tree]:
    if path.is_dir():
        yield read_folder(path)
        return
    with opened_zip(path) as tree:
        yield tree


def _files(layout: Layout, cut: Cut, part: Part) -> list[File]:
    """The files of a part, in order."""
    if part in cut.rows:
        return [layout.parts["train"][row] for row in cut.rows[part]]
    return list(layout.parts[part])


def _array(labels: tuple[int, ...] | None) -> NDArray[np.int64] | None:
    return None if labels is None else np.asarray(labels, np.int64)


def _told(decoded: Decoded, resize: tuple[int, int] | None) -> tuple[str, ...]:
    if resize is None:
        return decoded.notes
    return (f"pictures resized to {resize[0]}x{resize[1]} (height x width), bilinear, aspect not kept", *decoded.notes)
