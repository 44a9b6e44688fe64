"""What a runtime executes as one kernel, in plain numbers, and which kernels a graph is executed as.

Runtimes fold batch norm into the layer before it and fuse the activation behind it, so that what costs time is a layer
with what is fused to it. What only changes which multiplications count (patterns, fixed-point weights) makes no
difference to a processor: it multiplies all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from chipfit.core.channels import FOLDED as INSIDE
from chipfit.core.graph import ACTIVATIONS, GLOBAL_POOLS, STORED, Attr, Graph, Op
from chipfit.core.kinds import named

_FREE = named(lambda kind: kind.cost in ("free", "inside"))
"""Kinds whose cost is folded elsewhere or left to the calibration on whole networks."""

_FUSED = named(lambda kind: kind.cost == "fused")
"""Activations that are priced with what they follow, fused or not; one with an attribute stands for itself."""

_NO_MATTER = STORED | {"bias"}
"""Attributes that make no difference to a processor's kernel."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel: `cin` to `cout` channels on inputs of `size` (height, width; () for flat ones), in `bits`.

    `act` is the activation fused to it, "" for none. A depth-wise convolution has `groups` "dw". A product of a map
    and one value for each channel has `gate` 1; an addition that has such a product as an operand is `behind` "mul",
    and one that cannot fuse, as no operand is a convolution's own, is a "sum".
    """

    kind: str
    cin: int
    cout: int
    size: tuple[int, ...]
    bits: int
    act: str = ""
    attrs: tuple[tuple[str, Attr], ...] = ()

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
    return {o.name: kernel(graph, o, _activation(graph, o)) for o in graph if _stands_alone(graph, o)}


def kernel(graph: Graph, o: Op, act: str = "") -> Kernel:
    """The kernel of an operator with this activation fused to it."""
    source = max((graph[name] for name in o.inputs), key=lambda x: x.size).shape
    kind, attrs = _kind(graph, o)
    if rows(o) > 1:
        return Kernel(kind, source[-1], o.shape[-1], (), o.bits, act, attrs)
    return Kernel(kind, source[0], o.shape[0], _map_size(source), o.bits, act, attrs)


def members(graph: Graph, o: Op) -> tuple[str, ...]:
    """The operators with arrays in an operator's kernel: itself, and the batch norms that are folded into it."""
    return (o.name, *(x.name for x in _behind(graph, o) if x.kind in INSIDE))


def rows(o: Op) -> int:
    """Rows that a dense layer on several axes is applied to, each of what stands on the last axis; 1 for others."""
    return prod(o.shape[:-1]) if o.kind == "linear" else 1


def _map_size(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if len(shape) == 3 else ()


def _stands_alone(graph: Graph, o: Op) -> bool:
    if o.kind in _FREE:
        return False
    return not (o.kind in _FUSED and _maker(graph, o.inputs[0]) in ("conv", "linear", "add"))


def _behind(graph: Graph, o: Op) -> Iterator[Op]:
    """What is executed within an operator's kernel, in order."""
    while len(users := graph.users[o.name]) == 1:
        o = graph[users[0]]
        if o.kind not in INSIDE and (o.kind not in ACTIVATIONS or _stands_alone(graph, o)):
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
