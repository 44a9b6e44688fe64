"""The accelerator's model as anyone would write it first: one design after the other, tile by tile, in plain Python.

It shares no line with `chipfit.device.accelerator.v2`: what that computes in closed form over all designs at once is
held against this, and timed against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil

from chipfit.device.accelerator.work import Layer, Stream, Work


def network_cycles(works: Sequence[Work], design: Mapping[str, int]) -> float:
    """Cycles of a network on one design, everything that the full model sees."""
    return sum(work_cycles(work, design) for work in works)


def work_cycles(work: Work, design: Mapping[str, int]) -> float:
    """Cycles of one piece of work."""
    if isinstance(work, Stream):
        reading = work.read / (design["input_port"] * 16 // work.value_bits)
        writing = work.written / (design["output_port"] * 16 // work.value_bits)
        return max(reading, writing)
    total, start = 0.0, 0.0
    for outputs, reads in channel_tiles(work, design):
        for rows in pieces(work.size[0], design["tr"]):
            for columns in pieces(work.size[1], design["tc"]):
                steps = [step(work, design, rows, columns, *read) for read in reads]
                storing = outputs * rows * columns / (design["output_port"] * 16 // work.value_bits)
                start = start or steps[0] + storing
                total += max(sum(steps), storing)
    return total + start


def step(layer: Layer, design: Mapping[str, int], rows: int, columns: int, inputs: int, weights: int) -> float:
    """Lat1: a tile of inputs, and `weights` weights a tap."""
    tall = (rows - 1) * layer.stride[0] + (layer.kernel[0] - 1) * layer.dilation[0] + 1
    wide = (columns - 1) * layer.stride[1] + (layer.kernel[1] - 1) * layer.dilation[1] + 1
    bits = design["mac_bits"]
    passes = ceil(layer.weight_bits / bits) * ceil(layer.value_bits / bits)
    taps = layer.taps
    if design["unroll"] and layer.groups == 1 and 2 * layer.inputs <= design["tn"]:
        taps = ceil(taps / min(design["tn"] // layer.inputs, taps))
    return max(
        weights * layer.taps / (design["weight_port"] * 16 // layer.weight_bits),
        inputs * tall * wide / (design["input_port"] * 16 // layer.value_bits),
        passes * taps * rows * columns,
    )


def channel_tiles(layer: Layer, design: Mapping[str, int]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Output channels of a tile, with the (inputs, weights a tap) that they read one after the other."""
    outs, ins = layer.outputs // layer.groups, layer.inputs // layer.groups
    beside = min(design["tm"] // outs, design["tn"] // ins)
    if layer.depthwise and design["tm_dw"]:
        beside = design["tm_dw"]
    if layer.groups > 1 and beside:
        for groups in pieces(layer.groups, beside):
            yield groups * outs, [(groups * ins, groups * outs * ins)]
        return
    for _ in range(layer.groups):
        for m in pieces(outs, design["tm"]):
            yield m, [(n, m * n) for n in pieces(ins, design["tn"])]


def pieces(total: int, size: int) -> Iterator[int]:
    """Sizes of the tiles of an axis."""
    for begin in range(0, total, size):
        yield min(size, total - begin)
