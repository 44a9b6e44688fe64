"""The kinds of edits in one ordered table, and what is done with edits of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chipfit.core.edits import Edit, Edited
from chipfit.core.graph import Graph
from chipfit.core.types import Plain
from chipfit.space.edits.expand import EXPAND
from chipfit.space.edits.fixed import FIXED
from chipfit.space.edits.kind import Kind, Structure
from chipfit.space.edits.pattern import PATTERN
from chipfit.space.edits.precision import PRECISION
from chipfit.space.edits.skip import SKIP
from chipfit.space.edits.swap import SWAP
from chipfit.space.edits.width import WIDTH

KINDS: tuple[Kind[Any], ...] = (SKIP, WIDTH, SWAP, EXPAND, PATTERN, FIXED, PRECISION)
"""In the order in which they are applied and written: what drops operators is before what changes those that stay.

Arrays are taken, then fitted, padded, masked and rounded, in this order; programs see layers as they were narrowed.
"""


def kind_of(edit: Edit) -> Kind[Any]:
    """The kind of an edit."""
    return next(kind for kind in KINDS if kind.record is type(edit))


def named(name: str) -> Kind[Any] | None:
    """The kind of this name; None where there is none, as in a run of another version."""
    return next((kind for kind in KINDS if kind.name == name), None)


def edited(graph: Graph, edits: Sequence[Edit], structure: Structure | None = None) -> Edited:
    """The graph after the edits, and how it came to be.

    All edits refer to the graph as given, so that their order does not matter. `structure` is the graph's, for callers
    that edit it many times.

    Raises:
        KeyError: an edit names a group, block or site that the graph does not have.
        ValueError: a width keeps no channel, or one that does not exist, or two edits of a kind are on one thing.
    """
    original = structure or Structure(graph)
    made = original.unedited
    for kind, own in _by_kind(edits):
        _refuse_twins(kind, own)
        made = kind.rewrite(original, made, own)
    return made


def _by_kind(edits: Sequence[Edit]) -> list[tuple[Kind[Any], list[Edit]]]:
    """The kinds that there are edits of, in the table's order, each with its edits."""
    found: dict[str, list[Edit]] = {kind.name: [] for kind in KINDS}
    for e in edits:
        found[kind_of(e).name].append(e)
    return [(kind, found[kind.name]) for kind in KINDS if found[kind.name]]


def _refuse_twins(kind: Kind[Any], edits: Sequence[Edit]) -> None:
    names = [kind.to_plain(e)[0] for e in edits]
    if twice := [name for n, name in enumerate(names) if name in names[:n]]:
        raise ValueError(f"two {kind.name} edits on {twice[0]!r}; give one")


def apply(graph: Graph, edits: Sequence[Edit], structure: Structure | None = None) -> Graph:
    """The graph alone after the edits; see `edited`."""
    return edited(graph, edits, structure).graph if edits else graph


def structural(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """The edits without those that change only the numbers that operators compute in."""
    return tuple(e for e in edits if not kind_of(e).numbers_only)


def to_plain(edits: Sequence[Edit]) -> Plain:
    """The edits as JSON-ready rows [kind, name, ...] in canonical order: by kind as in `KINDS`, then by name."""
    rows: list[list[Plain]] = []
    for kind, own in _by_kind(edits):
        written = sorted((kind.to_plain(e) for e in own), key=lambda row: str(row[0]))
        rows += [[kind.name, *row] for row in written]
    return rows


def from_plain(rows: Sequence[Sequence[Plain]]) -> tuple[Edit, ...]:
    """The edits that `to_plain` wrote.

    Raises:
        ValueError: a row of a kind that is not known.
    """
    made: list[Edit] = []
    for name, on, *rest in rows:
        kind = named(str(name))
        if kind is None:
            raise ValueError(f"edit of unknown kind {name!r}; known: {', '.join(k.name for k in KINDS)}")
        made.append(kind.from_plain(str(on), rest))
    return tuple(made)
