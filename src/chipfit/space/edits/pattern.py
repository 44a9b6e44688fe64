"""Pruning the kernels of a layer to a few patterns of places, which engines that know them skip the rest of.

Each 2-D kernel of a layer takes, of a handful of patterns, the one that keeps most of it (HotNAS, arXiv 2007.09087).
What an engine computes is the largest count of any of the patterns, which is why all have the same. The centre always
stays. Which patterns there are to choose from:

    3x3     the centre and 7 to 4 of the other 8 places: 8, 28, 56, 70 patterns of 1 to 4 zeros
    5x5     a diamond of 13 around the centre and some of the other 12: 924 patterns of 6 zeros, 495 of 8
    7x7     four drawn by hand, of 25 to 28 places

What differs from the released generator: it never put a zero on the last place, and left out 2 of 8 and 7 of 28.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from chipfit.core.edits import Edit, Edited, Masked, Source
from chipfit.core.graph import Op
from chipfit.core.kernel_patterns import Pattern as Places
from chipfit.core.kernel_patterns import as_number
from chipfit.core.types import Plain
from chipfit.space.edits.kind import Kind, Structure
from chipfit.space.edits.layer import by_layer, changed

DIAMOND: Places = (2, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 22)
"""Places of a 5x5 kernel within two steps of its centre."""

ZEROS: Mapping[int, tuple[int, ...]] = {3: (1, 2, 3, 4), 5: (6, 8)}
"""Size of a kernel to how many zeros its patterns may have."""

_BLOB = """
...##..
..####.
.######
######.
.#####.
..###..
...##..
"""
_DISC_AND_CORNERS = """
#.....#
..###..
.#####.
.#####.
.#####.
..###..
#.....#
"""
_SQUARE = """
.......
.#####.
.#####.
.#####.
.#####.
.#####.
.......
"""
_RING_AND_CORE = """
.#####.
#.....#
#..#..#
#.###.#
#..#..#
#.....#
.#####.
"""


@dataclass(frozen=True, slots=True)
class Pattern(Edit):
    """Prune the kernels of a convolution to patterns of places, each a tuple of flat ones, ascending.

    The places are those of the kernel as the layer has it after all edits.
    """

    layer: str
    patterns: tuple[Places, ...]


def candidates(size: int, zeros: int) -> tuple[Places, ...]:
    """Every pattern of square kernels of this size with so many zeros, in the order of the places of the zeros.

    Raises:
        ValueError: there are none.
    """
    if zeros not in ZEROS.get(size, ()):
        known = "; ".join(f"{s}x{s} with {', '.join(map(str, z))} zeros" for s, z in ZEROS.items())
        raise ValueError(f"no patterns of {size}x{size} kernels with {zeros} zeros; there are {known}")
    places = range(size * size)
    always = (size * size // 2,) if size == 3 else DIAMOND
    free = [place for place in places if place not in always]
    return tuple(_without(places, gone) for gone in combinations(free, zeros))


def _without(places: Iterable[int], gone: Collection[int]) -> Places:
    return tuple(place for place in places if place not in gone)


def drawn_by_hand() -> tuple[Places, ...]:
    """The four patterns of 7x7 kernels: a blob, a disc and the corners, the middle 5x5, a ring and its core."""
    return tuple(map(_drawn, (_BLOB, _DISC_AND_CORNERS, _SQUARE, _RING_AND_CORE)))


def _drawn(rows: str) -> Places:
    """The places that are marked in a drawing."""
    marks = "".join(rows.split())
    return tuple(place for place, mark in enumerate(marks) if mark == "#")


def taps(patterns: Sequence[Places]) -> int:
    """Places that an engine computes of every kernel: the most of any pattern."""
    return max(len(pattern) for pattern in patterns)


def _rewrite(original: Structure, made: Edited, edits: Sequence[Pattern]) -> Edited:
    return changed(made, by_layer(original.graph, edits, frozenset({"conv"})), _pruned)


def _pruned(edit: Pattern, o: Op, weight: Source) -> tuple[Op, Source]:
    _check(edit, o)
    pruned = o.having(taps=taps(edit.patterns), patterns=tuple(map(as_number, edit.patterns)))
    return pruned, Masked(weight, edit.patterns)


def _check(edit: Pattern, o: Op) -> None:
    rows, columns = o["kernel"]
    places, centre = rows * columns, rows // 2 * columns + columns // 2
    wrong = [p for p in edit.patterns if not _fits(p, places, centre)]
    if wrong or not edit.patterns:
        raise ValueError(
            f"layer {edit.layer!r} has {rows}x{columns} kernels and gets the patterns {wrong or 'none'}; "
            f"give ascending places of 0..{places - 1} with the centre {centre}"
        )


def _fits(pattern: Places, places: int, centre: int) -> bool:
    """True for ascending places of a kernel, the centre among them, which tells kernels of other sizes apart."""
    ascending = list(pattern) == sorted(set(pattern))
    return ascending and centre in pattern and pattern[0] >= 0 and pattern[-1] < places


def _from_plain(layer: str, rest: Sequence[Plain]) -> Pattern:
    (patterns,) = rest
    return Pattern(layer, tuple(map(_places, patterns)))  # type: ignore[arg-type]


def _places(row: Sequence[Plain]) -> Places:
    return tuple(int(place) for place in row)  # type: ignore[arg-type]


PATTERN = Kind(
    "pattern",
    Pattern,
    _rewrite,
    to_plain=lambda e: [e.layer, [list(p) for p in e.patterns]],
    from_plain=_from_plain,
    in_words=lambda e: f"{e.layer!r} with {taps(e.patterns)} taps a kernel",
    changed="layers with pruned kernels",
    caption="Places of each kernel that are left, of those that there are.",
)
