"""The performance model that HotNAS was released with, its faults included: what its published figures stand on.

Source: Jiang et al., "Standing on the Shoulders of Giants: Hardware and Neural Architecture Co-Search with Hot Start",
arXiv 2007.09087 (2020), and the recorded results of its release. `v2` is the corrected model; compare latencies of one
model only.

A convolution of M outputs, N inputs, R x C *output* positions, kernel K, stride S, padding P on an engine with tiles
Tm, Tn, Tr, Tc and ports of W_p, I_p, O_p words of 16 bits a cycle takes, in cycles,

    tW = Tm Tn K K / W_p              weights of a tile; depth-wise: Tm K K / W_p; b bits: W_p becomes floor(16 W_p / b)
    tI = n min(Tr, R) min(Tc, C) / I_p                            inputs of a tile
    tO = m ceil(min(Tr, R) / S) ceil(min(Tc, C) / S) / O_p        outputs of a tile
    tX = ones ceil(min(Tr, R + 2P) / S) ceil(min(Tc, C + 2P) / S)      its arithmetic; ones = K K, fewer with patterns
    Lat1 = max(tI, tW, tX)
    Lat2 = max(ceil(N / Tn) Lat1, tO)
    Lat  = ceil(R / Tr) ceil(C / Tc) ceil(M / Tm) Lat2

and a network the sum of its layers. Three variants were in use; each recorded figure belongs to one:

    padded     n, m = Tn, Tm; R and C become R + 2P and C + 2P everywhere, then P = 0
    unclamped  n, m = Tn, Tm
    clamped    n, m = min(Tn, N), min(Tm, M)

Faults that are kept: sizes as mis-traced (`layers_of`); R and C, which are output sizes, divided by the stride again;
no halo around input tiles; depth-wise layers with Tn = Tm, so that channel tiles are squared; whole tiles of weights at
the edges; dense layers, additions and pools free; bits speed up nothing but the loading of weights; a kernel larger
than Tk runs; and a check of memory with two arguments swapped (`SWAPPED_BITS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput
from chipfit.core.graph import GLOBAL_POOLS, POOLS, Graph, Op

Variant = Literal["padded", "unclamped", "clamped"]
Number = int | NDArray[np.int64]
"""One number, or one for each of many designs: everything here computes over all designs at once."""
Cycles = NDArray[np.float64]

DSP = 2520
"""Multipliers of the ZCU102, shared by the two engines: Tm Tn for convolutions, Tm for depth-wise ones."""
BRAM18 = 1824
PORT_WORDS = 32
"""Words of 16 bits that the three ports move in a cycle together: 512 bits."""
CYCLES_PER_MS = 1e5
"""At 100 MHz, the clock of the recorded figures. The later ones are at 200 MHz, half of these."""


@dataclass(frozen=True, slots=True)
class ConvLayer:
    """A convolution as the released tracer saw it; `rows` and `columns` are of the output it thought there was.

    `ones`: taps of a kernel that are computed, 0 for all; with pattern pruning the most of any pattern of the network.
    """

    outputs: int
    inputs: int
    rows: int
    columns: int
    kernel: int
    stride: int
    padding: int
    depthwise: bool = False
    ones: int = 0
    weight_bits: int = 16


@dataclass(frozen=True, slots=True)
class Engine:
    """Tiles (channels out and in, rows, columns, largest kernel) and ports (words of 16 bits a cycle) of an engine.

    Each is a number, or an array of one for each design. A depth-wise engine reads its `tm` in place of `tn`.
    """

    tm: Number
    tn: Number
    tr: Number
    tc: Number
    tk: Number
    weight_port: Number
    input_port: Number
    output_port: Number


@dataclass(frozen=True, slots=True)
class Design:
    """An engine for convolutions, and one for depth-wise convolutions where there are any."""

    conv: Engine
    depthwise: Engine | None = None


@dataclass(frozen=True, slots=True)
class LayerCycles:
    """Cycles of a layer's tiles; (designs,) each where the engine is of many designs.

    For one tile: `weights` tW, `inputs` tI, `computing` tX, `outputs` tO. An output tile takes `rounds` = ceil(N / Tn)
    tiles of inputs, and there are `tiles` = ceil(R / Tr) ceil(C / Tc) ceil(M / Tm) output tiles.
    """

    weights: Cycles
    inputs: Cycles
    computing: Cycles
    outputs: Cycles
    rounds: Number
    tiles: Number

    @property
    def of_inputs(self) -> Cycles:
        """Lat1: cycles of one tile of inputs, whose loads and arithmetic overlap."""
        return np.maximum(np.maximum(self.inputs, self.weights), self.computing)

    @property
    def of_outputs(self) -> Cycles:
        """Lat2: cycles of one tile of outputs, whose storing overlaps with the next one's arithmetic."""
        return np.maximum(self.rounds * self.of_inputs, self.outputs)

    @property
    def latency(self) -> Cycles:
        """Cycles of the whole layer."""
        return self.tiles * self.of_outputs

    @property
    def totals(self) -> dict[str, Cycles]:
        """Cycles of the layer that each of the four would take alone, by the letter of its bottleneck."""
        of_inputs = self.rounds * self.tiles
        return {
            "I": self.inputs * of_inputs,
            "W": self.weights * of_inputs,
            "X": self.computing * of_inputs,
            "O": self.outputs * self.tiles,
        }

    @property
    def bottleneck(self) -> str:
        """Of one design, the first that holds: "O" storing outputs, "I" loading inputs, "W" weights, "X" computing."""
        if self.of_outputs == self.outputs:
            return "O"
        if self.of_inputs == self.inputs:
            return "I"
        return "W" if self.of_inputs == self.weights else "X"


