"""What a network gives an accelerator to do, read off its Graph: layers that multiply, and maps that stream through.

True shapes in dataflow order, so that no tracer can be wrong about them; the sum of the layers' MACs is held against
the graph's own count. Rules, by kind of operator:

* `conv`, `linear`: multiplied on an engine. A dense layer is a 1x1 convolution of one position, or of as many as it has
  rows. What edits say of their weights (`core.graph.STORED`) is read off them.
* batch norm, affine and activations behind an operator that computes and that nothing else reads: fused into it, free.
  Elsewhere, as behind a `concat`, they stream.
* `add`, `sub`, `mul`, pools, softmax, `transpose`: their inputs stream in through the input port, and their output out
  through the output port.
* `concat`, `flatten`, `reshape`, `slice`, `pad`: addresses in memory, free.
* Anything else (operators of a foreign file) is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from chipfit.core.errors import BadInput
from chipfit.core.graph import (
    ACTIVATIONS,
    ELEMENTWISE,
    GLOBAL_POOLS,
    LAYERS,
    POOLS,
    SOFTMAXES,
    Graph,
    Op,
)

_FREE = frozenset({"input", "concat", "flatten", "reshape", "slice", "pad"})
_FUSED = ACTIVATIONS | {"batch_norm", "affine", "prelu"}
_STREAMED = ELEMENTWISE | POOLS | GLOBAL_POOLS | SOFTMAXES | {"transpose"}
PRICED = LAYERS | _FREE | _FUSED | _STREAMED
"""Kinds of operators that there is a rule for."""

WIDEST = 16
"""Bits of weights and values where an operator says nothing: fixed point, as in the published designs."""

SHOWN = 4
"""Operators that a message names."""

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution or dense layer as an engine sees it; `op` is the operator's name, "" in one that stands for all.

    `outputs`, `inputs`: channels, of all `groups` together. `size`: (rows, columns) of the output. `kept`: taps of each
    kernel that are computed, the most of any pattern where kernels are pruned. `weight_bits` and `value_bits` are what
    the ports move. `first`: it reads the network's input.
    """

    op: str
    outputs: int
    inputs: int
    size: Pair
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    kept: int = 0
    weight_bits: int = WIDEST
    value_bits: int = WIDEST
    first: bool = False

    @property
    def taps(self) -> int:
        """Taps of each kernel that are computed: `kept`, or all of them."""
        return self.kept or math.prod(self.kernel)

    @property
    def depthwise(self) -> bool:
        """True where each output channel reads its own input channel; a layer of one channel is an ordinary one."""
        return self.groups == self.inputs == self.outputs > 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the unpruned layer."""
        return self._products * math.prod(self.kernel)

    @property
    def kept_macs(self) -> int:
        """Multiply-accumulates that are left of it by its patterns."""
        return self._products * self.taps

    @property
    def _products(self) -> int:
        """Pairs of an output and an input channel that it reads."""
        return self.outputs * (self.inputs // self.groups) * math.prod(self.size)


@dataclass(frozen=True, slots=True)
class Stream:
    """An operator without weights: so many values in and out. `kind` is the operator's."""

    op: str
    kind: str
    read: int
    written: int
    value_bits: int = WIDEST


Work = Layer | Stream


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What a layer's kernels are made of once it is compressed: taps kept (0: all), bits of weights and of values."""

    kept: int = 0
    weight_bits: int = WIDEST
    value_bits: int = WIDEST


def works(graph: Graph, shrunk: Mapping[str, Shrunk] | None = None) -> tuple[Work, ...]:
    """The graph's work, in its order; operators that cost nothing are left out.

    Args:
        graph: any network, without weights.
        shrunk: operator to how it is compressed; the rest is as the graph says. There an int8 operator has 8 bits, a
            layer in fixed point its `integer_bits` and `fraction_bits` for weights, everything else 16 bits; of kernels
            within patterns only `taps` are computed.

    Raises:
        BadInput: operators that no rule prices, or `shrunk` names an operator that is not there; both are named.
    """
    _refuse_unpriced(graph)
    given = shrunk or {}
    _refuse_unknown(graph, given)
    found: list[Work] = []
    for o in graph:
        compressed = given.get(o.name) or said(o)
        if o.kind in LAYERS:
            found.append(_layer(o, graph, compressed))
        elif o.kind in _STREAMED or (o.kind in _FUSED and not _fused(o, graph)):
            read = sum(graph[i].size for i in o.inputs)
            found.append(Stream(o.name, o.kind, read, o.size, compressed.value_bits))
    _count(graph, found)
    return tuple(found)


