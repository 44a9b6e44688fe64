"""Narrowing a coupled channel group: the layers that make it, carry it and read it lose the same channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chipfit.core.edits import Edit, Edited, Indices, Source, Take, Width
from chipfit.core.graph import Graph, Op, single
from chipfit.core.types import Plain
from chipfit.space.edits.kind import Kind, Structure
from chipfit.space.groups import Coupling, Segment


def narrowed_to(edits: Sequence[Edit]) -> int | None:
    """The channels that the edits of one option leave of their group; None where they narrow none."""
    return next((len(e.keep) for e in edits if isinstance(e, Width)), None)


def _rewrite(original: Structure, made: Edited, edits: Sequence[Width]) -> Edited:
    for e in edits:
        _check(e, original.coupling.group(e.group).size)
    keep = {e.group: e.keep for e in edits}
    channels = _channels(made.graph, original.coupling, keep)
    arrays, ops = dict(made.arrays), list[Op]()
    for o in made.graph:
        arrays |= _sources(made.graph, o, channels)
        ops.append(_narrow(o, len(channels[o.name])) if o.name in channels else o)
    return replace(made, graph=Graph(tuple(ops), made.graph.output), arrays=arrays, channels=channels)


def _check(edit: Width, size: int) -> None:
    places = list(edit.keep)
    ascending = places == sorted(set(places))
    if not places or not ascending or places[0] < 0 or places[-1] >= size:
        raise ValueError(f"group {edit.group!r} keeps {edit.keep}; give ascending channels of 0..{size - 1}")


def _channels(graph: Graph, coupling: Coupling, keep: Mapping[str, Indices]) -> dict[str, Indices]:
    """Operator to the channels of its output that stay, of operators that lose some."""
    found: dict[str, Indices] = {}
    # many operators have the same segments, and a network has thousands of channels: each row is made once
    known: dict[tuple[Segment, ...], Indices | None] = {}
    for o in graph:
        segments = coupling.segments[o.name]
        if segments not in known:
            known[segments] = _kept(segments, keep)
        if (places := known[segments]) is not None:
            found[o.name] = places
    return found


def _kept(segments: Sequence[Segment], keep: Mapping[str, Indices]) -> Indices | None:
    """Places along a channel axis that stay, or None where no group on it is narrowed."""
    if not any(s.group in keep for s in segments):
        return None
    places: list[int] = []
    start = 0
    for s in segments:
        for channel in keep.get(s.group, range(s.size)):
            first = start + channel * s.repeat
            places.extend(range(first, first + s.repeat))
        start += s.size * s.repeat
    return tuple(places)


def _narrow(o: Op, channels: int) -> Op:
    narrow = replace(o, shape=(channels, *o.shape[1:]))
    if o.kind == "conv" and o["groups"] > 1:
        return narrow.having(groups=channels)
    if o.kind == "reshape":
        return narrow.having(to=narrow.shape)
    return narrow


def _sources(graph: Graph, o: Op, channels: Mapping[str, Indices]) -> dict[str, Source]:
    """How those arrays of an operator are made that lose channels out, on axis 0, or channels in, on axis 1."""
    found: dict[str, Source] = {}
    carries = o.kind == "conv" and o["groups"] > 1
    for name, shape in graph.weight_shapes(o).items():
        axes: dict[int, Indices] = {}
        if o.name in channels and not single(o):
            axes[0] = channels[o.name]
        if o.inputs[0] in channels and len(shape) > 1 and not carries:
            axes[1] = channels[o.inputs[0]]
        if axes:
            found[name] = Take(name, axes)
    return found


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