def layer_cycles(layer: ConvLayer, design: Design, variant: Variant = "clamped") -> LayerCycles:
    """Cycles of one layer on the engine of its kind.

    Raises:
        BadInput: a depth-wise layer, and no engine for it.
    """
    M, N = layer.outputs, layer.inputs
    K, S, P = layer.kernel, layer.stride, layer.padding
    R, C = layer.rows, layer.columns
    if variant == "padded":
        R, C, P = R + 2 * P, C + 2 * P, 0

    engine = _engine(layer, design)
    Tm, Tr, Tc = (np.asarray(tile) for tile in (engine.tm, engine.tr, engine.tc))
    Tn = Tm if layer.depthwise else np.asarray(engine.tn)
    m, n = Tm, Tn
    if variant == "clamped":
        m, n = np.minimum(Tm, M), np.minimum(Tn, N)

    factors = Tm if layer.depthwise else Tm * Tn
    weights_a_cycle = np.asarray(engine.weight_port) * 16 // layer.weight_bits
    tr, tc = np.minimum(Tr, R), np.minimum(Tc, C)
    stored = _ceil(tr, S) * _ceil(tc, S)
    padded_rows, padded_columns = np.minimum(Tr, R + 2 * P), np.minimum(Tc, C + 2 * P)
    computed = _ceil(padded_rows, S) * _ceil(padded_columns, S)
    ones = layer.ones or K * K
    return LayerCycles(
        weights=factors * K * K / weights_a_cycle,
        inputs=n * tr * tc / engine.input_port,
        computing=(ones * computed).astype(float),
        outputs=m * stored / engine.output_port,
        rounds=_ceil(N, Tn),
        tiles=_ceil(R, Tr) * _ceil(C, Tc) * _ceil(M, Tm),
    )


def network_cycles(layers: Sequence[ConvLayer], design: Design, variant: Variant = "clamped") -> Cycles:
    """Cycles of a network, layer after layer; (designs,) where the engines are of many designs."""
    total: Cycles = np.zeros(())
    for layer in layers:  # one by one and in order: numpy's own sum adds in pairs, which decides between equal designs
        total = total + layer_cycles(layer, design, variant).latency
    return total


def network_ms(layers: Sequence[ConvLayer], design: Design, variant: Variant = "clamped", mhz: float = 100.0) -> Cycles:
    """Milliseconds of a network at this clock."""
    return network_cycles(layers, design, variant) / (CYCLES_PER_MS * mhz / 100.0)


