"""What a folder or a zip of pictures holds: pictures, folders, and a count of everything that is passed over."""

from __future__ import annotations

import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath
from typing import BinaryIO

from PIL import features

from chipfit.data import limits

Names = tuple[str, ...]
"""A path below the root of the data, by its parts; composed (NFC), so that one name is written in one way."""

SUFFIXES = frozenset({
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pfm",
    ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
})  # fmt: skip
"""Files that are taken for pictures by their name, in capitals or not."""

_OPTIONAL = {".avif": "avif", ".webp": "webp", ".jp2": "jpg_2000", ".j2k": "jpg_2000"}
"""What not every Pillow is built with."""

_BEGINNINGS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*",
    b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n", b"\0\0\0\x0cjP  ",
)  # fmt: skip
"""How pictures begin: asked of files without a suffix."""

_SYSTEM = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})
"""What systems put beside pictures; names with a dot at the front count as well."""


@dataclass(frozen=True, slots=True)
class File:
    """A picture's file: where it stands, and what gives its bytes (OSError or ValueError where it cannot)."""

    place: Names
    read: Callable[[], bytes] = field(repr=False)

    @property
    def name(self) -> str:
        """The path for a message."""
        return shown("/".join(self.place))


@dataclass(frozen=True, slots=True)
class Tree:
    """Pictures and folders below a root, both sorted, and what was passed over, in words."""

    pictures: tuple[File, ...]
    folders: tuple[Names, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, files: Iterable[File], folders: Iterable[Names], passed: PassedOver) -> Tree:
        """Sorted, whatever order the system lists them in."""
        ordered = sorted(files, key=lambda f: f.place)
        return cls(tuple(ordered), tuple(sorted({f for f in folders if f})), passed.notes())


class PassedOver:
    """Counts what is passed over, by reason, with the first name of each."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._count: Counter[str] = Counter()
        self._suffixes: Counter[str] = Counter()

    def add(self, reason: str, place: Names) -> None:
        """One more for a reason, which is written in the plural: "links that lead nowhere"."""
        name = shown("/".join(place))
        self._first[reason] = min(name, self._first.get(reason, name))
        self._count[reason] += 1

    def add_suffix(self, place: Names) -> None:
        """One more file that is no picture by its name."""
        self._suffixes[PurePosixPath(place[-1]).suffix.lower() or "without a suffix"] += 1

    def notes(self) -> tuple[str, ...]:
        """A line for each reason."""
        lines = [f"{n} {reason} passed over, {self._first[reason]!r} first" for reason, n in self._count.items()]
        if not self._suffixes:
            return tuple(lines)
        commonest = sorted(self._suffixes.items(), key=lambda pair: (-pair[1], pair[0]))
        kinds = ", ".join(f"{n} {shown(suffix)}" for suffix, n in commonest[:6])
        more = ", ..." if len(commonest) > 6 else ""
        total = self._suffixes.total()
        told = "1 file that is no picture" if total == 1 else f"{total} files that are no pictures"
        return (*lines, f"{told} passed over: {kinds}{more}")


def composed(parts: Iterable[str]) -> Names:
    """A path whose names are in one form: macOS writes an accent apart from its letter, others together with it."""
    return tuple(unicodedata.normalize("NFC", part) for part in parts)


def shown(text: str) -> str:
    """A name for one line of a message or note: what is no UTF-8 or moves the cursor is written as an escape."""
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair that no byte stands for
        content = text.encode("utf-8", "backslashreplace")
    plain = content.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in plain)


def hidden(name: str) -> bool:
    """True for names that a person does not see, or that a system put there."""
    return name.startswith(".") or name.lower() in _SYSTEM


def is_picture(place: Names, open_file: Callable[[], BinaryIO]) -> bool:
    """True for a suffix that can be read here, and without a suffix for content that begins like a picture."""
    suffix = PurePosixPath(place[-1]).suffix.lower()
    if suffix:
        return suffix in readable()
    try:
        with open_file() as file:
            return file.read(16).startswith(_BEGINNINGS)
    except Exception:
        return False  # whatever is wrong with it, nothing says that it is a picture


def bounded(file: BinaryIO) -> bytes:
    """All bytes of a file that is no larger than a picture may be.

    Raises:
        ValueError: it is.
    """
    content = file.read(limits.FILE_BYTES + 1)
    if len(content) > limits.FILE_BYTES:
        raise ValueError(f"has more than {limits.FILE_BYTES / 1e6:.0f} MB")
    return content


@cache
def readable() -> frozenset[str]:
    """Suffixes that the Pillow of this machine can read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old Pillow warns of a feature that it does not know
        return frozenset(s for s in SUFFIXES if s not in _OPTIONAL or features.check(_OPTIONAL[s]))
