"""Cycles of a network on a tiled FPGA accelerator: the model of HotNAS (2020) with its faults repaired.

Source of the tiling: Zhang et al., FPGA 2015; Jiang et al., arXiv 2007.09087. What differs from the released model
(`hotnas2020`), and why, is decided in docs/adr/0025.

A layer of M outputs, N inputs, R x C output positions, a kernel of K x K of which `ones` taps are computed, and stride
S is cut into tiles of at most Tm, Tn channels and Tr x Tc positions. For a tile of m, n channels and r x c positions

    tW = m n ones / floor(16 W_p / b)                                load its weights, of b bits
    tI = n ((r - 1) S + K) ((c - 1) S + K) / floor(16 I_p / a)       load its inputs, halo and all, of a bits
    tX = ones r c                                                    compute
    tO = m r c / floor(16 O_p / a)                                   store its outputs
    Lat1 = max(tW, tI, tX), which overlap;  Lat2 = max(sum of Lat1 over the tiles of N, tO)
    Lat  = sum of Lat2 over the tiles of R, C and M

With `edge_tiles` r, c, m and n are the true sizes, also of the last tiles; without, the first's stand for all. With
`fill_drain` a layer begins with one Lat1 that nothing overlaps, and ends with one tO; without double buffers each
output tile does. The rest:

* A multiplier of `mac_bits` bits takes ceil(b / mac_bits) ceil(a / mac_bits) passes.
* Groups of (M/g, N/g) channels share the engine while they fit beside each other; larger ones follow one another.
* A depth-wise layer takes the depth-wise engine, Tm_dw channels at a time, and where there is none the groups' rule.
* `unroll`: with N <= Tn / 2, floor(Tn / N) taps are computed at once, with copies of the inputs in idle buffers.
* `space_to_depth`: a first layer of stride S may read S x S N inputs with stride 1, by ceil((K + o) / S) taps an axis,
  o = -P mod S: the same function with zeros in the kernel. It does where that is faster.
* An operator without weights takes as long as the slower of its two ports.
* A kernel larger than Tk does not run: its cycles are infinite. `resources.check` says so in words.

Property: Lat >= kept MACs / multipliers, by tX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from chipfit.device.accelerator.parts import Part
from chipfit.device.accelerator.tiling import Block, Columns, Cycles, Read, folded, reach, tiled
from chipfit.device.accelerator.work import Layer, Stream, Work, anonymous
from chipfit.space.hardware import Designs

CHUNK = 1 << 13
"""Designs computed at a time: some hundred arrays of 64 KB, which stay within a processor's caches."""


@dataclass(frozen=True, slots=True)
class Model:
    """What the model sees beyond its core. `CORE` is what the known answers of the core are of.

    `true_buffers` concerns resources alone: buffers as large as the tiles of this network with their halo, in memories
    of true depth; without, Tr x Tc words in memories of 18,000 bits, and weights for nothing.
    """

    edge_tiles: bool = True
    fill_drain: bool = True
    double_buffered: bool = True
    true_buffers: bool = True


FULL = Model()
CORE = Model(edge_tiles=False, fill_drain=False, true_buffers=False)


class Tile(NamedTuple):
    """Cycles of a tile of positions, (designs,): to load a weight of each tap, load or store a channel, compute."""

    per_weight: Cycles
    per_input: Cycles
    computing: Cycles
    per_output: Cycles


class Totals(NamedTuple):
    """Cycles that each part of the work would take alone, (designs,): none is above the layer's latency."""

    computing: Cycles
    weights: Cycles
    inputs: Cycles
    outputs: Cycles


def cycles(works: Sequence[Work], designs: Designs, model: Model = FULL) -> Cycles:
    """(designs, works) cycles of each piece of work on each design, infinite where its kernel is too large."""
    found = np.empty((len(designs), len(works)))
    distinct, place = _distinct(works)
    for start, chunk in chunks(designs):
        rows = [_work_cycles(work, chunk, model) for work in distinct]
        found[start : start + len(rows[0])] = np.stack(rows, axis=1)[:, place]
    return found


def network_cycles(works: Sequence[Work], designs: Designs, model: Model = FULL) -> Cycles:
    """(designs,) cycles of the whole network, its work done one piece after the other."""
    found = np.empty(len(designs))
    distinct, place = _distinct(works)
    counts = np.bincount(np.array(place, np.int64), minlength=len(distinct))
    for start, chunk in chunks(designs):
        total = sum(n * _work_cycles(work, chunk, model) for work, n in zip(distinct, counts, strict=True))
        found[start : start + len(chunk["tm"])] = total
    return found


def ms(works: Sequence[Work], designs: Designs, part: Part, model: Model = FULL) -> Cycles:
    """(designs, works) milliseconds at the part's clock; whether a design fits the part is `resources`' business."""
    return cycles(works, designs, model) / (part.clock_mhz * 1e3)


