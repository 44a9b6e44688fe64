"""The files below a folder: each real one once, whatever links lead to it, and nothing opened that is no plain file."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from chipfit.core.errors import BadInput
from chipfit.data import limits
from chipfit.data.files import File, Names, PassedOver, Tree, bounded, composed, hidden, is_picture

_Identity = tuple[int, int]
"""Device and number of a file or folder: the same under all of its names."""


@dataclass
class _Walk:
    """What has been seen so far. Links wait in `links` until everything real is known, since real names come first."""

    root: Path
    passed: PassedOver = field(default_factory=PassedOver)
    files: list[File] = field(default_factory=list)
    folders: list[Names] = field(default_factory=list)
    links: list[tuple[Names, str]] = field(default_factory=list)
    seen: set[_Identity] = field(default_factory=set)
    entries: int = 0


def read_folder(root: Path) -> Tree:
    """The pictures and folders below a root.

    Raises:
        BadInput: the root cannot be opened, or holds more files than a data set may.
    """
    walk = _Walk(root)
    try:
        status = os.stat(root)
        os.scandir(root).close()
    except OSError as e:
        raise BadInput(f"{str(root)!r} cannot be opened ({e.strerror}); give a folder that you may read") from e
    _take_folder(walk, (), str(root), status)
    while walk.links:
        waiting, walk.links = sorted(walk.links), []
        for place, path in waiting:
            _follow(walk, place, path)
    return Tree.of(walk.files, walk.folders, walk.passed)


def _take_folder(walk: _Walk, place: Names, path: str, status: os.stat_result) -> None:
    """Takes in a folder and every real folder below it; not by recursion, since folders can be deeper than that."""
    open_folders = [(place, path, status)]
    while open_folders:
        here, at, found = open_folders.pop()
        walk.seen.add(_identity(found))
        walk.folders.append(here)
        for entry in _listed(walk, here, at):
            inside = composed((*here, entry.name))
            if hidden(entry.name):
                walk.passed.add("hidden files or folders", inside)
            elif entry.is_symlink():
                walk.links.append((inside, entry.path))
            elif (below := _status(walk, inside, entry.path)) is not None:
                if stat.S_ISDIR(below.st_mode):
                    open_folders.append((inside, entry.path, below))
                else:
                    _take_file(walk, inside, entry.path, below)


def _listed(walk: _Walk, here: Names, at: str) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted; none where it cannot be opened, which is counted."""
    found: list[os.DirEntry[str]] = []
    try:
        with os.scandir(at) as entries:
            for entry in entries:
                walk.entries += 1
                if walk.entries > limits.FILES:
                    raise BadInput(
                        f"{str(walk.root)!r} holds more than {limits.FILES} files and folders; give a smaller folder"
                    )
                found.append(entry)
    except OSError:
        walk.passed.add("folders that cannot be opened", here)
    return sorted(found, key=lambda entry: entry.name)


def _follow(walk: _Walk, place: Names, path: str) -> None:
    found = _status(walk, place, path)
    if found is None:
        return
    if _identity(found) in walk.seen:
        walk.passed.add("links to what is read under another name", place)
    elif stat.S_ISDIR(found.st_mode):
        _take_folder(walk, place, path, found)
    else:
        _take_file(walk, place, path, found)


def _status(walk: _Walk, place: Names, path: str) -> os.stat_result | None:
    """What a name stands for, links followed; None where it leads nowhere, which is counted."""
    try:
        return os.stat(path)
    except (OSError, ValueError):
        walk.passed.add("names that lead nowhere", place)
        return None


def _take_file(walk: _Walk, place: Names, path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        walk.passed.add("pipes, sockets or devices", place)
    elif found.st_nlink > 1 and _identity(found) in walk.seen:
        walk.passed.add("second names of a file", place)
    elif is_picture(place, partial(_opened, path)):
        walk.seen.add(_identity(found))
        walk.files.append(File(place, partial(_read, path)))
    else:
        walk.passed.add_suffix(place)


def _opened(path: str) -> BinaryIO:
    return open(path, "rb")


def _read(path: str) -> bytes:
    with _opened(path) as file:
        return bounded(file)


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino
