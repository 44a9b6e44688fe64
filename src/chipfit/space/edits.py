"""Edits on a Graph: the shapes, MACs and bytes that a change leads to, without weights.

All edits of a call refer to the graph as given, so that their order does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chipfit.core.edits import Edit, Precision, Skip, Width
from chipfit.core.graph import Graph, Op, live
from chipfit.space.groups import QUANTISABLE, Coupling, Segment, channel_groups, residual_blocks, sites


def apply(graph: Graph, edits: Sequence[Edit], coupling: Coupling | None = None) -> Graph:
    """The graph after the edits.

    Raises:
        KeyError: an edit names a group, block or site that the graph does not have.
        ValueError: a width keeps no channel, or one that does not exist, or two edits are on one thing.
    """
    if not edits:
        return graph
    keep = _widths(edits, coupling := coupling or channel_groups(graph))
    ops = graph.ops
    if keep:
        ops = tuple(_narrow(graph, o, coupling, {g: len(k) for g, k in keep.items()}) for o in ops)
    ops = _at_bits(graph, ops, edits)
    return _without(graph, ops, [e.block for e in edits if isinstance(e, Skip)])


def _widths(edits: Sequence[Edit], coupling: Coupling) -> dict[str, tuple[int, ...]]:
    keep: dict[str, tuple[int, ...]] = {}
    for e in edits:
        if isinstance(e, Width):
            size = coupling.group(e.group).size
            if e.group in keep:
                raise ValueError(f"two width edits on group {e.group!r}; give one")
            if not e.keep or list(e.keep) != sorted(set(e.keep)) or not 0 <= e.keep[0] <= e.keep[-1] < size:
                raise ValueError(f"group {e.group!r} keeps {e.keep}; give ascending channels of 0..{size - 1}")
            keep[e.group] = e.keep
    return keep


def channels(segments: Sequence[Segment], widths: dict[str, int]) -> int:
    """Length of a channel axis when groups have these widths (others as they are)."""
    return sum(widths.get(s.group, s.size) * s.repeat for s in segments)


def _narrow(graph: Graph, o: Op, coupling: Coupling, widths: dict[str, int]) -> Op:
    segments = coupling.segments[o.name]
    if not any(s.group in widths for s in segments):
        return o
    n = channels(segments, widths)
    narrow = replace(o, shape=(n, *o.shape[1:]))
    if o.kind == "conv" and o["groups"] > 1:
        return narrow.having(groups=n)
    if o.kind == "reshape":
        return narrow.having(to=narrow.shape)
    return narrow


def _at_bits(graph: Graph, ops: tuple[Op, ...], edits: Sequence[Edit]) -> tuple[Op, ...]:
    wanted = {e.site: e.bits for e in edits if isinstance(e, Precision)}
    if not wanted:
        return ops
    known = {s.name: s for s in sites(graph)}
    if unknown := wanted.keys() - known.keys():
        raise KeyError(f"no precision site {sorted(unknown)[0]!r}; there are {', '.join(known)}")
    bits = {name: b for site, b in wanted.items() for name in known[site].ops}
    return tuple(replace(o, bits=bits[o.name]) if o.name in bits and o.kind in QUANTISABLE else o for o in ops)


def _without(graph: Graph, ops: tuple[Op, ...], skipped: Sequence[str]) -> Graph:
    """Rewires the users of each skipped block's add to its shortcut, and drops what nobody reads any more."""
    if not skipped:
        return Graph(ops, graph.output)
    blocks = {b.name: b for b in residual_blocks(graph)}
    if unknown := set(skipped) - blocks.keys():
        raise KeyError(f"no residual block {sorted(unknown)[0]!r}; there are {', '.join(blocks)}")
    instead = {name: blocks[name].shortcut for name in skipped}

    def final(name: str) -> str:
        while name in instead:
            name = instead[name]
        return name

    made: dict[str, Op] = {}
    for o in ops:
        o = replace(o, inputs=tuple(final(i) for i in o.inputs))
        if o.kind == "relu" and made[o.inputs[0]].kind == "relu":
            instead[o.name] = o.inputs[0]  # a ReLU of a ReLU, which a dropped identity block leaves behind
        else:
            made[o.name] = o
    return live(tuple(made.values()), final(graph.output))
