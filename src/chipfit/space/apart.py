"""Keeps groups out of a menu whose widths would have to be decided together with too many others.

What an operator costs is a table over few decisions. Several groups side by side on one axis add up, and each has a
table of its own; what is multiplied does not: groups on both sides of a weight where one side is a sum, or a group
within another beside further ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from chipfit.core.graph import LAYERS, Graph, Op
from chipfit.space.axes import Axis, groups_on
from chipfit.space.groups import Coupling

TOGETHER = 3
"""Groups that one table can be over, beside the precision of the operator."""


def apart(graph: Graph, coupling: Coupling) -> Coupling:
    """The coupling without groups that stand beside too many others, their layers being told with the reason."""
    gone: dict[str, str] = {}
    for o in graph:
        axes = _multiplied(graph, o, coupling)
        for group in _too_many([_left(axis, gone) for axis in axes], axes, gone):
            gone.setdefault(group, f"'{o.name}' has too many groups of channels on its sides for one table")
    if not gone:
        return coupling
    groups = tuple(g for g in coupling.groups if g.name not in gone)
    free = {p for g in groups for p in g.producers}
    frozen = {p: gone[g.name] for g in coupling.groups if g.name in gone for p in g.producers if p not in free}
    return replace(coupling, groups=groups, frozen=(*coupling.frozen, *frozen.items()))


def _multiplied(graph: Graph, o: Op, coupling: Coupling) -> Sequence[Axis]:
    """The axes that an operator's cost is a product over."""
    if o.kind in LAYERS:
        return coupling.arrays[o.array("weight")][:2]
    return coupling.axes[o.name]


def _left(axis: Axis, gone: Collection[str]) -> list[str]:
    return [group for group in dict.fromkeys(groups_on(axis)) if group not in gone]


def _too_many(groups: Sequence[Sequence[str]], axes: Sequence[Axis], gone: Collection[str]) -> Iterator[str]:
    """Groups that are to go: those within others where there are many, and those of the narrower of two sums."""
    if len(set(chain(*groups))) > TOGETHER:
        for axis in axes:
            yield from _inner(axis, gone)
    within = set(chain(*(_inner(axis, gone) for axis in axes)))
    sums = [side for side in ([g for g in side if g not in within] for side in groups) if len(side) > 1]
    if len(sums) > 1:
        yield from min(sums, key=len)


def _inner(axis: Axis, gone: Collection[str]) -> Iterator[str]:
    """The groups that stand within another one."""
    for segment in axis:
        inside = [group for group in groups_on((segment,)) if group not in gone]
        yield from inside[1:]
