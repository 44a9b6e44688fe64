"""What a design takes of a part, and whether it fits: checked before anything is timed, never assumed.

    DSP       ceil(Tm Tn / pack) + ceil(Tm_dw / pack)      pack: products of `mac_bits` bits that one multiplier forms
    ports     16 (W_p + I_p + O_p) bits a cycle, of the part's, and of its memory's bytes a second at the clock
    buffers   two of each input channel (Tn, Tm_dw), of the network's largest input tile, halo and all, and two of
              each output channel (Tm, Tm_dw), of its largest output tile; two, since one is filled while one is used
    weights   a bank of 2 k k words for each of the Tm Tn + Tm_dw factors, k the largest kernel that it holds

Banks of weights are shallow, so that they go into look-up tables (64 x 1 bit each), and those that do not fit there
into BRAM. Buffers are BRAM of 18 Kbit; where these run short and the part has URAM, the output buffers go there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput, Infeasible
from chipfit.device.accelerator.parts import LIMITS, PACKING, Part
from chipfit.device.accelerator.tiling import Columns, folded, reach
from chipfit.device.accelerator.v2 import FULL, Model, chunks
from chipfit.device.accelerator.work import WIDEST, Layer, Work
from chipfit.space.hardware import Designs, Mask

Amounts = NDArray[np.float64]

WORD_BITS = 16
"""Width of a port's word."""
FLAT_BRAM_BITS = 18_000
"""What a BRAM is taken to hold without `true_buffers`, as in the published model."""
URAM_WORDS = 4096
"""Words of up to 72 bits."""
LUTRAM_WORDS = 64
_BRAM_WORDS = ((1, 16_384), (2, 8_192), (4, 4_096), (9, 2_048), (18, 1_024))
"""(bits of a word up to, words) of a BRAM of 18 Kbit."""


@dataclass(frozen=True, slots=True)
class Used:
    """What designs take of a part, (designs,) each, by the names of `parts.LIMITS`."""

    dsp: Amounts
    bram18: Amounts
    uram: Amounts
    lutram: Amounts
    port_bits: Amounts

    def __getitem__(self, name: str) -> Amounts:
        """(designs,) of one resource."""
        amounts: Amounts = getattr(self, name)
        return amounts


def used(designs: Designs, works: Sequence[Work], part: Part, model: Model = FULL) -> Used:
    """What designs take for a network.

    Args:
        designs: any number.
        works: the network, whose largest tiles the buffers hold.
        part: whose multipliers and memories they are built of.
        model: with `true_buffers`, as the module says; without, buffers of Tr x Tc words of 16 bits, and no weights.
    """
    found = np.empty((len(LIMITS), len(designs)))
    for start, chunk in chunks(designs):
        taken = _used(chunk, works, part, model)
        found[:, start : start + taken.shape[1]] = taken
    return Used(*found)


def _used(d: Columns, works: Sequence[Work], part: Part, model: Model) -> Amounts:
    """(resources, designs) in the order of `LIMITS`."""
    pack = _pack(d["mac_bits"], part)
    dsp = np.ceil(d["tm"] * d["tn"] / pack) + np.ceil(d["tm_dw"] / pack)
    port_bits = WORD_BITS * (d["weight_port"] + d["input_port"] + d["output_port"])
    if not model.true_buffers:
        bram18 = _flat_buffers(d)
        none = np.zeros_like(bram18)
        return np.stack([dsp, bram18, none, none, port_bits])
    layers = [w for w in works if isinstance(w, Layer)]
    buffers = 2 if model.double_buffered else 1
    value_bits = max((w.value_bits for w in works), default=WIDEST)
    depth = _depth(value_bits)
    shapes = {replace(w, op="", outputs=1, inputs=1, groups=1) for w in layers}  # what makes a tile, each once
    input_tile, output_tile = _tiles(shapes, d)
    banks_in = buffers * (d["tn"] + d["tm_dw"])
    banks_out = buffers * (d["tm"] + d["tm_dw"])
    lutram, spilt = _weights(layers, d, part, buffers)
    always = banks_in * np.ceil(input_tile / depth) + spilt
    outputs = banks_out * np.ceil(output_tile / depth)
    moved = (always + outputs > part.bram18) & (part.uram > 0)
    bram18 = np.where(moved, always, always + outputs)
    uram = np.where(moved, banks_out * np.ceil(output_tile / URAM_WORDS), 0)
    return np.stack([dsp, bram18, uram, lutram, port_bits])