def totals(work: Work, d: Columns) -> Totals:
    """What computing, loading weights, loading inputs and storing outputs would take alone, in cycles.

    They are sums over true tiles, which come apart: the tiles' areas sum up to R C, their halos to
    (sum over rows)(sum over columns), their channels to M and N.
    """
    if isinstance(work, Stream):
        none = np.zeros_like(d["tm"])
        return Totals(none, none, *_stream_ports(work, d))
    best = _totals(work, d)
    blocks = folded(work)
    if blocks is None or not d["space_to_depth"].any():
        return best
    other = _totals(blocks, d)
    either = d["space_to_depth"] * (np.maximum.reduce(other) < np.maximum.reduce(best))
    return Totals(*(np.where(either, b, a) for a, b in zip(best, other, strict=True)))


def _totals(layer: Layer, d: Columns) -> Totals:
    walk = tiled(layer, d, edges=True)
    down, across = layer.stride
    tall, wide = reach(layer)
    row_tiles, column_tiles, high, broad = (np.zeros_like(d["tm"]) for _ in range(4))
    for row in walk.rows:
        row_tiles += row.times
        high += row.times * ((row.size - 1) * down + tall)
    for column in walk.columns:
        column_tiles += column.times
        broad += column.times * ((column.size - 1) * across + wide)
    rounds, inputs, weights = (np.zeros_like(d["tm"]) for _ in range(3))
    for block in walk.blocks:
        for read in block.reads:
            times = block.times * read.times
            rounds += times
            inputs += times * read.inputs
            weights += times * read.weights
    area = layer.size[0] * layer.size[1]
    loaded = row_tiles * column_tiles * weights * layer.taps
    return Totals(
        computing=walk.taps * rounds * area,
        weights=loaded / d.rate("weight_port", layer.weight_bits),
        inputs=high * broad * inputs / d.rate("input_port", layer.value_bits),
        outputs=layer.outputs * area / d.rate("output_port", layer.value_bits),
    )


def _work_cycles(work: Work, d: Columns, model: Model) -> Cycles:
    if isinstance(work, Stream):
        return np.maximum(*_stream_ports(work, d))
    plain = _layer_cycles(work, d, model)
    blocks = folded(work)
    if blocks is None or not d["space_to_depth"].any():
        return plain
    return np.where(d["space_to_depth"] > 0, np.minimum(plain, _layer_cycles(blocks, d, model)), plain)


def _layer_cycles(layer: Layer, d: Columns, model: Model) -> Cycles:
    """Lat of the module's docstring, (designs,)."""
    walk = tiled(layer, d, model.edge_tiles)
    down, across = layer.stride
    tall, wide = reach(layer)
    # Quotients are formed once: a division takes the time of several products.
    per_weight = layer.taps / d.rate("weight_port", layer.weight_bits)
    per_input = 1 / d.rate("input_port", layer.value_bits)
    per_output = 1 / d.rate("output_port", layer.value_bits)
    total, filled = np.zeros_like(d["tm"]), np.zeros_like(d["tm"])
    for place, (row, column) in enumerate(product(walk.rows, walk.columns)):
        tiles = row.times * column.times
        area = row.size * column.size
        halo = ((row.size - 1) * down + tall) * ((column.size - 1) * across + wide)
        tile = Tile(per_weight, halo * per_input, walk.taps * area, area * per_output)
        for block in walk.blocks:
            first, loaded, stored = _block_cycles(block, tile)
            times = tiles * block.times
            total += times * np.maximum(loaded, stored)
            if not model.fill_drain:
                continue
            alone = first + stored
            if not model.double_buffered:
                total += times * alone
            elif place == 0:
                # The layer's first tile. Its first block is its largest; of two ways to group, one is there no times.
                filled = np.maximum(filled, np.where(block.times > 0, alone, 0))
    return np.where(max(layer.kernel) > d["tk"], np.inf, total + filled)


def _block_cycles(block: Block, tile: Tile) -> tuple[Cycles, Cycles, Cycles]:
    """(Lat1 of the first tile of inputs, the sum of Lat1 over all of them, tO)."""
    first = _read_cycles(block.reads[0], tile)
    loaded = block.reads[0].times * first
    for read in block.reads[1:]:
        loaded = loaded + read.times * _read_cycles(read, tile)
    return first, loaded, block.outputs * tile.per_output


def _read_cycles(read: Read, tile: Tile) -> Cycles:
    """Lat1: the slowest of a tile's weights, inputs and arithmetic."""
    loading = np.maximum(read.weights * tile.per_weight, read.inputs * tile.per_input)
    return np.maximum(loading, tile.computing)


def _stream_ports(work: Stream, d: Columns) -> tuple[Cycles, Cycles]:
    """Cycles to read and to write, which overlap."""
    reading = work.read / d.rate("input_port", work.value_bits)
    writing = work.written / d.rate("output_port", work.value_bits)
    return reading, writing


def _distinct(works: Sequence[Work]) -> tuple[list[Work], list[int]]:
    """Each different piece of work once, and for each piece its place among those."""
    place: dict[Work, int] = {}
    where = [place.setdefault(anonymous(work), len(place)) for work in works]
    return list(place), where


def chunks(designs: Designs) -> Iterator[tuple[int, Columns]]:
    """(place of the first, columns) of so many designs at a time."""
    for start in range(0, len(designs), CHUNK):
        yield start, Columns(designs.take(slice(start, start + CHUNK)))
