"""Pictures on disk and in zips, for the tests of this folder."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png(seed: int = 0, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> bytes:
    """A picture of noise, (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return saved(Image.fromarray(pixels).convert(mode), "PNG")


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)  # type: ignore[arg-type]
    return out.getvalue()


def deep_png(values: NDArray[np.uint16], colour_type: int) -> bytes:
    """16 bits a value, (H, W, C), as Pillow cannot write them: colour type 2 is RGB, 4 grey with alpha, 6 RGBA."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def empty_png(width: int, height: int) -> bytes:
    """A header that claims any number of pixels, and as good as no data: what a bomb of some bytes looks like."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def two_classes(root: Path, n: int = 4) -> Path:
    """`a/0.png` ... and `b/0.png` ..., all different."""
    for k, name in enumerate("ab"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (root / name / f"{i}.png").write_bytes(png(100 * k + i))
    return root


def zipped(path: Path, entries: Mapping[str, bytes]) -> Path:
    """Entries under names that are written as they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, content)
    return path
