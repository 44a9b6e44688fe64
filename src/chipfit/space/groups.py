"""What is coupled: which channels must vanish together, which blocks can be dropped, which operators share a precision.

The channel axis of every value is a row of *segments*, each belonging to one channel group. Convolutions and linear
layers end a group on their input side (they consume it) and begin one on their output side (they produce it); batch
norm and depth-wise convolutions carry it; additions and products join two; concatenations put segments side by side;
flattening repeats each channel H·W times. What breaks the bookkeeping freezes the groups it touches, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from chipfit.core.channels import array_axis, on_channels
from chipfit.core.graph import ACTIVATIONS, CHANNELWISE, ELEMENTWISE, GLOBAL_POOLS, POOLS, Graph, Op, single
from chipfit.core.kinds import named


@dataclass(frozen=True, slots=True)
class Segment:
    """`size` channels of `group`, each standing `repeat` times in a row."""

    group: str
    size: int
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Consumer:
    """Input channels `start + c*repeat + r` (r < repeat) of layer `op` are channel c of the group."""

    op: str
    start: int
    repeat: int


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """One width: the output channels of its producers, which vanish together.

    `carriers` are batch norms and depth-wise convolutions whose channels (from an offset on) vanish with them.
    """

    name: str
    size: int
    producers: tuple[str, ...]
    carriers: tuple[tuple[str, int], ...]
    consumers: tuple[Consumer, ...]


@dataclass(frozen=True, slots=True)
class Coupling:
    """All channel groups of a graph, and why others cannot be touched.

    `segments` gives the channel axis of every operator's output (group names; "" where frozen).
    `frozen` lists (layer, reason) for every convolution and linear layer whose width is fixed.
    """

    groups: tuple[ChannelGroup, ...]
    frozen: tuple[tuple[str, str], ...]
    segments: Mapping[str, tuple[Segment, ...]]

    def group(self, name: str) -> ChannelGroup:
        """The group of this name; KeyError where there is none."""
        for g in self.groups:
            if g.name == name:
                return g
        raise KeyError(f"no channel group {name!r}; there are {', '.join(g.name for g in self.groups)}")


@dataclass(slots=True)
class _Root:
    size: int
    producers: list[str] = field(default_factory=list)
    carriers: list[tuple[str, int]] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)
    frozen: str = ""


class _Analysis:
    """Union-find over group roots while walking the operators once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.parent: list[int] = []
        self.roots: list[_Root] = []
        self.rows: dict[str, list[tuple[int, int, int]]] = {}  # op -> (root, size, repeat)
        self.shared: dict[str, Op] = {}  # array -> the first operator that reads it
        self.fixed: dict[str, str] = {}  # array -> why its axes stay as they are
        for o in graph:
            self.rows[o.name] = self.visit(o)
        self.freeze(graph.output, "its outputs are the network's answers")

    def new(self, size: int, frozen: str = "") -> int:
        self.parent.append(len(self.parent))
        self.roots.append(_Root(size, frozen=frozen))
        return len(self.parent) - 1

    def find(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = i = self.parent[self.parent[i]]
        return i

    def union(self, i: int, j: int) -> None:
        a, b = sorted((self.find(i), self.find(j)))
        if a != b:
            keep, gone = self.roots[a], self.roots[b]
            keep.producers += gone.producers
            keep.carriers += gone.carriers
            keep.consumers += gone.consumers
            keep.frozen = keep.frozen or gone.frozen
            self.parent[b] = a

    def freeze(self, name: str, reason: str) -> None:
        for root, _, _ in self.rows[name]:
            r = self.roots[self.find(root)]
            r.frozen = r.frozen or reason

    def join(self, a: str, b: str, why: str) -> None:
        """Ties the channels of two values, or freezes both where their segments do not line up."""
        rows, others = self.rows[a], self.rows[b]
        if [r[1:] for r in rows] == [r[1:] for r in others]:
            for (i, _, _), (j, _, _) in zip(rows, others, strict=True):
                self.union(i, j)
        else:
            self.freeze(a, why)
            self.freeze(b, why)

    def opaque(self, o: Op, reason: str) -> list[tuple[int, int, int]]:
        """A value whose channels are not followed: what goes in is frozen, and so is what comes out."""
        for i in o.inputs:
            self.freeze(i, reason)
        return [(self.new(o.shape[0], reason), o.shape[0], 1)]

    def visit(self, o: Op) -> list[tuple[int, int, int]]:
        if o.kind == "input":
            return [(self.new(o.shape[0], "it is the network's input"), o.shape[0], 1)]
        if o.kind in ("conv", "linear"):
            return self.layer(o)
        rows = self.rows[o.inputs[0]]
        if o.kind in CHANNELWISE and not single(o):
            self.carry(o, rows)
            return rows
        if o.kind in ACTIVATIONS | POOLS | GLOBAL_POOLS | CHANNELWISE:
            return rows
        if o.kind in ELEMENTWISE:
            return self.elementwise(o)
        if o.kind == "concat" and o["axis"] == 0:
            return [r for i in o.inputs for r in self.rows[i]]
        if o.kind == "concat":
            for i in o.inputs[1:]:
                self.join(o.inputs[0], i, f"concatenation '{o.name}' joins different channels")
            return rows
        return self.view(o, rows)

    def layer(self, o: Op) -> list[tuple[int, int, int]]:
        source, inputs = o.inputs[0], self.graph.in_shape(o)
        if not on_channels(o):
            return self.opaque_layer(o, f"linear layer '{o.name}' acts on the last of several axes")
        if o.kind == "conv" and o["groups"] > 1:
            if o["groups"] == inputs[0] == o.shape[0]:
                self.tie_shared(o, self.rows[source])
                self.carry(o, self.rows[source])
                return self.rows[source]
            return self.opaque_layer(o, f"grouped convolution '{o.name}' mixes fixed groups of channels")
        start = 0
        for root, size, repeat in self.rows[source]:
            self.roots[self.find(root)].consumers.append(Consumer(o.name, start, repeat))
            start += size * repeat
        root = self.new(o.shape[0])
        self.roots[root].producers.append(o.name)
        rows = [(root, o.shape[0], 1)]
        self.tie_shared(o, rows)
        return rows

    def opaque_layer(self, o: Op, reason: str) -> list[tuple[int, int, int]]:
        rows = self.opaque(o, reason)
        if o.kind == "conv":
            self.roots[rows[0][0]].producers.append(o.name)
        self.fixed.update(dict.fromkeys(self.graph.weight_shapes(o), reason))
        self.tie_shared(o, rows)
        return rows

    def tie_shared(self, o: Op, rows: list[tuple[int, int, int]]) -> None:
        """Two uses of one array have the same channels out, and where it is a weight in."""
        self.rows[o.name] = rows
        for array, shape in self.graph.weight_shapes(o).items():
            first = self.shared.setdefault(array, o)
            if first is o:
                continue
            why = self.fixed.get(array, f"layer '{o.weights}' is used twice with different channels")
            for a, b in [(first.name, o.name), (first.inputs[0], o.inputs[0])][: len(shape)]:
                self.join(a, b, why)
                if array in self.fixed or array_axis(first) != array_axis(o):
                    self.freeze(a, why)
                    self.freeze(b, why)

    def carry(self, o: Op, rows: list[tuple[int, int, int]]) -> None:
        if any(repeat != 1 for _, _, repeat in rows):
            self.freeze(o.inputs[0], f"'{o.name}' acts on flattened channels")
        start = 0
        for root, size, repeat in rows:
            self.roots[self.find(root)].carriers.append((o.name, start))
            start += size * repeat
        if o.kind in CHANNELWISE:
            self.tie_shared(o, rows)

    def elementwise(self, o: Op) -> list[tuple[int, int, int]]:
        a, b = (self.graph[i] for i in o.inputs)
        if len(a.shape) != len(b.shape):
            return self.opaque(o, f"'{o.name}' broadcasts values of different rank")
        if a.shape[0] != b.shape[0]:  # one channel against many: only the many can be narrowed
            one, many = (a, b) if a.shape[0] == 1 else (b, a)
            self.freeze(one.name, f"'{o.name}' broadcasts its single channel")
            return self.rows[many.name]
        self.join(a.name, b.name, f"'{o.name}' joins differently concatenated channels")
        return self.rows[a.name]

    def view(self, o: Op, rows: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        before = self.graph.in_shape(o)
        if o.kind == "flatten" or (o.kind == "reshape" and len(o.shape) == 1):
            times = prod(before[1:])
            return [(root, size, repeat * times) for root, size, repeat in rows]
        keeps = {
            "reshape": o.shape[0] == before[0],
            "transpose": o.kind == "transpose" and o["perm"][0] == 0,
            "slice": o.kind == "slice" and o["axis"] != 0,
            "pad": o.kind == "pad" and not any(o["pads"][:2]),
            "softmax": o.kind == "softmax" and o["axis"] != 0,
            "log_softmax": o.kind == "log_softmax" and o["axis"] != 0,
        }
        if keeps.get(o.kind, False):
            return rows
        if o.kind == "slice":
            return self.opaque(o, f"slice '{o.name}' takes fixed channels")
        return self.opaque(o, f"{o.kind} '{o.name}' rearranges channels")


def channel_groups(graph: Graph) -> Coupling:
    """The channel groups of a graph, in the order of their first producers."""
    a = _Analysis(graph)
    groups: list[ChannelGroup] = []
    frozen: dict[str, str] = {}
    name_of: dict[int, str] = {}
    for i, r in enumerate(a.roots):
        if a.find(i) != i:
            continue
        producers = tuple(dict.fromkeys(r.producers))
        reason = r.frozen or ("" if r.consumers else "nothing reads its channels")
        if reason or not producers:
            frozen.update(dict.fromkeys(producers, reason))
            continue
        name_of[i] = producers[0]
        carriers, consumers = tuple(dict.fromkeys(r.carriers)), tuple(dict.fromkeys(r.consumers))
        groups.append(ChannelGroup(producers[0], r.size, producers, carriers, consumers))
    segments = {
        op: tuple(Segment(name_of.get(a.find(root), ""), size, repeat) for root, size, repeat in rows)
        for op, rows in a.rows.items()
    }
    return Coupling(tuple(groups), tuple(frozen.items()), segments)


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block: the add's name, the operators of its body, and the value that stays when the body goes."""

    name: str
    body: frozenset[str]
    shortcut: str


def residual_blocks(graph: Graph) -> tuple[Block, ...]:
    """Additions of a body (with an activation or several layers) and a linear shortcut; the body can be dropped."""
    before: dict[str, frozenset[str]] = {}
    for o in graph:
        before[o.name] = frozenset({o.name}).union(*(before[i] for i in o.inputs)) if o.inputs else frozenset({o.name})
    found = []
    for o in graph:
        if o.kind != "add" or len(set(o.inputs)) != 2:
            continue
        a, b = o.inputs
        if graph[a].shape != graph[b].shape:
            continue
        branches = [(a, before[a] - before[b]), (b, before[b] - before[a])]
        branches.sort(key=lambda branch: _weight(graph, branch[1]))
        (shortcut, light), (_, body) = branches
        closed = all(u in body or u == o.name for name in body for u in graph.users[name])
        if _weight(graph, light) == 0 < _weight(graph, body) and closed and graph.output not in body:
            found.append(Block(o.name, body, shortcut))
    return tuple(found)


def _weight(graph: Graph, ops: frozenset[str]) -> int:
    """0 for a shortcut (at most one 1x1 convolution, no activation), else the number of its operators."""
    kinds = [graph[name] for name in ops]
    convs = [o for o in kinds if o.kind == "conv"]
    linear = all(o.kind in ("conv", "batch_norm", "affine", "avg_pool") for o in kinds)
    small = len(convs) <= 1 and all(o["kernel"] == (1, 1) for o in convs)
    return 0 if linear and small else len(kinds)


@dataclass(frozen=True, slots=True)
class Site:
    """A run of operators that share one precision."""

    name: str
    ops: tuple[str, ...]


QUANTISABLE = named(lambda kind: kind.int8)
"""Kinds that compute in int8 at an int8 site; others there stay float."""


def sites(graph: Graph) -> tuple[Site, ...]:
    """Runs of operators with the same spatial size.

    A boundary between int8 and float costs a conversion, so precision changes where resolution does: tensors there
    are small and few.
    """
    largest_after: dict[str, int] = {}
    for o in reversed(graph.ops):
        area = prod(o.shape[1:]) if len(o.shape) == 3 and o.shape[1:] != (1, 1) else 0
        largest_after[o.name] = max([area, *(largest_after[u] for u in graph.users[o.name])])
    runs: list[tuple[int, list[str]]] = []
    for o in graph.ops[1:]:
        # a squeeze branch (1x1 inside a block) belongs to the resolution it returns to
        area = largest_after[o.name]
        if not runs or runs[-1][0] != area:
            runs.append((area, []))
        runs[-1][1].append(o.name)
    named = [Site(names[0], tuple(names)) for _, names in runs]
    return tuple(s for s in named if any(graph[n].kind in ("conv", "linear") for n in s.ops))


def precisions(graph: Graph) -> frozenset[int]:
    """Bits of what multiplies: convolutions and dense layers."""
    return frozenset(o.bits for o in graph if o.kind in ("conv", "linear"))
