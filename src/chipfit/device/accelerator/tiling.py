"""How an engine walks a layer: its axes cut into tiles, its channels into blocks, for many designs at once.

Most of a layer's tiles are equal, so that a few kinds of tile with a count of each stand for all: full ones and, along
each axis, what is left over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chipfit.device.accelerator.work import Layer, Pair
from chipfit.space.hardware import DEFAULTS, Designs

Cycles = NDArray[np.float64]
"""(designs,) numbers, of cycles or of what costs them."""


class Split(NamedTuple):
    """An axis cut into tiles of one size: `times` of them, each of `size`; (designs,)."""

    times: Cycles
    size: Cycles


class Read(NamedTuple):
    """A tile of inputs: how often an output tile needs one of its size, its channels, and weights a tap; (designs,)."""

    times: Cycles
    inputs: Cycles
    weights: Cycles


class Block(NamedTuple):
    """Output channels computed together: how often, how many, and what they read one after the other; (designs,)."""

    times: Cycles
    outputs: Cycles
    reads: tuple[Read, ...]


class Tiled(NamedTuple):
    """A layer as an engine walks it, by its axes; `taps` are the steps that a position takes, (designs,)."""

    rows: tuple[Split, ...]
    columns: tuple[Split, ...]
    blocks: tuple[Block, ...]
    taps: Cycles


class Columns:
    """Designs as float columns, the arithmetic's type; values a cycle of each port by the bits of a value."""

    def __init__(self, designs: Designs) -> None:
        numbers = designs.columns.astype(np.float64)
        self._columns: dict[str, Cycles] = dict(zip(DEFAULTS, numbers, strict=True))

    def __getitem__(self, parameter: str) -> Cycles:
        """(designs,) values of a parameter."""
        return self._columns[parameter]

    def rate(self, port: str, bits: int) -> Cycles:
        """(designs,) values of these bits that a port moves a cycle."""
        words = self[port]
        if bits == 16:
            return words
        return np.asarray(np.floor(words * 16 / bits))


def tiled(layer: Layer, d: Columns, edges: bool) -> Tiled:
    """How the engine of the layer's kind walks it."""
    rows = _split(layer.size[0], d["tr"], edges)
    columns = _split(layer.size[1], d["tc"], edges)
    weight_passes = np.ceil(layer.weight_bits / d["mac_bits"])
    value_passes = np.ceil(layer.value_bits / d["mac_bits"])
    passes = weight_passes * value_passes
    if layer.groups == 1:
        blocks = _plain(layer, d, edges)
        return Tiled(rows, columns, blocks, passes * _steps(layer, d))
    blocks = _grouped(layer, d, edges)
    return Tiled(rows, columns, blocks, passes * layer.taps)


def _plain(layer: Layer, d: Columns, edges: bool) -> tuple[Block, ...]:
    """All inputs to all outputs, Tm and Tn at a time."""
    ins = _split(layer.inputs // layer.groups, d["tn"], edges)
    outs = _split(layer.outputs // layer.groups, d["tm"], edges)
    blocks = []
    for m in outs:
        reads = [Read(n.times, n.size, m.size * n.size) for n in ins]
        blocks.append(Block(m.times, m.size, tuple(reads)))
    return tuple(blocks)


def _grouped(layer: Layer, d: Columns, edges: bool) -> tuple[Block, ...]:
    """Whole groups beside each other where one fits, as lanes of the depth-wise engine where there is one.

    q groups take q M/g of the Tm lanes and q N/g of the Tn; a group that is too large is computed by itself, g times.
    """
    outs, ins = layer.outputs // layer.groups, layer.inputs // layer.groups
    beside = np.minimum(np.floor(d["tm"] / outs), np.floor(d["tn"] / ins))
    if layer.depthwise:
        beside = np.where(d["tm_dw"] > 0, d["tm_dw"], beside)
    fits = beside >= 1
    one = np.ones_like(beside)
    blocks = []
    for groups in _split(layer.groups, np.maximum(beside, 1), edges):
        read = Read(one, groups.size * ins, groups.size * outs * ins)
        blocks.append(Block(np.where(fits, groups.times, 0), groups.size * outs, (read,)))
    if fits.all():
        return tuple(blocks)
    alone = np.where(fits, 0, layer.groups)
    by_itself = [block._replace(times=block.times * alone) for block in _plain(layer, d, edges)]
    return (*by_itself, *blocks)


def _split(total: int, tile: Cycles, edges: bool) -> tuple[Split, ...]:
    """The tiles of an axis: the full ones, and with `edges` the rest of it in a smaller one."""
    size = np.minimum(tile, total)
    if not edges:
        return (Split(np.ceil(total / size), size),)
    times = np.floor(total / size)
    rest = total - times * size
    full = Split(times, size)
    if not rest.any():
        return (full,)
    # Where nothing is left over, a tile of size 1 that is there no times: a size of 0 would have a negative halo.
    last = Split((rest > 0).astype(float), np.maximum(rest, 1))
    return full, last


def _steps(layer: Layer, d: Columns) -> Cycles:
    """(designs,) steps of a position: one a tap, or fewer where idle input lanes take taps."""
    shared = np.floor(d["tn"] / layer.inputs)
    unrolled = (d["unroll"] > 0) & (shared >= 2)
    at_once = np.where(unrolled, np.minimum(shared, layer.taps), 1)
    return np.ceil(layer.taps / at_once)


def folded(layer: Layer) -> Layer | None:
    """The layer on blocks of stride x stride positions as channels, None where it is no strided first layer."""
    rows, columns = layer.stride
    if not layer.first or layer.groups > 1 or rows * columns == 1 or layer.dilation != (1, 1):
        return None
    kernel = _folded_taps(layer, 0), _folded_taps(layer, 1)
    return replace(layer, inputs=layer.inputs * rows * columns, kernel=kernel, stride=(1, 1), padding=(0, 0), kept=0)


def _folded_taps(layer: Layer, axis: int) -> int:
    """Blocks that a kernel touches along an axis: it begins at -P, and the first block o positions before that."""
    stride = layer.stride[axis]
    offset = -layer.padding[axis] % stride
    return -(-(layer.kernel[axis] + offset) // stride)


def reach(layer: Layer) -> Pair:
    """Input positions that a kernel spans along each axis."""
    tall = (layer.kernel[0] - 1) * layer.dilation[0] + 1
    wide = (layer.kernel[1] - 1) * layer.dilation[1] + 1
    return tall, wide
