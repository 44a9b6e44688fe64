"""Pictures to arrays: grey stays one channel, colour three, everything else becomes the nearer of the two.

Palettes and CMYK become RGB, alpha is dropped, deep pictures become 8 bits (`depth`), a picture that says how it is to
be turned is turned, of several frames the first is taken. Grey pictures among coloured ones are repeated over the three
channels. Each of these is counted and told.

Every file is read twice: its header first, from which the number of channels, the depth and the pixels are known before
anything is decoded, then its pixels, in pieces of bounded size.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from chipfit.core.data import Inputs
from chipfit.core.errors import BadInput
from chipfit.data import limits
from chipfit.data.depth import Depth, depth_of
from chipfit.data.files import File, shown
from chipfit.data.gather import check_bytes, gathered
from chipfit.data.picture import Header, deep_values, header, pixels

Size = tuple[int, int]
"""(height, width)."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pictures of one size: (n, C, H, W) uint8, and in words what was made of them."""

    pictures: Inputs
    notes: tuple[str, ...] = ()


def decode(files: Sequence[File], resize: Size | None, source: str) -> Decoded:
    """All pictures as one array, in the order of `files`; (height, width) of `resize` where it is given.

    Raises:
        BadInput: pictures that cannot be read (counted, the first ones named), of different sizes without `resize`, or
            more than can be held.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of oddities in files that it reads all the same
        headers = _headers(files)
        depth = _depth(files, headers)
        work = _Decoding(files, headers, depth, resize, source)
        pictures = gathered(work.pieces(), work.expected())
    return Decoded(pictures, work.notes())


@dataclass
class _Broken:
    """Pictures that cannot be read; all are looked at before that is said."""

    total: int
    names: list[str]

    def add(self, file: File, error: Exception) -> None:
        self.names.append(f"{file.name} ({_reason(error)})")

    def check(self) -> None:
        """Raises BadInput where there are any."""
        if self.names:
            first = ", ".join(sorted(self.names)[:3]) + (", ..." if len(self.names) > 3 else "")
            raise BadInput(f"{len(self.names)} of {self.total} pictures cannot be read: {first}; mend or remove them")


def _headers(files: Sequence[File]) -> list[Header]:
    broken = _Broken(len(files), [])
    found = []
    for file in files:
        try:
            found.append(header(file.read()))
        except Exception as e:  # Pillow's readers raise whatever their parsing of a damaged file leads to
            broken.add(file, e)
            found.append(Header())
    if len(broken.names) == len(files):
        broken.check()
    return found  # some are broken: told together with those that are broken further on, when pixels are read


def _depth(files: Sequence[File], headers: Sequence[Header]) -> Depth:
    """The rule for the deep pictures among these."""

    def values() -> Iterator[NDArray[np.generic]]:
        for file, head in zip(files, headers, strict=True):
            if head.deep:
                try:
                    yield deep_values(file.read())
                except Exception:
                    continue  # said when it is decoded

    return depth_of(values())


class _Decoding:
    """One walk over the pixels of all pictures."""

    def __init__(
        self, files: Sequence[File], headers: Sequence[Header], depth: Depth, resize: Size | None, source: str
    ) -> None:
        self.files, self.headers, self.depth = files, headers, depth
        self.resize, self.source = resize, source
        self.channels = 3 if any(h.colour for h in headers) else 1
        self.turned = 0

    def pieces(self) -> Iterator[NDArray[np.uint8]]:
        """(n, C, H, W) in pieces of bounded size."""
        broken = _Broken(len(self.files), [])
        first: tuple[str, Size] | None = None
        waiting: list[NDArray[np.uint8]] = []
        for file in self.files:
            try:
                array, turned = pixels(file.read(), self.depth, self.resize)
            except Exception as e:  # as for headers
                broken.add(file, e)
                continue
            if broken.names:
                continue
            if first is None:
                first = (file.name, _size(array))
                self._check_fits(first[1])
            self._check_same(first, file, array)
            self.turned += turned
            waiting.append(self._channels_first(array))
            if len(waiting) * waiting[0].size >= limits.BATCH_BYTES:
                yield np.stack(waiting)
                waiting = []
        broken.check()
        if waiting:
            yield np.stack(waiting)

    def expected(self) -> int:
        """Bytes that all pictures take, as far as their size is known from the first header."""
        height, width = self.resize or self.headers[0].size
        return len(self.files) * self.channels * height * width

    def notes(self) -> tuple[str, ...]:
        """What was made of the pictures, with counts."""
        n: Counter[str] = Counter()
        for head in self.headers:
            n.update(head.oddities)
        greys = sum(not h.colour for h in self.headers) if self.channels == 3 else 0
        lines = [
            (greys, "grey pictures among coloured ones were read as RGB"),
            (n["alpha"], "pictures have an alpha channel, which was dropped"),
            (n["palette"], "pictures with a palette were read as RGB"),
            (n["cmyk"], "pictures in CMYK were read as RGB"),
            (n["frames"], "pictures have several frames or pages, of which the first was taken"),
            (self.turned, "pictures were turned as their EXIF orientation says"),
        ]
        notes = [f"{count} {what if count > 1 else _singular(what)}" for count, what in lines if count]
        return (*notes, self.depth.note()) if self.depth.pictures else tuple(notes)

    def _check_fits(self, size: Size) -> None:
        way_out = "give --resize HEIGHTxWIDTH, or fewer pictures" if self.resize is None else "give a smaller --resize"
        check_bytes(len(self.files), (self.channels, *size), self.source, way_out)

    def _check_same(self, first: tuple[str, Size], file: File, array: NDArray[np.uint8]) -> None:
        if _size(array) != first[1]:
            (name, size), other = first, _size(array)
            raise BadInput(
                f"pictures differ in size: {name} is {size[0]}x{size[1]} and {file.name} {other[0]}x{other[1]} "
                f"(height x width); add --resize HEIGHTxWIDTH"
            )

    def _channels_first(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(C, H, W) of (H, W) or (H, W, 3)."""
        if array.ndim == 3:
            return array.transpose(2, 0, 1)
        return np.broadcast_to(array, (self.channels, *array.shape))


def resized(pictures: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """(n, C, height, width) of pictures (n, C, H, W) with one or three channels: bilinear, aspect not kept."""
    if pictures.shape[2:] == size:
        return pictures
    height, width = size
    out = np.empty((*pictures.shape[:2], height, width), np.uint8)
    for n, picture in enumerate(pictures):
        for c, plane in enumerate(picture):
            out[n, c] = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
    return out


def _size(array: NDArray[np.uint8]) -> Size:
    return array.shape[0], array.shape[1]


def _reason(e: Exception) -> str:
    if isinstance(e, Image.DecompressionBombError):
        return f"more than {limits.PIXELS / 1e6:.0f} million pixels"
    if isinstance(e, UnidentifiedImageError):
        return "not a picture"
    return shown(" ".join(str(e).split()))[:80] or type(e).__name__


def _singular(note: str) -> str:
    """A note on several pictures as one on a single one.

    >>> _singular("pictures in CMYK were read as RGB")
    'picture in CMYK was read as RGB'
    """
    words = {"pictures": "picture", "were": "was", "have": "has"}
    return " ".join(words.get(word, word) for word in note.split(" "))
