"""Handwritten digits, 8x8, from scikit-learn: 1,797 pictures that are always there.

Split: one stratified permutation with seed 0, 1,097 train, 200 validation, 500 test.
"""

from __future__ import annotations

import numpy as np

from chipfit.core.data import Dataset, Split
from chipfit.data.split import stratified
from chipfit.data.statistics import pixel_statistics

TRAIN, VALIDATION = 1097, 200


def load() -> Dataset:
    """The data set; pictures are uint8 (n, 1, 8, 8), scaled from 0..16 to 0..255, labels int64."""
    from sklearn.datasets import load_digits  # takes a second, and only this data set needs it

    pixels, labels = load_digits(return_X_y=True)
    pictures = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    targets = labels.astype(np.int64)
    order = stratified(targets, np.random.default_rng(0))
    rows = np.split(order, [TRAIN, TRAIN + VALIDATION])
    train, validation, test = (Split(pictures[r], targets[r]) for r in rows)
    mean, std = pixel_statistics(pictures[rows[0]])
    return Dataset(
        name="digits",
        classes=tuple("0123456789"),
        mean=mean,
        std=std,
        train=train,
        validation=validation,
        open_test=lambda: test,
        shift=1,
        licence="BSD-3-Clause",
    )
