"""What a runtime executes as one kernel, in plain numbers, and which kernels a graph is executed as.

Runtimes fold batch norm into the layer before it and fuse the activation behind it, so that what costs time is a layer
with what is fused to it. What only changes which multiplications count (patterns, fixed-point weights) makes no
difference to a processor: it multiplies all the same.

Kernels of the kinds in `WITH_RECIPE` on maps (C, H, W), vectors (n,) and, of dense layers, rows are told apart to the
last detail, and `evaluate.chains` knows how to time one of them by itself. Every other operator that costs something
has a kernel too, of any kind and shape: by what it reads, makes and multiplies. It is timed in place (`in_place`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from chipfit.core.channels import FOLDED as INSIDE
from chipfit.core.channels import array_axis
from chipfit.core.graph import ACTIVATIONS, GLOBAL_POOLS, LAYERS, POOLS, STORED, Attr, Graph, Op
from chipfit.core.kinds import named

_FREE = named(lambda kind: kind.family == "source" or kind.moves == "view") | {"Constant"}
"""Kinds that compute nothing and move nothing."""

WITH_RECIPE = frozenset({"conv", "linear", "prelu", "add", "sub", "mul"}) | ACTIVATIONS | POOLS | GLOBAL_POOLS
"""Kinds that can be timed by themselves, in chains; others are timed where they stand."""

_FUSED = named(lambda kind: kind.cost == "fused")
"""Activations that are priced with what they follow, fused or not; one with an attribute stands for itself."""

_PASSED = INSIDE | ACTIVATIONS
"""Kinds that may be executed within the kernel of what they follow."""

_NO_MATTER = STORED | {"bias"}
"""Attributes that make no difference to a processor's kernel."""

