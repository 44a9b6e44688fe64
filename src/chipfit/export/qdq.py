"""int8 as QDQ: which tensors are quantised, on which grid, and the arrays of int8 convolutions and dense layers.

Activations are uint8 with one scale s and zero point z a tensor, q = clip(round(x / s) + z, 0, 255); weights are int8
with z = 0 and a scale for each output channel (Jacob et al. 2018; Krishnamoorthi 2018); biases are int32 with the scale
of the accumulator, s_x s_w. A runtime fuses DQ, operator, Q into one integer kernel where it finds exactly that, so

* an int8 operator reads only dequantised tensors, and its output is quantised, also where float operators read it;
* between an operator and a relu that fuses with it nothing is quantised: the grid of the relu's output begins at 0 and
  clamps (that of a relu6 ends at 6 or below);
* operators that only move values, and concat, have one grid for all they read and write. A concat of a clamped with an
  unclamped tensor is the exception, because a shared grid could not clamp: there each keeps its own;
* a dense layer that no int8 operator reads has a float output: its kernel gives one for nothing, and logits keep
  their precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chipfit.core.graph import Graph, Op
from chipfit.core.kinds import KINDS
from chipfit.export.lower import CLAMPS, PRESERVING, Range, fused

TOP: Final = 255


@dataclass(frozen=True, slots=True)
class Grid:
    """The 256 values step * (q - zero) of a quantised tensor; tensors with one `name` share it."""

    name: str
    step: np.float32
    zero: int


@dataclass(frozen=True, slots=True)
class IntArrays:
    """An int8 layer's arrays: weight (out, ...) int8, its scales (out,), bias (out,) int32 and its scales (out,)."""

    weight: NDArray[np.int8]
    weight_scale: NDArray[np.float32]
    bias: NDArray[np.int32] | None
    bias_scale: NDArray[np.float32]


def grid(name: str, low: float, high: float) -> Grid:
    """The finest grid that holds low..high and 0.

    An end at 0 is kept exactly, and `high` is not exceeded where `low` is 0, so that the grid clamps like the relu or
    relu6 whose output it holds.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-30:
        return Grid(name, np.float32(1 / TOP), 0)  # all zero: any scale that is no subnormal
    step = np.float32((high - low) / TOP)
    if low == 0 and step * np.float32(TOP) > high:
        step = np.nextafter(step, np.float32(0))
    return Grid(name, step, round(-low / float(step)))


def grids(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Grid]:
    """Tensor name to grid, for each tensor of a lowered graph that is quantised.

    Raises:
        ValueError: a tensor needs a range and has none, or one that is no range.
    """
    tensors = quantised(graph)
    reaches: dict[str, Range] = {}
    for o in graph:
        if o.name in tensors:
            reaches[o.name] = reach(o, reaches, ranges)
    clusters: dict[str, tuple[str, ...]] = {t: (t,) for t in tensors}  # tensor -> all that share its grid
    for o in graph:
        if o.bits == 8 and o.kind in PRESERVING:
            _unite(clusters, (o.inputs[0], o.name))
    for o in graph:
        if o.bits == 8 and o.kind == "concat" and _can_share(graph, [*o.inputs, o.name], clusters, reaches):
            _unite(clusters, (*o.inputs, o.name))
    return {t: grid(c[0], *_union(reaches[m] for m in c)) for t, c in clusters.items()}


def quantised(graph: Graph) -> dict[str, bool]:
    """Tensor name to whether an int8 operator made it, for each tensor of a lowered graph that is quantised."""
    read = {i for o in graph if o.bits == 8 for i in o.inputs}
    bare = {o.inputs[0] for o in graph if o.bits == 8 and fused(graph, o)}
    found = {}
    for o in graph:
        core = graph[o.inputs[0]] if o.inputs and o.inputs[0] in bare else o
        made = o.bits == 8 and (core.kind != "linear" or o.name in read)
        if o.name not in bare and (made or o.name in read):
            found[o.name] = made
    return found


def reach(o: Op, reaches: Mapping[str, Range], ranges: Mapping[str, Range]) -> Range:
    """The range a tensor takes: its own, or that of what it is made of where no value is new."""
    if o.bits == 8 and o.kind in PRESERVING | {"concat"}:
        return _union(reaches[i] for i in o.inputs)
    if o.name not in ranges:
        raise ValueError(f"tensor {o.name!r} is quantised and has no range; give write(..., ranges=) one for it")
    low, high = (float(v) for v in ranges[o.name])
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"tensor {o.name!r} has the range ({low}, {high}); it has to be finite, the lower end first")
    least, most = KINDS[o.kind].clamp or (-math.inf, math.inf)
    return max(low, least), min(high, most)


def _union(reaches: Iterable[Range]) -> Range:
    low, high = zip(*reaches, strict=True)
    return min(low), max(high)


def _unite(clusters: dict[str, tuple[str, ...]], names: tuple[str, ...]) -> None:
    together = tuple(dict.fromkeys(t for n in names for t in clusters[n]))
    clusters.update(dict.fromkeys(together, together))


def _can_share(
    graph: Graph, names: Iterable[str], clusters: Mapping[str, tuple[str, ...]], reach: Mapping[str, Range]
) -> bool:
    """True unless a grid for all these tensors would no longer clamp like a relu that has vanished into one of them."""
    members = {t for n in names for t in clusters[n]}
    low, high = _union(reach[t] for t in members)
    clamps = {graph[t].kind for t in members if graph[t].bits == 8} & CLAMPS
    return not clamps or (low >= 0 and ("relu6" not in clamps or high <= 6))


def int_arrays(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None = None,
    *,
    step: np.float32,
    reduce_range: bool = False,
) -> IntArrays:
    """A layer's arrays in int8, for an input of this step.

    With `reduce_range` weights use 7 bits, -63..63: kernels of x86 processors without VNNI add two products in 16 bits.
    """
    top = 63 if reduce_range else 127
    rows = weight.reshape(len(weight), -1)
    scale = np.abs(rows).max(axis=1) / np.float32(top)
    scale[scale == 0] = 1
    if bias is not None:
        # a channel of tiny weights and a large bias: the accumulator is 32 bits, so the scale gives way
        scale = np.maximum(scale, np.abs(bias) / (step * np.float32(2**30)))
    rounded = np.rint(rows / scale[:, None]).astype(np.int8).reshape(weight.shape)
    accumulator = (scale * step).astype(np.float32)
    whole = None if bias is None else np.rint(bias / accumulator.astype(np.float64)).astype(np.int32)
    return IntArrays(rounded, scale.astype(np.float32), whole, accumulator)
