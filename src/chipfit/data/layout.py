"""Which pictures are in which part and of which class, told from the folders that they stand in.

One folder a class, with `train/`, `val/` and `test/` above them where they exist, all of it in one more folder or not.
Pictures without class folders have no labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from chipfit.core.errors import BadInput
from chipfit.core.words import number_of
from chipfit.data import limits
from chipfit.data.files import File, Names, Tree, shown
from chipfit.data.split import Part

_PART_NAMES: Mapping[str, Part] = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "dev": "validation", "development": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """The pictures of each part, the class of each (None: no labels), and what was left out."""

    parts: Mapping[Part, tuple[File, ...]]
    labels: Mapping[Part, tuple[int, ...] | None]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Folder:
    """What stands in the folder of one part: pictures by class folder, and loose ones."""

    name: str
    by_class: Mapping[str, tuple[File, ...]]
    loose: tuple[File, ...]


def layout_of(tree: Tree, source: str) -> Layout:
    """Parts and classes of the pictures in a tree; `source` names it in messages.

    Raises:
        BadInput: no pictures, an empty class folder, one class, parts that do not agree, or a class that has no name.
    """
    if not tree.pictures:
        passed = f"; {'; '.join(tree.notes[:3])}" if tree.notes else ""
        raise BadInput(
            f"{source!r} holds no pictures; give a folder or zip of .bmp, .jpg, .png, .tif or .webp files{passed}"
        )
    root = _root(tree)
    below = [f[-1] for f in tree.folders if f[:-1] == root]
    roots = _parts_among(below, root, source)
    if "train" in roots:
        return _by_part(tree, roots, source)
    if below and len(roots) == len(below):
        raise BadInput(f"{source!r} has {', '.join(below)} but no train folder; add train/")
    return _by_part(tree, {"train": root}, source)


def _parts_among(below: list[str], root: Names, source: str) -> dict[Part, Names]:
    roots: dict[Part, Names] = {}
    for name in below:
        part = _PART_NAMES.get(name.lower())
        if part in roots:
            raise BadInput(f"{source!r} has two folders for {part}: {roots[part][-1]!r} and {name!r}; keep one")
        if part is not None:
            roots[part] = (*root, name)
    return roots


def _root(tree: Tree) -> Names:
    """The folder that holds the parts, the classes or the pictures: archives often wrap all in one more folder."""
    inside: dict[Names, list[Names]] = {}
    for f in tree.folders:
        inside.setdefault(f[:-1], []).append(f)
    with_pictures = {p.place[:-1] for p in tree.pictures}
    root: Names = ()
    while True:
        folders = inside.get(root, [])
        if len(folders) != 1 or folders[0][-1].lower() in _PART_NAMES or root in with_pictures:
            return root
        root = folders[0]


def _by_part(tree: Tree, roots: Mapping[Part, Names], source: str) -> Layout:
    folders = {part: _folder(tree, root, source) for part, root in roots.items()}
    classes = tuple(folders["train"].by_class)
    _check_classes(classes, source)
    parts: dict[Part, tuple[File, ...]] = {}
    labels: dict[Part, tuple[int, ...] | None] = {}
    for part, folder in folders.items():
        _check_part(folder, classes, source)
        parts[part], labels[part] = _labelled(folder, classes) if classes else (folder.loose, None)
    notes = [*tree.notes, *_absent(folders, classes)]
    if not classes and roots["train"] and "train" not in map(str.lower, roots["train"]):
        one = shown(roots["train"][-1])
        notes.append(f"all pictures stand in one folder, {one!r}, so they have no labels: two folders make classes")
    notes += _left_out(tree, parts, roots["train"])
    return Layout(parts, labels, classes, tuple(notes))


def _labelled(folder: _Folder, classes: tuple[str, ...]) -> tuple[tuple[File, ...], tuple[int, ...]]:
    """The pictures of a part, class by class, and the number of each one's class."""
    pictures: list[File] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        of_class = folder.by_class.get(name, ())
        pictures += of_class
        labels += [number] * len(of_class)
    return tuple(pictures), tuple(labels)


def _left_out(tree: Tree, parts: Mapping[Part, tuple[File, ...]], train: Names) -> list[str]:
    """What to say of pictures that stand in none of the class folders: how many, and where most of them are."""
    taken = {picture.place for pictures in parts.values() for picture in pictures}
    folders = Counter(picture.place[:-1] for picture in tree.pictures if picture.place not in taken)
    if not folders:
        return []
    outer = train[:-1]  # what stands beside train is named as a whole
    places = Counter[str]()
    for folder, n in folders.items():
        beside = folder[: len(outer) + 1] if folder[: len(train)] != train else folder
        places[shown("/".join(beside))] += n
    named = ", ".join(f"{n} in {name!r}" if name else f"{n} beside them" for name, n in places.most_common(4))
    pictures = number_of(folders.total(), "picture")
    return [f"{pictures} outside the class folders left out: {named}{', ...' if len(places) > 4 else ''}"]


def _absent(folders: Mapping[Part, _Folder], classes: tuple[str, ...]) -> list[str]:
    """What to say of classes that a part has no folder for."""
    notes = []
    for part, folder in folders.items():
        if absent := [c for c in classes if c not in folder.by_class]:
            told = f"class {absent[0]!r}" if len(absent) == 1 else f"{len(absent)} classes, {absent[0]!r} among them"
            notes.append(f"{part} has no pictures of {told}")
    return notes


def _check_classes(classes: tuple[str, ...], source: str) -> None:
    if len(classes) == 1:
        raise BadInput(f"{source!r}: train has one class folder, {classes[0]!r}; give two or more, or none at all")
    if len(classes) > limits.CLASSES:
        raise BadInput(f"{source!r} has {len(classes)} class folders, at most {limits.CLASSES} are possible")
    if nameless := next((c for c in classes if shown(c) != c), None):
        raise BadInput(
            f"{source!r}: the name of class folder '{shown(nameless)}' is not UTF-8, or holds control characters; "
            f"rename it"
        )


def _check_part(folder: _Folder, classes: tuple[str, ...], source: str) -> None:
    if classes and (strange := sorted(folder.by_class.keys() - set(classes))):
        known = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
        raise BadInput(
            f"{source!r}: class folder '{shown(strange[0])}' of {folder.name!r} is not one of train: {known}"
        )
    if classes and not folder.by_class:
        raise BadInput(f"{source!r}: {folder.name!r} holds no pictures of the classes of train; fill it")
    if not classes and not folder.loose:
        why = "only class folders, which train has not" if folder.by_class else "no pictures"
        raise BadInput(f"{source!r}: {folder.name!r} holds {why}; give all parts class folders, or none")


def _folder(tree: Tree, root: Names, source: str) -> _Folder:
    depth = len(root)
    by_class: dict[str, list[File]] = {}
    loose = []
    for picture in tree.pictures:
        if picture.place[:depth] != root:
            continue
        if len(picture.place) == depth + 1:
            loose.append(picture)
        else:
            by_class.setdefault(picture.place[depth], []).append(picture)
    empty = [f for f in tree.folders if f[:-1] == root and f[-1] not in by_class] if by_class else []
    if empty:
        passed = next((f"; {note}" for note in tree.notes if "no picture" in note), "")
        raise BadInput(f"class folder {shown('/'.join(empty[0]))!r} holds no pictures; fill or remove it{passed}")
    return _Folder(root[-1] if root else source, {c: tuple(by_class[c]) for c in sorted(by_class)}, tuple(loose))