def layers_of(graph: Graph) -> tuple[ConvLayer, ...]:
    """A graph's convolutions with the sizes that the released tracer gave them.

    It walked modules in the order in which they are registered, for which the order of operators stands here, and gave
    each convolution and pool the output of the one before, wherever its input really comes from. So the 1x1 convolution
    beside a residual block halves a second time what its block has halved. Rows are taken for columns.

    Raises:
        BadInput: a convolution that the release ended at: grouped but not depth-wise, or of a kernel that is no square.
    """
    size = graph.input_shape[1]
    layers = []
    for o in graph:
        if o.kind == "conv":
            _accepted(o, graph)
            kernel, stride, padding = o["kernel"][0], o["stride"][0], o["padding"][0]
            size = (size + 2 * padding - kernel) // stride + 1
            inputs = graph.in_shape(o)[0]
            # A layer that reads one channel passes for depth-wise, too: one of the faults.
            depthwise = inputs == o["groups"]
            layers.append(ConvLayer(o.shape[0], inputs, size, size, kernel, stride, padding, depthwise))
        elif o.kind in POOLS:
            span, stride = size + 2 * o["padding"][0] - o["kernel"][0], o["stride"][0]
            size = (-(-span // stride) if o["ceil"] else span // stride) + 1
        elif o.kind in GLOBAL_POOLS:
            size = 1
    return tuple(layers)


def dsp(design: Design) -> Number:
    """Multipliers of 16 bits: Tm Tn of the one engine and Tm of the other."""
    used = design.conv.tm * design.conv.tn
    return used if design.depthwise is None else used + design.depthwise.tm


TRUE_BITS, SWAPPED_BITS = 18_000, 1_824
"""What one memory is taken to hold. The release gave the part's number of memories here, and this as their number."""


def bram18(engine: Engine, depthwise: bool = False, bits: int = TRUE_BITS) -> Number:
    """Memories of `bits` that an engine needs: two of each input and output channel, and those of the weights.

    bI = 2 Tn ceil(16 Tr Tc / Z), bO = 2 Tm ceil(16 Tr Tc / Z), bW = Tm Tn ceil(64 Tk Tk / Z); depth-wise: bI with Tm in
    place of Tn, bW with Tm in place of Tm Tn.
    """
    per_map = _ceil(engine.tr * engine.tc * 16, bits)
    per_kernel = _ceil(4 * engine.tk * engine.tk * 16, bits)
    reads = engine.tm if depthwise else engine.tn
    kernels = engine.tm if depthwise else engine.tm * engine.tn
    return 2 * reads * per_map + 2 * engine.tm * per_map + kernels * per_kernel


@dataclass(frozen=True, slots=True)
class Found:
    """The fastest design of an exploration, the first of equal ones; `legal` designs were compared."""

    design: Design
    cycles: float
    legal: int


def explore(
    layers: Sequence[ConvLayer], designs: Design, variant: Variant = "clamped", swapped_memory: bool = False
) -> Found:
    """The fastest of many designs.

    Args:
        layers: the network.
        designs: `conv_designs` or `two_engine_designs`.
        variant: of the formulas.
        swapped_memory: leave out designs that need more than 18,000 memories of 1,824 bits, as the release did for
            networks without depth-wise layers. Else memory is not checked, as in its later code.

    Raises:
        BadInput: no design is left.
    """
    legal = np.flatnonzero(_within_swapped_memory(designs) if swapped_memory else dsp(designs) <= DSP)
    if not len(legal):
        raise BadInput("no design is within the memory of the part; give smaller tiles")
    compared = _at(designs, legal)
    cycles = network_cycles(layers, compared, variant)
    best = np.argmin(cycles)
    return Found(_at(compared, np.asarray(best)), float(cycles[best]), len(legal))


_TM = np.arange(10, 221, 30)
_SPATIAL = np.array([32, 64, 256])
_PORTS = np.array([2, 6, 10, 14, 18])
_TM_DEPTHWISE = np.arange(64, 961, 128)


def conv_designs(tk: int) -> Design:
    """The 5,184 designs of one engine that were explored, in the order of the loops: tm, tc, tr, then the ports."""
    tm, tc, tr, w, i, o = _product(_TM, _SPATIAL, _SPATIAL, _PORTS, _PORTS, _PORTS)
    return Design(Engine(tm, DSP // tm, tr, tc, tk, w, i, o))


def two_engine_designs(tk: int, tk_depthwise: int) -> Design:
    """The 4,608 designs of two engines that were explored; tiles of 32 x 32, ports shared by both engines."""
    tm, tm_depthwise, w, i, o = _product(_TM, _TM_DEPTHWISE, _PORTS, _PORTS, _PORTS)
    tn = (DSP - tm_depthwise) // tm
    conv = Engine(tm, tn, 32, 32, tk, w, i, o)
    depthwise = Engine(tm_depthwise, 1, 32, 32, tk_depthwise, w, i, o)
    return Design(conv, depthwise)


def _product(*axes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """All combinations as columns, the last axis fastest, whose last three (the ports) are within the port's words."""
    columns = [grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")]
    within = sum(columns[-3:]) <= PORT_WORDS
    return [column[within] for column in columns]


def _ceil(a: Number, b: Number) -> NDArray[np.int64]:
    return -(-np.asarray(a, np.int64) // np.asarray(b, np.int64))


def _engine(layer: ConvLayer, design: Design) -> Engine:
    if not layer.depthwise:
        return design.conv
    if design.depthwise is None:
        raise BadInput("the network has depth-wise convolutions and the design no engine for them; give it one")
    return design.depthwise


def _accepted(o: Op, graph: Graph) -> None:
    if o["groups"] not in (1, graph.in_shape(o)[0]):
        raise BadInput(f"hotnas2020 has no rule for {o.name!r}, a convolution in {o['groups']} groups; use v2")
    for name in ("kernel", "stride", "padding"):
        if len(set(o[name])) > 1:
            raise BadInput(f"hotnas2020 has no rule for {o.name!r}, whose {name} {o[name]} is not square; use v2")


def _within_swapped_memory(designs: Design) -> NDArray[np.bool_]:
    needed = bram18(designs.conv, bits=SWAPPED_BITS)
    if designs.depthwise is not None:
        needed = needed + bram18(designs.depthwise, depthwise=True, bits=SWAPPED_BITS)
    return np.asarray(needed <= TRUE_BITS)


def _at(designs: Design, index: NDArray[np.int64]) -> Design:
    """The designs at these places; of one place alone, in plain numbers."""

    def taken(value: Number) -> Number:
        if not isinstance(value, np.ndarray):
            return value
        return value[index] if index.ndim else int(value[index])

    def engine(e: Engine) -> Engine:
        return Engine(*(taken(getattr(e, field.name)) for field in fields(Engine)))

    return Design(engine(designs.conv), None if designs.depthwise is None else engine(designs.depthwise))