_GEOMETRY = frozenset({"kernel", "stride", "padding", "dilation", "axis", "perm"})
"""Attributes of whole numbers that tell kernels timed in place apart, beside all texts; no edit changes them."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel: `cin` to `cout` channels on inputs of `size` (height, width; () for flat ones), in `bits`.

    `act` is the activation fused to it, "" for none. A depth-wise convolution has `groups` "dw". A product of a map
    and one value for each channel has `gate` 1; an addition that has such a product as an operand is `behind` "mul",
    and one that cannot fuse, as no operand is a convolution's own, is a "sum".

    One that is timed `in_place` has in `cin` the values that it reads, in `cout` those that it makes, and in `macs` its
    multiply-accumulates: what any operator costs by, whatever its shapes.
    """

    kind: str
    cin: int
    cout: int
    size: tuple[int, ...]
    bits: int
    act: str = ""
    attrs: tuple[tuple[str, Attr], ...] = ()
    macs: int = 0
    in_place: bool = False

    @property
    def family(self) -> Kernel:
        """Equal for kernels that differ in their widths alone."""
        return replace(self, cin=0, cout=0, macs=0)

    @property
    def moved(self) -> int:
        """Values that it reads and makes; those of weights not counted."""
        times = int(self.attr("rows", 1))
        return times * (self.cin * prod(self.size) + self.cout * prod(self.out_size))

    def attr(self, name: str, default: Any = None) -> Any:
        """The value of an attribute."""
        return dict(self.attrs).get(name, default)

    @property
    def out_size(self) -> tuple[int, ...]:
        """(height, width) of the output; () for flat ones."""
        if self.kind in GLOBAL_POOLS:
            return (1, 1) if self.attr("keep") else ()
        kernel = self.attr("kernel")
        if not self.size or kernel is None:
            return self.size
        dilation, up = self.attr("dilation", (1, 1)), bool(self.attr("ceil", 0))
        geometry = zip(self.size, self.attr("padding"), dilation, kernel, self.attr("stride"), strict=True)
        spans = [(n + 2 * p - d * (k - 1) - 1, s) for n, p, d, k, s in geometry]
        return tuple((-(-span // s) if up else span // s) + 1 for span, s in spans)


def kernels(graph: Graph) -> dict[str, Kernel]:
    """The kernels of a graph, in its order, by the operator that each is named after."""
    found = ((o.name, fused(graph, o)) for o in graph)
    return {name: kernel for name, kernel in found if kernel is not None}


def fused(graph: Graph, o: Op) -> Kernel | None:
    """The kernel that is named after an operator, with what is fused to it; None where it is within another."""
    return kernel(graph, o, _activation(graph, o)) if _stands_alone(graph, o) else None


def kernel(graph: Graph, o: Op, act: str = "") -> Kernel:
    """The kernel of an operator with this activation fused to it."""
    if not _with_recipe(graph, o):
        return _any(graph, o, act)
    source = max((graph[name] for name in o.inputs), key=lambda x: x.size).shape
    kind, attrs = _kind(graph, o)
    if rows(o) > 1:
        return Kernel(kind, source[-1], o.shape[-1], (), o.bits, act, attrs)
    return Kernel(kind, source[0], o.shape[0], _map_size(source), o.bits, act, attrs)


def _with_recipe(graph: Graph, o: Op) -> bool:
    """True where an operator, and the shapes that it works on, are such as can be timed by themselves."""
    if o.kind not in WITH_RECIPE:
        return False
    if o.kind == "linear":
        return True
    if o.kind == "conv":
        return len(o["kernel"]) == 2
    return all(len(shape) in (1, 3) for shape in (o.shape, *(graph[name].shape for name in o.inputs)))


def _any(graph: Graph, o: Op, act: str) -> Kernel:
    """The kernel of any operator, to be timed in place."""
    attrs = tuple((name, v) for name, v in o.attrs if isinstance(v, str) or name in _GEOMETRY)
    read = sum(graph[name].size for name in o.inputs)
    return Kernel(o.kind, read, o.size, (), o.bits, act, attrs, graph.macs(o), in_place=True)


def about(graph: Graph, names: Iterable[str]) -> frozenset[str]:
    """Operators whose kernels may be others where these operators change, or where others come to read them.

    They themselves, their neighbours, and those on the other side of what is folded and fused.
    """
    found: set[str] = set()
    stack = [name for name in names if name in graph.by_name]
    while stack:
        name = stack.pop()
        found.add(name)
        for near in (*graph[name].inputs, *graph.users[name]):
            if near not in found:
                found.add(near)
                if graph[near].kind in _PASSED:
                    stack.append(near)
    return frozenset(found)


def members(graph: Graph, o: Op) -> tuple[str, ...]:
    """The operators with arrays in an operator's kernel: itself, and the batch norms that are folded into it."""
    return (o.name, *(x.name for x in _behind(graph, o) if x.kind in INSIDE))


def executed_within(graph: Graph, o: Op) -> tuple[str, ...]:
    """The operators that an operator's kernel executes: itself, and what is folded and fused into it."""
    return (o.name, *(x.name for x in _behind(graph, o)))


def rows(o: Op) -> int:
    """Rows that a dense layer on several axes is applied to, each of what stands on the last axis; 1 for others."""
    return prod(o.shape[:-1]) if o.kind == "linear" else 1


def _map_size(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if len(shape) == 3 else ()


def _stands_alone(graph: Graph, o: Op) -> bool:
    if o.kind in _FREE:
        return False
    if o.kind in INSIDE:
        return not _folds(graph, o)
    return not (o.kind in _FUSED and _maker(graph, o.inputs[0]) in ("conv", "linear", "add"))


def _folds(graph: Graph, norm: Op) -> bool:
    """True where a norm goes into the weights of the layer before it."""
    made = graph[norm.inputs[0]]
    while made.kind in INSIDE:
        made = graph[made.inputs[0]]
    return _maker(graph, norm.inputs[0]) in LAYERS and array_axis(made) == array_axis(norm)


def _behind(graph: Graph, o: Op) -> Iterator[Op]:
    """What is executed within an operator's kernel, in order."""
    while len(users := graph.users[o.name]) == 1:
        o = graph[users[0]]
        if o.kind not in _PASSED or _stands_alone(graph, o):
            return
        yield o


def _activation(graph: Graph, o: Op) -> str:
    return next((x.kind for x in _behind(graph, o) if x.kind not in INSIDE), "")


def _maker(graph: Graph, name: str) -> str:
    """Kind of the operator that makes a value, batch norms aside; "" where more than one operator reads it."""
    made = graph[name]
    while made.kind in INSIDE:
        made = graph[made.inputs[0]]
    alone = all(len(graph.users[n]) == 1 for n in (name, made.name))
    return made.kind if alone else ""


def _kind(graph: Graph, o: Op) -> tuple[str, tuple[tuple[str, Attr], ...]]:
    """The kernel's kind and attributes."""
    kind, attrs = o.kind, {name: value for name, value in o.attrs if name not in _NO_MATTER}
    if kind == "conv" and o["groups"] == o.shape[0] == graph.in_shape(o)[0] > 1:
        attrs["groups"] = "dw"
    elif kind == "linear" and rows(o) > 1:
        attrs["rows"] = rows(o)
    elif kind == "add":
        makers = {_maker(graph, name) for name in o.inputs}
        if "mul" in makers:
            attrs["behind"] = "mul"
        elif "conv" not in makers:
            kind = "sum"
    elif kind == "mul" and _is_gate(graph, o):
        attrs["gate"] = 1
    return kind, tuple(sorted(attrs.items()))


def _is_gate(graph: Graph, o: Op) -> bool:
    """True where one factor is a value for each channel of the other, a map."""
    size = _map_size(max((graph[name] for name in o.inputs), key=lambda x: x.size).shape)
    return any(graph[name].shape[1:] == (1, 1) != size for name in o.inputs)
