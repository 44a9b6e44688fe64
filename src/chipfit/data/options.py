"""What `--resize` and `--normalize` say, read once."""

from __future__ import annotations

import math
import re

from chipfit.core.errors import BadInput
from chipfit.core.words import shown

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""(means, standard deviations), one value a channel, or one for all."""


MOST = 4096
"""Pixels of an edge that pictures may be resized to."""

LARGEST = 1e6
"""Of a mean, and of a deviation or its inverse: beyond it float32 has nothing left of a pixel, or overflows."""


def parse_resize(text: str) -> tuple[int, int]:
    """(height, width) of "32" or "32x48".

    >>> parse_resize("32x48")
    (32, 48)

    Raises:
        BadInput: not one or two whole numbers from 1 to 4096.
    """
    match = re.fullmatch(r"\s*(\d{1,9})(?:\s*[x,]\s*(\d{1,9}))?\s*", text)
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(1 <= s <= MOST for s in size):
        raise BadInput(f"--resize {text!r} is not a size; write HEIGHTxWIDTH like 32x32, each from 1 to {MOST}")
    return size


def checked_resize(size: object) -> tuple[int, int]:
    """(height, width) as a Python caller gives it: a pair of whole numbers, or one for both.

    Raises:
        BadInput: not one or two whole numbers from 1 to 4096.
    """
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or not all(map(_is_edge, pair)):
        raise BadInput(f"resize {size!r} is not a size; give (height, width) like (32, 32), each from 1 to {MOST}")
    height, width = pair
    return height, width


def _is_edge(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST


def parse_normalize(text: str) -> Normalisation:
    """Means and standard deviations of "0.5,0.25" or "0.485/0.456/0.406,0.229/0.224/0.225" (pixels scaled to 0..1).

    >>> parse_normalize("0.5/0.4,0.25/0.2")
    ((0.5, 0.4), (0.25, 0.2))

    Raises:
        BadInput: not two lists of one length, a deviation that is not above zero, or values that no pixels have.
    """
    how = "write MEAN,STD like 0.5,0.25 or, by channel, 0.485/0.456/0.406,0.229/0.224/0.225"
    try:
        lists = [tuple(float(v) for v in part.split("/")) for part in text.split(",")]
    except ValueError:
        lists = []
    if len(lists) != 2 or not all(math.isfinite(v) for part in lists for v in part):
        raise BadInput(f"--normalize {text!r} is not a mean and a deviation; {how}")
    mean, std = lists
    if len(mean) != len(std):
        raise BadInput(f"--normalize {text!r} has {len(mean)} means and {len(std)} deviations; {how}")
    if min(std) <= 0:
        raise BadInput(f"--normalize {text!r} has a deviation of {min(std):g}; it must be above zero")
    _check_sizes((mean, std))
    return mean, std


def _check_sizes(normalisation: Normalisation) -> None:
    mean, std = normalisation
    for name, value, least in (*(("mean", m, 0.0) for m in mean), *(("deviation", s, 1 / LARGEST) for s in std)):
        if not least <= abs(value) <= LARGEST:
            raise BadInput(
                f"--normalize has a {name} of {value:g}, which pixels scaled to 0..1 cannot have; give {least:g} to "
                f"{LARGEST:g}"
            )


def for_channels(normalisation: Normalisation, channels: int) -> Normalisation:
    """One mean and one deviation a channel.

    Raises:
        BadInput: no pair of lists, neither one value nor one a channel, or values that no pixels have.
    """
    pair = normalisation if isinstance(normalisation, tuple | list) and len(normalisation) == 2 else ()
    if not pair or not all(isinstance(values, tuple | list) and len(values) for values in pair):
        raise BadInput(
            f"normalize {shown(normalisation)} is no pair of lists; give (means, deviations) like ((0.5,), (0.25,))"
        )
    mean, std = tuple(pair[0]), tuple(pair[1])
    if len(mean) != len(std) or not all(isinstance(v, int | float) for v in (*mean, *std)):
        raise BadInput(f"normalize {shown(normalisation)} has no deviation for each mean; give numbers, one a channel")
    _check_sizes((mean, std))
    if len(mean) == 1:
        return mean * channels, std * channels
    if len(mean) != channels:
        raise BadInput(
            f"--normalize has {len(mean)} means but the data have {channels} channel{'s' * (channels > 1)}; "
            f"give 1 or {channels}"
        )
    return mean, std
