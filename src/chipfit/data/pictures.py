"""A folder or zip of pictures, one folder a class, with `train/`, `val/` and `test/` above them where they exist.

A folder of pictures without class folders is a data set without labels. Files that are no pictures by their suffix are
passed over; whatever else is left out is said in the notes.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput
from chipfit.data.decode import SUFFIXES, decode
from chipfit.data.options import Normalisation
from chipfit.data.split import Part, complete
from chipfit.data.statistics import normalisation

Names = tuple[str, ...]
"""A path relative to the root of the data, by its parts."""

_PART_NAMES: Mapping[str, Part] = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Tree:
    """Pictures and folders below a root, both sorted, and how to read one."""

    pictures: tuple[Names, ...]
    folders: tuple[Names, ...]
    read: Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class _Folder:
    """What stands in the folder of one part: pictures by class folder, and loose ones."""

    by_class: Mapping[str, tuple[Names, ...]]
    loose: tuple[Names, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """The pictures of each part, the class of each (None: no labels), and what was left out."""

    parts: Mapping[Part, tuple[Names, ...]]
    labels: Mapping[Part, tuple[int, ...] | None]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def load(path: Path, *, resize: tuple[int, int] | None, normalize: Normalisation | None) -> Dataset:
    """The pictures below a folder, or in a zip, as uint8 (n, 1 or 3, H, W).

    Raises:
        BadInput: no zip, no pictures, an empty class folder, pictures that cannot be read or differ in size.
    """
    with _opened(path) as tree:
        layout = _layout(tree, str(path))
        decoded = decode(["/".join(p) for part in layout.parts.values() for p in part], tree.read, resize)
    given: dict[Part, Split] = {}
    start = 0
    for part, names in layout.parts.items():
        labels = layout.labels[part]
        targets = None if labels is None else np.asarray(labels, np.int64)
        given[part] = Split(decoded.pictures[start : start + len(names)], targets)
        start += len(names)
    parts = complete(given, layout.classes)
    (mean, std), origin = normalisation(parts.train.inputs, normalize)
    notes = [*layout.notes, *parts.notes, *origin]
    if resize is not None:
        notes.append(f"pictures resized to {resize[0]}x{resize[1]} (height x width), bilinear, aspect not kept")
    if decoded.greys_among_colours:
        notes.append(f"{decoded.greys_among_colours} grey pictures among coloured ones were read as RGB")
    return Dataset(
        name=path.resolve().stem if path.is_file() else path.resolve().name,
        classes=layout.classes,
        mean=mean,
        std=std,
        train=parts.train,
        validation=parts.validation,
        open_test=lambda: parts.test,
        flip=True,
        shift=min(4, max(1, decoded.pictures.shape[2] // 8)),
        notes=tuple(notes),
    )


@contextmanager
def _opened(path: Path) -> Iterator[_Tree]:
    if path.is_dir():
        files: list[Names] = []
        folders: list[Names] = []
        for at, _, names in os.walk(path, followlinks=True):
            here = Path(at).relative_to(path).parts
            folders.append(here)
            files += [(*here, n) for n in names]
        yield _tree(files, folders, lambda name: (path / name).read_bytes())
        return
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as e:
        raise BadInput(f"{str(path)!r} is not a zip file ({e}); give a folder or zip of class folders") from e
    with archive:
        if any(i.flag_bits & 1 for i in archive.infolist()):
            raise BadInput(f"{str(path)!r} is encrypted; unpack it and give the folder")
        entries = [(tuple(n.rstrip("/").split("/")), n.endswith("/")) for n in archive.namelist()]
        yield _tree(
            [e for e, folder in entries if not folder],
            [e[:n] for e, folder in entries for n in range(1, len(e) + folder)],
            archive.read,
        )


def _tree(files: Sequence[Names], folders: Sequence[Names], read: Callable[[str], bytes]) -> _Tree:
    def shown(names: Names) -> bool:
        return bool(names) and not any(n.startswith(".") or n == "__MACOSX" for n in names)

    pictures = (f for f in files if shown(f) and os.path.splitext(f[-1])[1].lower() in SUFFIXES)
    return _Tree(tuple(sorted(pictures)), tuple(sorted({f for f in folders if shown(f)})), read)


def _layout(tree: _Tree, source: str) -> _Layout:
    if not tree.pictures:
        raise BadInput(f"{source!r} holds no pictures; give a folder or zip of {', '.join(sorted(SUFFIXES))} files")
    root = _root(tree)
    below = [f[-1] for f in tree.folders if f[:-1] == root]
    roots: dict[Part, Names] = {}
    for name in below:
        part = _PART_NAMES.get(name.lower())
        if part in roots:
            raise BadInput(f"{source!r} has two folders for {part}: {roots[part][-1]!r} and {name!r}; keep one")
        if part is not None:
            roots[part] = (*root, name)
    if "train" in roots:
        return _by_part(tree, roots, source)
    if below and len(roots) == len(below):
        raise BadInput(f"{source!r} has {', '.join(below)} but no train folder; add train/")
    return _by_part(tree, {"train": root}, source)


def _root(tree: _Tree) -> Names:
    """The folder that holds the parts, the classes or the pictures: archives often wrap all in one more folder."""
    root: Names = ()
    while True:
        inside = [f for f in tree.folders if f[:-1] == root]
        if len(inside) != 1 or inside[0][-1].lower() in _PART_NAMES or any(p[:-1] == root for p in tree.pictures):
            return root
        root = inside[0]


def _by_part(tree: _Tree, roots: Mapping[Part, Names], source: str) -> _Layout:
    folders = {part: _folder(tree, root) for part, root in roots.items()}
    classes = tuple(folders["train"].by_class)
    if len(classes) == 1:
        raise BadInput(f"{source!r}: train has one class folder, {classes[0]!r}; give two or more, or none at all")
    parts: dict[Part, tuple[Names, ...]] = {}
    labels: dict[Part, tuple[int, ...] | None] = {}
    notes: list[str] = []
    for part, folder in folders.items():
        name, by_class = roots[part][-1] if roots[part] else source, folder.by_class
        if classes and (strange := [c for c in by_class if c not in classes]):
            known = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
            raise BadInput(f"{source!r}: class folder {strange[0]!r} of {name!r} is not one of train: {known}")
        parts[part] = tuple(p for c in classes for p in by_class.get(c, ())) if classes else folder.loose
        labels[part] = tuple(k for k, c in enumerate(classes) for _ in by_class.get(c, ())) if classes else None
        if not parts[part]:
            raise BadInput(
                f"{source!r}: {name!r} holds no pictures {'of the classes of train' * bool(classes)}; fill it"
            )
        if absent := [c for c in classes if c not in by_class]:
            notes.append(f"{part} has no pictures of {len(absent)} classes, {absent[0]!r} among them")
    if left := len(tree.pictures) - sum(map(len, parts.values())):
        notes.append(f"{left} pictures outside the class folders were left out")
    return _Layout(parts, labels, classes, tuple(notes))


def _folder(tree: _Tree, root: Names) -> _Folder:
    depth = len(root)
    by_class: dict[str, list[Names]] = {}
    loose = []
    for p in tree.pictures:
        if p[:depth] == root:
            if len(p) == depth + 1:
                loose.append(p)
            else:
                by_class.setdefault(p[depth], []).append(p)
    if by_class:
        for f in tree.folders:
            if f[:-1] == root and f[-1] not in by_class:
                raise BadInput(f"class folder {'/'.join(f)!r} holds no pictures; fill or remove it")
    return _Folder({c: tuple(by_class[c]) for c in sorted(by_class)}, tuple(loose))