def _flat_buffers(d: Columns) -> Amounts:
    """(designs,) BRAMs of the published model: two a channel, of Tr x Tc words."""
    each = np.ceil(d["tr"] * d["tc"] * WORD_BITS / FLAT_BRAM_BITS)
    channels = d["tm"] + d["tn"] + 2 * d["tm_dw"]
    return np.asarray(2 * channels * each)


def fits(taken: Used, part: Part) -> Mask:
    """(designs,) true where nothing is over what the part has, the bytes a second of its memory included."""
    within = np.ones(len(taken.dsp), bool)
    for name in LIMITS:
        within &= taken[name] <= getattr(part, name)
    return within & (memory_gb_s(taken, part) <= part.ddr_gb_s)


def memory_gb_s(taken: Used, part: Part) -> Amounts:
    """(designs,) 10^9 bytes a second that the ports move when all are busy."""
    bytes_a_cycle = taken.port_bits / 8
    return bytes_a_cycle * part.clock_mhz / 1e3


def runs(designs: Designs, works: Sequence[Work]) -> Mask:
    """(designs,) true where no kernel is larger than Tk."""
    able = np.ones(len(designs), bool)
    for work in works:
        if isinstance(work, Layer):
            able &= _holds(designs, work)
    return able


def check(designs: Designs, index: int, works: Sequence[Work], part: Part, model: Model = FULL) -> None:
    """Says why one design cannot be built for a network, where it cannot.

    Raises:
        BadInput: a kernel is larger than Tk; named.
        Infeasible: a resource is exceeded; `nearest` has what is needed of each that is.
    """
    one = designs.take([index])
    for work in works:
        if isinstance(work, Layer) and not _holds(one, work)[0]:
            tall, wide = work.kernel
            raise BadInput(
                f"layer {work.op!r} has a kernel of {tall}x{wide}, larger than the design's tk={one['tk'][0]};"
                f" give tk={max(work.kernel)}, or a network without it"
            )
    taken = used(one, works, part, model)
    needed = {name: float(taken[name][0]) for name in LIMITS} | {"ddr_gb_s": float(memory_gb_s(taken, part)[0])}
    over = {name: amount for name, amount in needed.items() if amount > getattr(part, name)}
    if over:
        said = ", ".join(f"{amount:g} {name} of {getattr(part, name):g}" for name, amount in over.items())
        message = f"the design does not fit {part.name}: it takes {said}; give smaller tiles or a larger part"
        raise Infeasible(message, over)


def _holds(designs: Designs, layer: Layer) -> Mask:
    """(designs,) true where the layer's kernel is within Tk, as it is or on blocks of positions as channels."""
    within = designs["tk"] >= max(layer.kernel)
    blocks = folded(layer)
    if blocks is None:
        return within
    return within | ((designs["space_to_depth"] > 0) & (designs["tk"] >= max(blocks.kernel)))


def _pack(mac_bits: Amounts, part: Part) -> Amounts:
    """(designs,) products that a multiplier forms a cycle."""
    packed = np.ones_like(mac_bits)
    for bits, products in PACKING[part.dsp_kind].items():
        packed[mac_bits == bits] = products
    return packed


def _depth(bits: int) -> int:
    """Words of so many bits that a BRAM holds."""
    return next(words for widest, words in _BRAM_WORDS if bits <= widest)


def _tiles(layers: Collection[Layer], d: Columns) -> tuple[Amounts, Amounts]:
    """(designs,) positions of the largest input tile of any layer, halo and all, and of the largest output tile."""
    largest_in, largest_out = np.ones_like(d["tm"]), np.ones_like(d["tm"])
    for layer in layers:
        down, across = layer.stride
        tall, wide = reach(layer)
        rows = np.minimum(d["tr"], layer.size[0])
        columns = np.minimum(d["tc"], layer.size[1])
        halo = ((rows - 1) * down + tall) * ((columns - 1) * across + wide)
        largest_in = np.maximum(largest_in, halo)
        largest_out = np.maximum(largest_out, rows * columns)
    return largest_in, largest_out


def _weights(layers: Sequence[Layer], d: Columns, part: Part, buffers: int) -> tuple[Amounts, Amounts]:
    """(look-up tables, BRAMs) of the banks of weights: as many banks in tables as there are, the rest in BRAM."""
    bits = max((w.weight_bits for w in layers), default=WIDEST)
    banks = d["tm"] * d["tn"] + d["tm_dw"]
    words = buffers * d["tk"] ** 2
    tables = np.ceil(words / LUTRAM_WORDS) * bits
    in_tables = np.minimum(banks, np.floor(part.lutram / tables))
    brams = np.ceil(words / _depth(bits))
    return in_tables * tables, (banks - in_tables) * brams
