"""Mean and deviation of each channel: what inputs are normalised with."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from chipfit.core.data import Inputs
from chipfit.core.errors import BadInput
from chipfit.data.gather import walked
from chipfit.data.options import Normalisation, for_channels

COMPUTED = "mean and deviation of the pixels"
"""How a note begins that says where they are from."""


def normalisation(train: Inputs, given: Normalisation | None) -> tuple[Normalisation, tuple[str, ...]]:
    """What the user gave, else what fits the training inputs, and a note that says so.

    Pixels (uint8) get their own statistics. Floats are taken as they come (mean 0, deviation 1): the code that made
    them has prepared them for the model. Rows of features (n, features) count as one channel.

    Raises:
        BadInput: neither one value nor one a channel was given, or those of pixels that were not scaled.
    """
    channels = channels_of(train)
    if train.dtype.kind == "i":
        return ((0.0,), (1.0,)), ()  # numbers of tokens
    if given is not None:
        if train.dtype == np.uint8 and (most := max(given[0])) > 1:
            raise BadInput(
                f"--normalize has the mean {most:g}, but pixels are scaled to 0..1 before it; divide means and "
                f"deviations by 255, such as {most / 255:.3f}"
            )
        return for_channels(given, channels), ()
    if train.dtype == np.uint8:
        note = f"{COMPUTED} computed from train; if the model was trained with others, --normalize"
        return pixel_statistics(cast(NDArray[np.uint8], train)), (note,)
    return ((0.0,) * channels, (1.0,) * channels), ("float inputs are taken as they come, without normalisation",)


def channels_of(inputs: Inputs) -> int:
    """Channels of pictures (n, C, H, W); 1 for rows of features."""
    return inputs.shape[1] if inputs.ndim == 4 else 1


def pixel_statistics(pictures: NDArray[np.uint8]) -> Normalisation:
    """Means and standard deviations of the channels of (n, C, H, W), pixels scaled to 0..1; exact, from histograms.

    A channel that never changes gets the deviation 1.
    """
    counts = np.zeros((channels_of(pictures), 256), np.int64)
    for piece in walked(pictures):
        by_channel = piece.reshape(len(piece), len(counts), -1)
        for channel in range(len(counts)):
            counts[channel] += _counted(by_channel[:, channel])
    levels = np.arange(256) / 255.0
    means, deviations = [], []
    for count in counts:
        share = count / count.sum()
        mean = float(share @ levels)
        deviation = float(np.sqrt(share @ (levels - mean) ** 2))
        means.append(round(mean, 4))
        deviations.append(round(deviation, 4) if deviation >= 5e-5 else 1.0)
    return tuple(means), tuple(deviations)


def _counted(values: Inputs) -> NDArray[np.int64]:
    """How often each of 0..255 stands in some rows; by parts, since bincount makes 64-bit integers of its input."""
    flat = values.ravel()
    counts = np.zeros(256, np.int64)
    for start in range(0, len(flat), 2**20):
        counts += np.bincount(flat[start : start + 2**20], minlength=256)
    return counts
