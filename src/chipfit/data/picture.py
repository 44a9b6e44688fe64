"""One picture: what its header says, and its pixels in 8 bits."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chipfit.data import limits
from chipfit.data.depth import Depth, Values, checked, to_8_bits

_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "GIF", "WEBP", "AVIF", "TIFF", "PPM", "JPEG2000")
"""Formats that are told by their first bytes and read by code of their own: PostScript, for one, runs a program."""

_GREY = frozenset({"1", "L", "LA", "La"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_ORDERS = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGBA;16B": "RGBA;16L", "RGBA;16L": "RGBA;16B"}
"""What Pillow calls colour of 16 bits a value in a file, and the same in the other order of bytes."""

_ORIENTATION = 0x0112
"""The tag of EXIF that says how a picture is to be turned."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a picture before it is decoded."""

    size: tuple[int, int] = (0, 0)
    """(height, width), before it is turned."""
    colour: bool = False
    deep: bool = False
    oddities: frozenset[str] = frozenset()
    """Of "alpha", "palette", "cmyk", "frames"."""


def header(content: bytes) -> Header:
    """What the first bytes say.

    Raises:
        ValueError: more pixels than a picture may have. Whatever Pillow raises for what is no picture.
    """
    with _opened(content) as picture:
        mode = picture.mode
        oddities = {
            "alpha": mode in _ALPHA or "transparency" in picture.info,
            "palette": mode in ("P", "PA"),
            "cmyk": mode == "CMYK",
            "frames": bool(getattr(picture, "is_animated", False)),
        }
        deep = _deep_grey(picture) or _deep_colour(picture)
        colour = mode not in _GREY and not _deep_grey(picture)
        return Header(picture.size[::-1], colour, deep, frozenset(name for name, there in oddities.items() if there))


def deep_values(content: bytes) -> Values:
    """The values of a deep picture, (H, W) or (H, W, 3), as they are stored.

    Raises:
        ValueError: negative values, NaN or infinity. Whatever Pillow raises for a damaged file.
    """
    with _opened(content) as picture:
        if not _deep_colour(picture):
            return checked(np.asarray(picture))
        # Pillow reads the upper byte of each value of 16 bits in colour. Told that the bytes stand in the other order,
        # it reads the lower one.
        upper = np.asarray(picture.convert("RGB")).astype(np.uint16)
    with _opened(content) as picture:
        picture.tile = [_swapped(tile) for tile in picture.tile]  # type: ignore[attr-defined]
        lower = np.asarray(picture.convert("RGB"))
    values: Values = upper << 8 | lower
    return values


def pixels(content: bytes, depth: Depth, resize: tuple[int, int] | None) -> tuple[NDArray[np.uint8], bool]:
    """(H, W) grey or (H, W, 3) colour, and whether it was turned; a deep picture becomes 8 bits by `depth`.

    Raises:
        ValueError: see `header` and `deep_values`. Whatever Pillow raises for a damaged file.
    """
    with _opened(content) as opened:
        turn = _turn(opened) if opened.format == "TIFF" else 1  # these are turned when they are loaded
        deep = _deep_grey(opened) or _deep_colour(opened)
        opened.load()
        left = _turn(opened)
        picture = Image.fromarray(to_8_bits(deep_values(content), depth)) if deep else _plain(opened)
    if left in _TURNS:
        picture = picture.transpose(_TURNS[left])
    if resize is not None and picture.size != resize[::-1]:
        picture = picture.resize(resize[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture), turn in _TURNS or left in _TURNS


@cache
def _formats() -> tuple[str, ...]:
    """Those of `_FORMATS` that this Pillow reads."""
    Image.init()
    return tuple(f for f in _FORMATS if f in Image.OPEN)


def _opened(content: bytes) -> Image.Image:
    """The picture, its pixels not yet decoded."""
    picture = Image.open(io.BytesIO(content), formats=_formats())
    width, height = picture.size
    if width * height > limits.PIXELS:
        raise ValueError(f"{height}x{width}, more than {limits.PIXELS / 1e6:.0f} million pixels")
    return picture


def _deep_grey(picture: Image.Image) -> bool:
    return picture.mode.startswith("I") or picture.mode == "F"


def _deep_colour(picture: Image.Image) -> bool:
    """True for colour whose values have 16 bits in the file, of which Pillow keeps the upper 8."""
    forms = {form for tile in getattr(picture, "tile", ()) for form in _forms(tile)}
    if any(form.startswith("LA;16") for form in forms):
        raise ValueError("grey of 16 bits with alpha; save it without alpha")
    return not forms.isdisjoint(_ORDERS)


def _forms(tile: Any) -> tuple[str, ...]:
    """The texts among the arguments of a tile's decoder: one of them names the form of a value."""
    args = tile[3]
    return tuple(a for a in (args if isinstance(args, tuple) else (args,)) if isinstance(a, str))


def _swapped(tile: Any) -> Any:
    """A tile of 16 bits a value read in the other order of bytes."""
    args = tile[3]
    if isinstance(args, str):
        changed: Any = _ORDERS[args]
    else:
        changed = tuple(_ORDERS.get(a, a) if isinstance(a, str) else a for a in args)
    return tile._replace(args=changed) if hasattr(tile, "_replace") else (*tile[:3], changed)


def _turn(picture: Image.Image) -> int:
    """How the picture says it is to be turned, 1..8; 1 where it says nothing that can be read."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged note beside sound pixels
        return 1
    return value if isinstance(value, int) else 1


def _plain(picture: Image.Image) -> Image.Image:
    """The picture in mode L or RGB."""
    if picture.mode == "La":
        picture = picture.convert("LA")
    if picture.mode in _GREY:
        return picture.convert("L")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")