def said(o: Op) -> Shrunk:
    """How an operator of a graph is compressed."""
    attrs = dict(o.attrs)
    bits = 8 if o.bits == 8 else WIDEST
    whole, fraction = attrs.get("integer_bits"), attrs.get("fraction_bits")
    fixed = whole + fraction if isinstance(whole, int) and isinstance(fraction, int) else bits
    taps = attrs.get("taps")
    return Shrunk(taps if isinstance(taps, int) else 0, min(fixed, bits), bits)


def anonymous(work: Work) -> Work:
    """The work without its name: equal for operators that cost the same on every design."""
    return replace(work, op="")


def _layer(o: Op, graph: Graph, compressed: Shrunk) -> Layer:
    rows, columns = (math.prod(o.shape[:-1]), 1) if o.kind == "linear" else o.shape[1:]
    layer = Layer(
        op=o.name,
        outputs=o.shape[-1 if o.kind == "linear" else 0],
        inputs=graph.in_shape(o)[-1 if o.kind == "linear" else 0],
        size=(rows, columns),
        kept=compressed.kept,
        weight_bits=compressed.weight_bits,
        value_bits=compressed.value_bits,
        first=graph[o.inputs[0]].kind == "input",
    )
    if o.kind == "linear":
        return layer
    return replace(
        layer,
        kernel=o["kernel"],
        stride=o["stride"],
        padding=o["padding"],
        dilation=o["dilation"],
        groups=o["groups"],
    )


def _fused(o: Op, graph: Graph) -> bool:
    """True where an operator is applied to what another has just computed and nothing else reads."""
    before = graph[o.inputs[0]]
    return before.kind in LAYERS | _STREAMED | _FUSED and len(graph.users[before.name]) == 1


def _refuse_unpriced(graph: Graph) -> None:
    unpriced = [f"{o.kind} {o.name!r}" for o in graph if o.kind not in PRICED]
    if unpriced:
        more = f" and {len(unpriced) - SHOWN} more" if len(unpriced) > SHOWN else ""
        raise BadInput(
            f"the accelerator model has no rule for {', '.join(unpriced[:SHOWN])}{more};"
            " fit it to a CPU (chipfit devices), or give it without these operators"
        )


def _refuse_unknown(graph: Graph, shrunk: Mapping[str, Shrunk]) -> None:
    layers = {o.name: o for o in graph if o.kind in LAYERS}
    for name, compressed in shrunk.items():
        if name not in graph.by_name:
            some = ", ".join(list(layers)[:SHOWN])
            raise BadInput(f"{name!r} is no operator of the network; its layers: {some}, ...")
        taps = math.prod(layers[name]["kernel"]) if name in layers and layers[name].kind == "conv" else 1
        if not 0 <= compressed.kept <= taps:
            raise BadInput(f"{compressed.kept} taps are to be kept of {name!r}, which has {taps}; give 0 to {taps}")
        for bits in (compressed.weight_bits, compressed.value_bits):
            if not 1 <= bits <= WIDEST:
                raise BadInput(f"{name!r} is to have {bits} bits; give 1 to {WIDEST}")


def _count(graph: Graph, found: list[Work]) -> None:
    """Holds the layers' MACs against the graph's own count, which reads weights' shapes and not these records."""
    counted = sum(w.macs for w in found if isinstance(w, Layer))
    if counted != graph.total_macs:
        raise AssertionError(f"layers have {counted} MACs and the graph {graph.total_macs}: a layer was misread")
