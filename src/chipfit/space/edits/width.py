"""Narrowing a coupled channel group: the layers that make it, carry it and read it lose the same channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chipfit.core.edits import Edit, Edited, Indices, Take, Width
from chipfit.core.graph import Graph, Op
from chipfit.core.types import Plain
from chipfit.space.axes import Axis, groups_on, kept
from chipfit.space.edits.kind import Kind, Structure

Places = Mapping[int, Indices]
"""Axis to the places on it that stay, of axes that lose some."""


def narrowed_to(edits: Sequence[Edit]) -> int | None:
    """The channels that the edits of one option leave of their group; None where they narrow none."""
    return next((len(e.keep) for e in edits if isinstance(e, Width)), None)


def _rewrite(original: Structure, made: Edited, edits: Sequence[Width]) -> Edited:
    for e in edits:
        _check(e, original.coupling.group(e.group).size)
    narrowed, coupling = _Narrowed({e.group: e.keep for e in edits}), original.coupling
    reached = [original.reach[e.group] for e in edits]
    channels, arrays, ops = dict[str, Places](), dict(made.arrays), list[Op]()
    concerned = set[str]().union(*(r.ops for r in reached))
    for o in made.graph:
        if o.name in concerned:
            if places := narrowed.places(coupling.axes[o.name]):
                channels[o.name] = places
            counts = {name: narrowed.length(coupling.counts.get((o.name, name), ())) for name, _ in o.attrs}
            o = _narrow(o, places, counts)
        ops.append(o)
    for name in set[str]().union(*(r.arrays for r in reached)) & arrays.keys():
        arrays[name] = Take(name, narrowed.places(coupling.arrays[name]))
    return replace(made, graph=Graph(tuple(ops), made.graph.output), arrays=arrays, channels=channels)


def _check(edit: Width, size: int) -> None:
    places = list(edit.keep)
    ascending = places == sorted(set(places))
    if not places or not ascending or places[0] < 0 or places[-1] >= size:
        raise ValueError(f"group {edit.group!r} keeps {edit.keep}; give ascending channels of 0..{size - 1}")


class _Narrowed:
    """What is left of axes; many are the same one, and each is looked at once."""

    def __init__(self, keep: Mapping[str, Indices]) -> None:
        self.keep = keep
        self._known: dict[int, Indices | None] = {}

    def left(self, axis: Axis) -> Indices | None:
        """Places that stay, or None where no group on the axis is narrowed."""
        # by its identity: equal axes are one object, and to compare rows of hundreds of segments takes longer
        if id(axis) not in self._known:
            concerned = any(group in self.keep for group in groups_on(axis))
            self._known[id(axis)] = kept(axis, self.keep) if concerned else None
        return self._known[id(axis)]

    def places(self, axes: Sequence[Axis]) -> Places:
        """The same for each axis that is narrowed."""
        return {n: places for n, axis in enumerate(axes) if (places := self.left(axis)) is not None}

    def length(self, axis: Axis) -> int | None:
        """How many stay; None where the axis is not narrowed."""
        places = self.left(axis)
        return None if places is None else len(places)


def _narrow(o: Op, places: Places, counts: Mapping[str, int | None]) -> Op:
    """The operator with a narrower output, and with attributes that say so."""
    shape = tuple(len(places[n]) if n in places else size for n, size in enumerate(o.shape))
    narrow = replace(o, shape=shape) if places else o
    if o.kind == "reshape" and places:
        narrow = narrow.having(to=shape)
    counted = {name: length for name, length in counts.items() if length is not None}
    return narrow.having(**counted) if counted else narrow


def _from_plain(group: str, rest: Sequence[Plain]) -> Width:
    (keep,) = rest
    return Width(group, tuple(int(i) for i in keep))  # type: ignore[union-attr,arg-type]


WIDTH = Kind(
    "width",
    Width,
    _rewrite,
    to_plain=lambda e: [e.group, list(e.keep)],
    from_plain=_from_plain,
    in_words=lambda e: f"{e.group!r} at {len(e.keep)} channels",
    changed="channel groups narrowed",
    caption="Channels that are left of each coupled group, or “skip” where its block was dropped.",
)
