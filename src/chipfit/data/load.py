"""The data a user names: a data set that chipfit knows, a folder or zip of pictures, or a function of their own."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from chipfit.core import user_code
from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput, did_you_mean
from chipfit.data import digits, fashion_mnist, own, pictures
from chipfit.data.decode import resized
from chipfit.data.files import shown
from chipfit.data.gather import check_bytes, gathered
from chipfit.data.limits import BATCH_BYTES
from chipfit.data.options import Normalisation, checked_resize, for_channels
from chipfit.data.statistics import channels_of

DATASETS: Mapping[str, Callable[[], Dataset]] = {"fashion-mnist": fashion_mnist.load, "digits": digits.load}
"""Data sets by name."""
_ALLOWED = f"{', '.join(DATASETS)}, a folder or zip of class folders, or my_data.py:loaders"


def load_data(
    spec: str | os.PathLike[str],
    *,
    resize: tuple[int, int] | None = None,
    normalize: Normalisation | None = None,
    task: str | None = None,
) -> Dataset:
    """The data set that `spec` names, its pictures resized to (height, width) and normalised as asked.

    `spec` is `fashion-mnist`, `digits`, a folder or zip of class folders (or of pictures without labels), a folder with
    the four files of Fashion-MNIST, or `my_data.py:loaders`. How parts were cut, means computed and pictures changed
    stands in the notes of the data set. `task` is what it is for, where that was told (`core.task.TASKS`). Inputs that
    take more than 512 MiB are kept in a file and read by need.

    Raises:
        BadInput: an unknown name, a path that does not exist, or data that cannot be used; one line says why.
    """
    if not isinstance(spec, str | os.PathLike):
        raise BadInput(f"data is a {type(spec).__name__}; give a name or a path: {_ALLOWED}")
    name = os.fspath(spec)
    resize = None if resize is None else checked_resize(resize)
    if name in DATASETS:
        return _adapted(DATASETS[name](), resize, normalize)
    if user_code.names_code(name):
        return _adapted(own.load(name, normalize=normalize, task=task), resize, None)
    path = _existing(name)
    if path.is_dir() and fashion_mnist.complete(path):
        return _adapted(fashion_mnist.load(path), resize, normalize)
    return pictures.load(path, resize=resize, normalize=normalize)


def _existing(name: str) -> Path:
    """The folder or plain file of a name; nothing else is opened, since reading from a pipe or device may never end."""
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.suffix or len(path.parts) > 1:
            where = shown(str(Path.cwd()))
            raise BadInput(f"data {shown(name)!r} does not exist (looked in {where}); give {_ALLOWED}") from None
        raise BadInput(f"data {name!r} is unknown{did_you_mean(name, DATASETS)}; give {_ALLOWED}") from None
    except (OSError, ValueError, RuntimeError) as e:  # too long a name, a null character, an unknown ~user
        reason = e.strerror if isinstance(e, OSError) else str(e)
        raise BadInput(f"data {shown(name)[:200]!r} cannot be opened ({reason}); give {_ALLOWED}") from e
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise BadInput(f"data {name!r} is neither a folder nor a file; give {_ALLOWED}")
    return path


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
    rows = len(dataset.train) + len(dataset.validation)
    check_bytes(rows, (dataset.input_shape[0], *resize), dataset.name, "give a smaller --resize")
    return replace(
        dataset,
        train=_resized(dataset.train, resize),
        validation=_resized(dataset.validation, resize),
        open_test=lambda: _resized(test(), resize),
        notes=(*dataset.notes, f"pictures resized to {height}x{width} (height x width), bilinear, aspect not kept"),
    )


def _resized(split: Split, size: tuple[int, int]) -> Split:
    """The part with its pictures in another size, a few at a time: they may become much larger."""
    at_once = max(1, BATCH_BYTES // (split.inputs.shape[1] * size[0] * size[1]))
    starts = range(0, len(split), at_once)
    pictures = (resized(cast(NDArray[np.uint8], split.inputs[s : s + at_once]), size) for s in starts)
    return Split(gathered(pictures), split.targets)
