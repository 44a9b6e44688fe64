"""Streams of tokens: values that blocks add to, and that are read through norms of each token alone, as in a ViT.

Nothing in such a stream says which channel is which: layers that write it (dense layers, patches, tables, positions)
and those that read its norms are matrices, so that the stream may be turned (`compress.streams`). Only then is a
narrower one worth anything; so only of such streams is the width a choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from chipfit.core.channels import array_axis
from chipfit.core.graph import Graph, Op, single

NORMS = frozenset({"layer_norm", "rms_norm"})


@dataclass(frozen=True, slots=True)
class Stream:
    """The operators around one stream of `width` channels, by name.

    `writers` make it, `scales` (affine operators without a shift) stand between one of them and the stream, `constants`
    are arrays that are part of it, with the axis that the channels are on; `readers` are dense layers, each with the
    norm that it reads. Norms that are `centred` take off the mean (layer norms); others are root-mean-square norms.
    """

    width: int
    centred: bool
    norms: tuple[str, ...]
    writers: tuple[str, ...]
    scales: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, int], ...]
    readers: tuple[tuple[str, str], ...]


def streams(graph: Graph) -> tuple[Stream, ...]:
    """All streams of a graph that can be turned."""
    found, seen = list[Stream](), set[str]()
    for o in graph:
        if o.kind in NORMS and o.name not in seen:
            walk = _Walk(graph)
            whole = walk.stream(o.inputs[0], len(o.shape) - 1)
            seen |= walk.norms.keys()
            if whole and walk.read():
                found.append(walk.found(o.shape[-1]))
    return tuple(found)


class _Walk:
    """Goes over a stream from one of its values, whose channels are on an axis, to all that it touches."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, int] = {}
        self.norms: dict[str, None] = {}
        self.writers: dict[str, None] = {}
        self.scales: dict[str, str] = {}
        self.constants: dict[str, int] = {}
        self.readers: dict[str, str] = {}

    def found(self, width: int) -> Stream:
        """What was found."""
        return Stream(
            width, self._kinds() == {"layer_norm"}, tuple(self.norms), tuple(self.writers), tuple(self.scales.items()),
            tuple(self.constants.items()), tuple(self.readers.items()),
        )  # fmt: skip

    def stream(self, name: str, axis: int) -> bool:
        """False where something touches the stream that a turned one would be wrong for."""
        left = [(name, axis)]
        while left:
            name, axis = left.pop()
            if self.values.setdefault(name, axis) != axis or name == self.graph.output:
                return False
            for o in self._users(name):
                if o.kind in NORMS:
                    if not self._is_norm(o, axis):
                        return False
                    self.norms[o.name] = None
                elif (behind := _through(self.graph, o, name, axis)) is None:
                    return False
                elif o.name not in self.values:
                    left.append((o.name, behind))
            more = self._made(self.graph[name], axis)
            if more is None:
                return False
            left += [(value, at) for value, at in more if value not in self.values]
        touched = {*self.norms, *self.writers, *self.scales, *self.constants}
        return len(self._kinds()) == 1 and not touched & self.graph.sharing

    def _kinds(self) -> set[str]:
        return {self.graph[norm].kind for norm in self.norms}

    def _users(self, name: str) -> Iterator[Op]:
        return (self.graph[u] for u in self.graph.users[name])

    def _is_norm(self, o: Op, axis: int) -> bool:
        return bool(o["axes"] == 1 and axis == len(o.shape) - 1)

    def _made(self, o: Op, axis: int) -> list[tuple[str, int]] | None:
        """The values of the stream that one is made of; None where it cannot be turned."""
        if _writes(o, axis):
            self.writers[o.name] = None
            return []
        if o.kind == "constant":
            self.constants[o.name] = axis
            return []
        if o.kind == "affine" and not single(o):
            maker = self.graph[o.inputs[0]]
            alone = tuple(self.graph.users[maker.name]) == (o.name,)
            if o["shift"] or array_axis(o) != axis or not alone or not _writes(maker, axis):
                return None
            self.writers[maker.name], self.scales[o.name] = None, maker.name
            return []
        before = [(i, _back(self.graph, o, i, axis)) for i in o.inputs]
        if not before or any(at is None for _, at in before):
            return None
        return [(i, at) for i, at in before if at is not None]

    def read(self) -> bool:
        """True where only dense layers read the norms."""
        for norm in self.norms:
            left = [(norm, len(self.graph[norm].shape) - 1)]
            while left:
                name, axis = left.pop()
                if name == self.graph.output:
                    return False
                for o in self._users(name):
                    if o.kind == "linear":
                        if axis != len(self.graph[name].shape) - 1 or o.name in self.graph.sharing:
                            return False
                        self.readers[o.name] = norm
                    elif (behind := _moved(self.graph, o, name, axis)) is None:
                        return False
                    else:
                        left.append((o.name, behind))
        return bool(self.readers)


def _writes(o: Op, axis: int) -> bool:
    """True for a layer that makes channels on this axis, each a weighted sum of its own."""
    if o.kind == "conv":
        return axis == 0 and o["groups"] == 1
    return o.kind in ("linear", "embedding") and axis == len(o.shape) - 1


def _through(graph: Graph, o: Op, name: str, axis: int) -> int | None:
    """The axis of an operator's output that the channels of an input are on; None where it is not of the stream."""
    if o.kind == "add":
        same = all(graph[i].shape == o.shape for i in o.inputs)
        return axis if same else None
    if o.kind == "concat":
        return axis if axis != o["axis"] else None
    return _moved(graph, o, name, axis)


def _moved(graph: Graph, o: Op, name: str, axis: int) -> int | None:
    """The axis behind a view, a scale that is one for all, or a mean over other axes."""
    shape = graph[name].shape
    match o.kind:
        case "affine":
            return axis if single(o) and not o["shift"] else None
        case "slice":
            return axis if axis != o["axis"] else None
        case "reduce_mean" if axis not in o["axes"]:
            return axis if o["keep"] else axis - sum(a < axis for a in o["axes"])
        case "transpose":
            return int(tuple(o["perm"]).index(axis))
        case "reshape" | "flatten":
            return _same_place(shape, axis, o.shape)
    return None


def _back(graph: Graph, o: Op, name: str, axis: int) -> int | None:
    """The axis of an input that an operator's output has on this one."""
    for before in range(len(graph[name].shape)):
        if _through(graph, o, name, before) == axis:
            return before
    return None


def _same_place(shape: tuple[int, ...], axis: int, to: tuple[int, ...]) -> int | None:
    """The axis of another shape that is the same one, of as many places behind as many rows."""
    before, size = prod(shape[:axis]), shape[axis]
    return next((n for n, s in enumerate(to) if s == size and prod(to[:n]) == before), None)
