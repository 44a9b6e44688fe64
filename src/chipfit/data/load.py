"""The data a user names: a data set that chipfit knows, a folder or zip of pictures, or a function of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from chipfit.core import user_code
from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput, did_you_mean
from chipfit.data import digits, fashion_mnist, own, pictures
from chipfit.data.decode import resized
from chipfit.data.options import Normalisation, for_channels
from chipfit.data.statistics import channels_of

DATASETS: Mapping[str, Callable[[], Dataset]] = {"fashion-mnist": fashion_mnist.load, "digits": digits.load}
"""Data sets by name."""
_ALLOWED = f"{', '.join(DATASETS)}, a folder or zip of class folders, or my_data.py:loaders"


def load_data(spec: str, *, resize: tuple[int, int] | None = None, normalize: Normalisation | None = None) -> Dataset:
    """The data set that `spec` names, its pictures resized to (height, width) and normalised as asked.

    `spec` is `fashion-mnist`, `digits`, a folder or zip of class folders (or of pictures without labels), a folder with
    the four files of Fashion-MNIST, or `my_data.py:loaders`. How parts were cut, means computed and pictures changed
    stands in the notes of the data set.

    Raises:
        BadInput: an unknown name, a path that does not exist, or data that cannot be used; one line says why.
    """
    path = Path(spec).expanduser()
    if spec in DATASETS:
        return _adapted(DATASETS[spec](), resize, normalize)
    if user_code.names_code(spec):
        dataset = own.load(spec, normalize=normalize)
        return _adapted(dataset, resize, None)
    if path.is_dir() and fashion_mnist.complete(path):
        return _adapted(fashion_mnist.load(path), resize, normalize)
    if path.exists():
        return pictures.load(path, resize=resize, normalize=normalize)
    if path.suffix or len(path.parts) > 1:
        raise BadInput(f"data {spec!r} does not exist (looked in {Path.cwd()}); give {_ALLOWED}")
    raise BadInput(f"data {spec!r} is unknown{did_you_mean(spec, DATASETS)}; give {_ALLOWED}")


def _adapted(dataset: Dataset, resize: tuple[int, int] | None, normalize: Normalisation | None) -> Dataset:
    """The same data with other sizes and constants."""
    if normalize is not None:
        mean, std = for_channels(normalize, channels_of(dataset.train.inputs))
        dataset = replace(dataset, mean=mean, std=std)
    if resize is None or dataset.input_shape[1:] == resize:
        return dataset
    height, width = resize
    if dataset.train.inputs.dtype != np.uint8 or dataset.train.inputs.ndim != 4:
        kind, shape = dataset.train.inputs.dtype, dataset.input_shape
        raise BadInput(f"--resize {height}x{width} is for uint8 pictures; these inputs are {kind} {shape}")
    test = dataset.open_test
    return replace(
        dataset,
        train=_resized(dataset.train, resize),
        validation=_resized(dataset.validation, resize),
        open_test=lambda: _resized(test(), resize),
        notes=(*dataset.notes, f"pictures resized to {height}x{width} (height x width), bilinear, aspect not kept"),
    )


def _resized(split: Split, size: tuple[int, int]) -> Split:
    return Split(resized(split.inputs.astype(np.uint8, copy=False), size), split.targets)
