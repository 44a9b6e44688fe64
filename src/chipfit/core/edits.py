"""One change to a network as one plain record. `space.edits` applies it to a Graph, `compress` to weights too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from chipfit.core.types import Plain


@dataclass(frozen=True, slots=True)
class Width:
    """Keep only these channels (ascending, 0-based) of a coupled channel group."""

    group: str
    keep: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """Drop the body of a residual block; `block` is the name of its add. What is left is the shortcut."""

    block: str


@dataclass(frozen=True, slots=True)
class Precision:
    """Compute a site (a run of operators) with these bits: 8 is int8 QDQ, 32 float."""

    site: str
    bits: int


Edit = Width | Skip | Precision


def to_plain(edits: Sequence[Edit]) -> Plain:
    """The edits as JSON-ready values, in canonical order: skips, then widths, then precisions, each by name."""
    rows: list[list[Plain]] = []
    for e in edits:
        match e:
            case Skip():
                rows.append(["0skip", e.block])
            case Width():
                rows.append(["1width", e.group, list(e.keep)])
            case Precision():
                rows.append(["2precision", e.site, e.bits])
            case _:
                assert_never(e)
    rows.sort(key=lambda r: (str(r[0]), str(r[1])))
    return [[str(r[0])[1:], *r[1:]] for r in rows]


def from_plain(rows: Sequence[Sequence[Plain]]) -> tuple[Edit, ...]:
    """The edits that `to_plain` wrote."""
    made: list[Edit] = []
    for kind, name, *rest in rows:
        if kind == "skip":
            made.append(Skip(str(name)))
        elif kind == "width":
            made.append(Width(str(name), tuple(int(i) for i in rest[0])))  # type: ignore[union-attr,arg-type]
        elif kind == "precision":
            made.append(Precision(str(name), int(rest[0])))  # type: ignore[arg-type]
        else:
            raise ValueError(f"edit of unknown kind {kind!r}; known: skip, width, precision")
    return tuple(made)
