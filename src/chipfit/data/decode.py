"""Pictures to arrays: grey stays one channel, colour three, everything else becomes the nearer of the two.

Palettes and CMYK become RGB, alpha is dropped (as PIL's `convert` does), 16 bits become 8. Grey pictures among coloured
ones are repeated over the three channels.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from chipfit.core.errors import BadInput

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
)
_GREY = frozenset({"1", "L", "LA", "La"})
# What PIL and zipfile raise for files that are cut off, empty, not pictures, or decompression bombs.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, NotImplementedError, struct.error, zlib.error,
    zipfile.BadZipFile, Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pictures of one size: (n, C, H, W) uint8, and how many grey ones were made RGB."""

    pictures: NDArray[np.uint8]
    greys_among_colours: int = 0


def decode(names: Sequence[str], read: Callable[[str], bytes], resize: tuple[int, int] | None) -> Decoded:
    """All pictures as one array, in the order of `names`; `read` gives the content of one.

    Raises:
        BadInput: pictures that cannot be read (counted, the first ones named), or of different sizes without `resize`.
    """
    arrays: list[NDArray[np.uint8]] = []
    broken: list[str] = []
    first: tuple[str, tuple[int, ...]] | None = None
    for name in names:
        try:
            array = _array(read(name), resize)
        except _BROKEN as e:
            broken.append(f"{name} ({_reason(e)})")
            continue
        first = first or (name, array.shape)
        if array.shape[:2] != first[1][:2] and not broken:
            raise BadInput(
                f"pictures differ in size: {first[0]} is {_size(first[1])} and {name} {_size(array.shape)} "
                f"(height x width); add --resize HEIGHTxWIDTH"
            )
        arrays.append(array)
    if broken:
        raise BadInput(_told(broken, len(names)))
    return _stacked(arrays)


def resized(pictures: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(n, C, height, width) of pictures (n, C, H, W) with one or three channels: bilinear, aspect not kept."""
    if pictures.shape[2:] == size:
        return pictures
    height, width = size
    out = np.empty((*pictures.shape[:2], height, width), np.uint8)
    for n, picture in enumerate(pictures):
        for c, plane in enumerate(picture):
            out[n, c] = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
    return out


def _array(content: bytes, resize: tuple[int, int] | None) -> NDArray[np.uint8]:
    """(H, W) grey or (H, W, 3) colour."""
    with Image.open(io.BytesIO(content)) as opened:
        picture = _plain(opened)
    if resize is not None and picture.size != resize[::-1]:
        picture = picture.resize(resize[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _plain(picture: Image.Image) -> Image.Image:
    """The picture in mode L or RGB."""
    if picture.mode in _GREY:
        return picture.convert("L")
    if picture.mode.startswith("I"):  # 16 bits, as PNG and TIFF hold them; PIL would clip where we scale
        deep = np.asarray(picture)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("grey values outside 16 bits")
        return Image.fromarray((deep.astype(np.uint32) >> 8).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("holds floats; save it with 8 or 16 bits")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _stacked(arrays: Sequence[NDArray[np.uint8]]) -> Decoded:
    colours = sum(a.ndim == 3 for a in arrays)
    if not colours:
        return Decoded(np.stack(arrays)[:, None])
    out = np.empty((len(arrays), 3, *arrays[0].shape[:2]), np.uint8)
    for n, a in enumerate(arrays):
        out[n] = a.transpose(2, 0, 1) if a.ndim == 3 else a
    return Decoded(out, len(arrays) - colours)


def _told(broken: Sequence[str], total: int) -> str:
    shown = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
    return f"{len(broken)} of {total} pictures cannot be read: {shown}; mend or remove them"


def _reason(e: BaseException) -> str:
    if isinstance(e, UnidentifiedImageError):
        return "not a picture"
    return " ".join(str(e).split())[:80] or type(e).__name__


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
