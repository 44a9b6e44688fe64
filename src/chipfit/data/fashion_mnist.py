"""Fashion-MNIST from the Debian package `dataset-fashion-mnist`, or from a folder with its four files.

Format: gzip over IDX; images skip 16 bytes, then uint8 (n, 28, 28); labels skip 8 bytes, then uint8.
Split: rows 0-54,999 of the train files are train, 55,000-59,999 validation, the t10k files test.
"""

from __future__ import annotations

import gzip
import os
import zlib
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

_MOST_BYTES = 2**27
"""Bytes that a file may unpack to; the largest has 47 million."""


def folders() -> Iterator[Path]:
    """Where the files are looked for, in order: $CHIPFIT_FASHION_MNIST, Debian's folder, the user's cache."""
    if given := os.environ.get("CHIPFIT_FASHION_MNIST"):
        yield Path(given)
    yield Path("/usr/share/datasets/fashion-mnist")
    yield Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "chipfit" / "fashion-mnist"


def find() -> Path | None:
    """The first folder that holds all four files, or None."""
    return next((f for f in folders() if complete(f)), None)


def complete(folder: Path) -> bool:
    """True when the folder holds all four files."""
    return all((folder / name).is_file() for name in _FILES)


def load(folder: Path | None = None) -> Dataset:
    """The data set; pictures are uint8 (n, 1, 28, 28), labels int64.

    Raises:
        BadInput: the files are nowhere, or damaged.
    """
    at = folder or find()
    if at is None:
        raise BadInput(
            "Fashion-MNIST is not on this machine; run 'apt-get install dataset-fashion-mnist', "
            "or put its four .gz files into a folder and set CHIPFIT_FASHION_MNIST to it, or use --data digits"
        )
    images, labels = _pictures(at / _FILES[0]), _labels(at / _FILES[1])
    if len(images) != len(labels) or len(images) <= TRAIN_ROWS:
        raise _damaged(at / _FILES[1], f"{len(images)} pictures and {len(labels)} labels; as many of each, 60000")
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
    pixels = _bytes(path, 16)
    if len(pixels) % (28 * 28):
        raise _damaged(path, f"{len(pixels)} bytes are no whole number of 28x28 pictures")
    return pixels.reshape(-1, 1, 28, 28)


def _labels(path: Path) -> NDArray[np.int64]:
    labels = _bytes(path, 8).astype(np.int64)
    if labels.max() >= len(CLASSES):
        raise _damaged(path, f"label {labels.max()} is outside 0..{len(CLASSES) - 1}")
    return labels


def _bytes(path: Path, header: int) -> NDArray[np.uint8]:
    """What follows the header of a gzipped IDX file; its first four bytes say 08 for uint8 and the number of axes."""
    try:
        with gzip.open(path) as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as e:
        raise _damaged(path, str(e)) from e
    if len(content) > _MOST_BYTES:
        raise _damaged(path, f"more than {_MOST_BYTES / 1e6:.0f} MB")
    if content[:3] != b"\0\0\x08" or len(content) <= header:
        raise _damaged(path, "not an IDX file of bytes")
    return np.frombuffer(content, np.uint8, offset=header)


def _damaged(path: Path, reason: str) -> BadInput:
    return BadInput(f"{str(path)!r} is damaged ({reason}); fetch it again")
