"""Fashion-MNIST from the Debian package `dataset-fashion-mnist`, or from a folder with its four files.

Format: gzip over IDX; images skip 16 bytes, then uint8 (n, 28, 28); labels skip 8 bytes, then uint8.
Split: rows 0-54,999 of the train files are train, 55,000-59,999 validation, the t10k files test.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput

TRAIN_ROWS = 55_000
CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_FILES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def folders() -> Iterator[Path]:
    """Where the files are looked for, in order: $CHIPFIT_FASHION_MNIST, Debian's folder, the user's cache."""
    if given := os.environ.get("CHIPFIT_FASHION_MNIST"):
        yield Path(given)
    yield Path("/usr/share/datasets/fashion-mnist")
    yield Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "chipfit" / "fashion-mnist"


def find() -> Path | None:
    """The first folder that holds all four files, or None."""
    return next((f for f in folders() if all((f / name).is_file() for name in _FILES)), None)


def load(folder: Path | None = None) -> Dataset:
    """The data set; pictures are uint8 (n, 1, 28, 28), labels int64.

    Raises:
        BadInput: the files are nowhere.
    """
    at = folder or find()
    if at is None:
        raise BadInput(
            "Fashion-MNIST is not on this machine; run 'apt-get install dataset-fashion-mnist', "
            "or put its four .gz files into a folder and set CHIPFIT_FASHION_MNIST to it, or use --data digits"
        )
    images, labels = _pictures(at / _FILES[0]), _labels(at / _FILES[1])
    return Dataset(
        name="fashion-mnist",
        classes=CLASSES,
        mean=(0.2858,),
        std=(0.3529,),
        train=Split(images[:TRAIN_ROWS], labels[:TRAIN_ROWS]),
        validation=Split(images[TRAIN_ROWS:], labels[TRAIN_ROWS:]),
        open_test=lambda: Split(_pictures(at / _FILES[2]), _labels(at / _FILES[3])),
        flip=True,
        shift=2,
        licence="MIT",
    )


def _pictures(path: Path) -> NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 1, 28, 28)


def _labels(path: Path) -> NDArray[np.int64]:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8).astype(np.int64)
