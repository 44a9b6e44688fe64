"""The designs that one network's accelerator is chosen from: as fine a grid as makes a difference to that network.

* Tm: multiples of 4 up to the widest layer; Tn is what Tm leaves of the multipliers, or a half, a quarter, ... of it
  where memory, and not multipliers, is what most designs lack.
* Tiles: the network's own maps, whole and in halves and quarters, so that few tiles are cut at an edge.
* Ports: all words that the part and its memory move a cycle, shared out in sixteenths; fewer words are never faster.
* Tm_dw, where there are depth-wise layers: none, and round numbers up to the widest of them.
* Multipliers of 8 bits where a layer has no more, on parts that form two such products at once.
* Tk: the largest kernel, or the largest that is left of a strided first layer by space-to-depth.

`unroll` and `space_to_depth` cost nothing and never lengthen a layer (each is used where it is faster), so that both
are on while designs are compared; `plainest` turns off what the chosen one does not need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from chipfit.core.types import Plain
from chipfit.device.accelerator.parts import PACKING, Part
from chipfit.device.accelerator.resources import fits, runs, used
from chipfit.device.accelerator.tiling import folded
from chipfit.device.accelerator.v2 import network_cycles
from chipfit.device.accelerator.work import Layer, Work
from chipfit.space.hardware import Designs, HardwareSpace

WIDEST_TM = 256
"""Channels out at once; more than any of the published designs has."""
TM_STEP = 4
ROUNDS = (1, 2, 4)
"""The largest map's side is done in so many tiles."""
DEPTHWISE = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
LARGEST_TILE = 4096
"""Positions: four memories of 18 Kbit for each channel."""
MOST_TILES = 6
PORT_PARTS = 16
"""The bus is shared out in such parts."""
SHARES = (2, 4, 8, 16)
"""Divisors of Tn where memory binds."""
BINDS = 0.5
"""Memory binds where fewer than this share of designs fit."""
GENES_ON = {"unroll": 1, "space_to_depth": 1}


def grid(works: Sequence[Work], part: Part, pinned: Mapping[str, int] | None = None) -> Designs:
    """The designs for a network on a part; whether each fits is not asked.

    Args:
        works: the network.
        part: its resources, limited where a user limits them.
        pinned: parameters that are given, as of an accelerator that is built already.
    """
    genes = _genes(works, part)
    designs = HardwareSpace(genes, _macs(part, 1)).all()
    if len(designs) and _share_that_fits(designs, works, part) < BINDS:
        for divisor in SHARES:
            designs = designs + HardwareSpace(genes, _macs(part, divisor)).all()
    if not pinned:
        return designs
    return Designs(np.unique(designs.having(**pinned).columns, axis=1))


def fewest_dsp(works: Sequence[Work], part: Part) -> int:
    """Multipliers without which the grid is empty: those of its fewest channels out, for one channel in."""
    genes = _genes(works, part)
    packed = max(PACKING[part.dsp_kind][bits] for bits in cast(Sequence[int], genes["mac_bits"]))
    return -(-min(cast(Sequence[int], genes["tm"])) // packed)


def port_words(part: Part) -> int:
    """Words of 16 bits that all ports together move a cycle: what the bus and the board's memory allow, 3 at least."""
    by_bus = part.port_bits // 16
    by_memory = int(part.ddr_gb_s * 1e3 / (2 * part.clock_mhz))
    return max(3, min(by_bus, by_memory))


def plainest(design: Designs, works: Sequence[Work]) -> Designs:
    """One design without those of its genes that gain nothing."""
    fastest = network_cycles(works, design)[0]
    for off in ({"unroll": 0, "space_to_depth": 0}, {"unroll": 0}, {"space_to_depth": 0}):
        plain = design.having(**off)
        if runs(plain, works)[0] and network_cycles(works, plain)[0] <= fastest:
            return plain
    return design


def _genes(works: Sequence[Work], part: Part) -> dict[str, Sequence[Plain]]:
    layers = [w for w in works if isinstance(w, Layer)]
    genes: dict[str, Sequence[Plain]] = {
        "tm": _channels(layers),
        "tile": _tiles(layers),
        "tk": _kernels(layers),
        "ports": shared_out(port_words(part)),
        "mac_bits": _multipliers(layers, part),
    }
    if rounds := _depthwise(layers, part):
        genes["tm"] = genes["tm"][1::2] or genes["tm"]
        genes["tm_dw"] = rounds
    return genes | {name: (value,) for name, value in GENES_ON.items()}


def _channels(layers: Sequence[Layer]) -> tuple[int, ...]:
    widest = min(WIDEST_TM, max((w.outputs for w in layers), default=TM_STEP))
    return tuple(range(TM_STEP, widest + TM_STEP, TM_STEP))


def _tiles(layers: Sequence[Layer]) -> tuple[tuple[int, int], ...]:
    """Sides of tiles: the largest `MOST_TILES` that there is room for."""
    sides = {w.size for w in layers if w.size != (1, 1)} or {(1, 1)}
    rows, columns = max(sides)
    for rounds in ROUNDS:
        sides.add((-(-rows // rounds), -(-columns // rounds)))
    within = [tile for tile in sides if math.prod(tile) <= LARGEST_TILE]
    ordered = sorted(within, key=lambda tile: (-math.prod(tile), tile))
    return tuple(ordered[:MOST_TILES]) or ((64, 64),)


def _kernels(layers: Sequence[Layer]) -> tuple[int, ...]:
    whole = max((max(w.kernel) for w in layers), default=1)
    least = max((max((folded(w) or w).kernel) for w in layers), default=1)
    return (whole,) if least == whole else (whole, least)


def _multipliers(layers: Sequence[Layer], part: Part) -> tuple[int, ...]:
    narrow = any(w.weight_bits <= 8 and w.value_bits <= 8 for w in layers)
    packed = PACKING[part.dsp_kind][8] > PACKING[part.dsp_kind][16]
    return (16, 8) if narrow and packed else (16,)


def _depthwise(layers: Sequence[Layer], part: Part) -> tuple[int, ...]:
    """Channels of the depth-wise engine to choose from; none where no layer is depth-wise."""
    widest = max((w.outputs for w in layers if w.depthwise), default=0)
    if not widest:
        return ()
    first_that_holds_all = next((n for n in DEPTHWISE if n >= widest), DEPTHWISE[-1])
    most = min(first_that_holds_all, part.macs(16) // 2)
    return (0, *(n for n in DEPTHWISE if n <= most))


def shared_out(words: int) -> tuple[tuple[int, int, int], ...]:
    """(weights, inputs, outputs): all ways to share out a bus of so many words, in sixteenths of it.

    >>> shared_out(4)
    ((1, 1, 2), (1, 2, 1), (2, 1, 1))
    """
    step = max(1, words // PORT_PARTS)
    found = []
    for weights in range(step, words, step):
        rest = words - weights
        found += [(weights, inputs, rest - inputs) for inputs in range(step, rest, step)]
    return tuple(found)


def _macs(part: Part, divisor: int) -> dict[int, int]:
    return {bits: part.macs(bits) // divisor for bits in PACKING[part.dsp_kind]}


def _share_that_fits(designs: Designs, works: Sequence[Work], part: Part) -> float:
    return float((runs(designs, works) & fits(used(designs, works, part), part)).mean())
