"""What a kind of edit is: how it rewrites a graph, how it is stored and how a report words it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from chipfit.core.edits import Edit, Edited
from chipfit.core.graph import Graph
from chipfit.core.types import Plain
from chipfit.space.axes import Axis, groups_on
from chipfit.space.groups import Block, Coupling, Site, channel_groups, residual_blocks, sites


@dataclass(slots=True)
class Reach:
    """What a channel group stands on: values, by the operators that make them, and arrays."""

    ops: set[str] = field(default_factory=set)
    arrays: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Structure:
    """A graph with what edits may name in it, each looked for once, when the first edit asks."""

    graph: Graph

    @cached_property
    def unedited(self) -> Edited:
        """Itself, before any edit."""
        return Edited.nothing(self.graph)

    @cached_property
    def coupling(self) -> Coupling:
        """Its channel groups."""
        return channel_groups(self.graph)

    @cached_property
    def reach(self) -> Mapping[str, Reach]:
        """What each channel group stands on, operators with attributes that count its channels among it."""
        found = {g.name: Reach() for g in self.coupling.groups}
        for op, axes in self.coupling.axes.items():
            for group in _groups_on(axes):
                found[group].ops.add(op)
        for (op, _), axis in self.coupling.counts.items():
            for group in _groups_on([axis]):
                found[group].ops.add(op)
        for array, axes in self.coupling.arrays.items():
            for group in _groups_on(axes):
                found[group].arrays.add(array)
        return found

    @cached_property
    def blocks(self) -> Mapping[str, Block]:
        """Its residual blocks by name."""
        return {b.name: b for b in residual_blocks(self.graph)}

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        """Its precision sites by name."""
        return {s.name: s for s in sites(self.graph)}


def _groups_on(axes: Iterable[Axis]) -> set[str]:
    return {group for axis in axes for group in groups_on(axis)}


E = TypeVar("E", bound=Edit)


@dataclass(frozen=True, slots=True)
class Kind(Generic[E]):
    """One kind of edit; `record` is the class of its edits.

    `rewrite` takes the original, what the kinds before made of it, and all edits of this kind at once; names in edits
    are the original's. It raises KeyError for a name that is not there, ValueError for an edit that fits nothing.
    `to_plain` gives the name of what an edit changes and then its other fields; `from_plain` reads them back.
    `in_words` says what one edit does, `changed` is what a count of such edits counts ("residual blocks dropped"), and
    `caption` says below a picture what decisions of this kind are about. With `numbers_only` such edits change what
    numbers operators compute in, and neither structure nor arrays: there is nothing to repair. One that `grows` may add
    MACs and parameters.
    """

    name: str
    record: type[E]
    rewrite: Callable[[Structure, Edited, Sequence[E]], Edited]
    to_plain: Callable[[E], list[Plain]]
    from_plain: Callable[[str, Sequence[Plain]], E]
    in_words: Callable[[E], str]
    changed: str
    caption: str
    numbers_only: bool = False
    grows: bool = False
