"""The files in a zip. Nothing is unpacked to disk; names are brought to one form before anything is made of them."""

from __future__ import annotations

import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from chipfit.core.errors import BadInput
from chipfit.data import limits
from chipfit.data.files import File, Names, PassedOver, Tree, bounded, composed, hidden, is_picture

_UTF8 = 0x800
"""The flag of an entry whose name is in UTF-8."""

_DAMAGED = (
    zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error, EOFError, OverflowError, MemoryError,
    LookupError,
)  # fmt: skip
"""What zipfile raises for files that are cut off, tampered with, or no zip files."""


@contextmanager
def opened_zip(path: Path) -> Iterator[Tree]:
    """The pictures and folders in a zip, which stays open meanwhile.

    Raises:
        BadInput: no zip, an encrypted one, or one that unpacks to more than its size can mean.
    """
    try:
        archive = zipfile.ZipFile(path)
    except UnicodeDecodeError as e:
        raise BadInput(f"{str(path)!r} has names that are not UTF-8 though it says so; pack it again") from e
    except _DAMAGED as e:
        raise BadInput(f"{str(path)!r} is not a zip file ({e}); give a folder or zip of class folders") from e
    with archive:
        entries = archive.infolist()
        if any(i.flag_bits & 1 for i in entries):
            raise BadInput(f"{str(path)!r} is encrypted; unpack it and give the folder")
        _check_no_bomb(entries, path)
        yield _tree(archive, entries)


def place_of(info: zipfile.ZipInfo) -> Names | None:
    """Where an entry stands below the root; None for a name that leads out of it.

    Some tools on Windows write backslashes, some write `./` or `//` or a drive, and older ones on macOS and Linux write
    UTF-8 without saying so, which zipfile then reads as code page 437.
    """
    name = info.filename
    if not info.flag_bits & _UTF8:
        # where this fails it really is in the code page, or in one that nothing tells of
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    name = re.sub(r"^[A-Za-z]:(?=/)", "", name.replace("\\", "/"))
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return composed(parts)


def _tree(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]) -> Tree:
    passed = PassedOver()
    files: list[File] = []
    folders: set[Names] = set()
    places = [place_of(info) for info in entries]
    newest = dict(zip(places, entries, strict=True))  # by place: one may be written with slashes and with backslashes
    for place, info in zip(places, entries, strict=True):
        is_folder = info.filename.endswith(("/", "\\"))
        if place and not is_folder and newest[place] is not info:
            passed.add("names that stand again further on in the zip", place)
        elif place is None:
            passed.add("names that lead out of the zip", (info.filename,))
        elif any(map(hidden, place)):
            passed.add("hidden files or folders", place)
        elif stat.S_ISLNK(info.external_attr >> 16):
            passed.add("links in the zip", place)
        elif place:
            folders.update(place[:n] for n in range(1, len(place) + is_folder))
            if is_folder:
                continue
            if is_picture(place, partial(_opened, archive, info)):
                files.append(File(place, partial(_read, archive, info)))
            else:
                passed.add_suffix(place)
    return Tree.of(files, folders, passed)


def _check_no_bomb(entries: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """What the directory of the zip admits: too many files, too large ones, or bytes that several entries share."""
    if len(entries) > limits.FILES:
        raise BadInput(f"{str(path)!r} holds {len(entries)} files, at most {limits.FILES} are possible; pack fewer")
    packed, unpacked = path.stat().st_size, sum(i.file_size for i in entries)
    if unpacked > (most := limits.ARCHIVE_RATIO * packed + limits.ARCHIVE_FREE):
        raise BadInput(
            f"{str(path)!r} of {packed / 1e6:.1f} MB unpacks to {unpacked / 1e9:.1f} GB, at most {most / 1e9:.1f} GB "
            f"are possible; unpack it yourself if you trust it, and give the folder"
        )
    end = 0
    for info in sorted(entries, key=lambda i: i.header_offset):
        if info.header_offset < 0:
            raise BadInput(f"{str(path)!r} is not a zip file (its directory is damaged); pack it again")
        if info.header_offset < end:
            raise BadInput(f"{str(path)!r} has entries that share bytes, as bombs have; pack it again")
        end = info.header_offset + info.compress_size


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    return cast(BinaryIO, archive.open(info))


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    # the size that the directory says is checked before a byte is unpacked, and zipfile reads no more than it says
    if info.file_size > limits.FILE_BYTES:
        raise ValueError(f"has more than {limits.FILE_BYTES / 1e6:.0f} MB")
    with archive.open(info) as file:
        return bounded(cast(BinaryIO, file))
