"""What a user's module is asked: random inputs of the kind that it takes, and some of the data's."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chipfit.core.ports import Port, Ports, says_what_counts, spans
from chipfit.nets.presented import Presented

Floats = NDArray[np.float32]

NORMAL, WIDE, DATA = "normal", "wide", "data"
"""Kinds of inputs: standard normal as normalised data are; `WIDTH` times that; the user's own."""

WIDTH = 16.0
"""Standard deviations of wide inputs: clamps, ReLU6 and casts show on them."""

BYTE = 255
"""The largest whole number of a byte."""

ROWS, FEW, LARGE = 4, 1, 50_000
"""Inputs of each kind; of inputs with more than `LARGE` values only `FEW`."""


def questions(
    module: nn.Module, shape: tuple[int, ...], real: Floats | None, largest: int | None
) -> tuple[Floats, tuple[str, ...]]:
    """Inputs (n, *shape) for a module, and the kind of each.

    `real` are some of the data's; `largest` is the largest whole number of a module that takes such.
    """
    if isinstance(module, Presented) and module.ports:
        return _side_by_side(module, real)
    if largest is None:
        return _values(shape, real)
    return _numbers(shape, real, _ends_by_place(module, shape, real, largest))


def tokens_as_floats(module: nn.Module) -> bool:
    """True for a module that looks numbers up, of a single input that was taken for one of values."""
    alone = not (isinstance(module, Presented) and module.ports)
    return alone and any(isinstance(m, nn.Embedding) for m in module.modules())


def largest_number(module: nn.Module, shape: tuple[int, ...], real: Floats | None = None) -> int:
    """The largest whole number that a module takes: the data's, or one less than the rows of some table in it.

    A module without tables computes with numbers as they are: it is asked bytes. `module` takes floats that hold whole
    numbers.
    """
    if real is not None and real.size:
        return int(real.max())
    if not (ends := _table_ends(module)):
        return BYTE
    for largest in ends:
        if _takes(module, torch.full((1, *shape), float(largest))):
            return largest
    return 0


def _table_ends(module: nn.Module) -> list[int]:
    """The last row of each table, the largest first."""
    return sorted({m.num_embeddings - 1 for m in module.modules() if isinstance(m, nn.Embedding)}, reverse=True)


def _values(shape: tuple[int, ...], real: Floats | None) -> tuple[Floats, tuple[str, ...]]:
    n = FEW if int(np.prod(shape)) > LARGE else ROWS
    drawn = np.random.default_rng(0).standard_normal((2 * n, *shape), np.float32)
    drawn[n:] *= WIDTH
    data = np.empty((0, *shape), np.float32) if real is None else real[:n]
    kinds = (NORMAL,) * n + (WIDE,) * n + (DATA,) * len(data)
    return np.concatenate([drawn, data]).astype(np.float32), kinds


def _takes(module: nn.Module, row: torch.Tensor) -> bool:
    """Whether a module answers to a row at all."""
    with suppress(Exception), torch.no_grad():  # whatever it raises, it does not take that one
        module(row)
        return True
    return False


def _ends_by_place(module: nn.Module, shape: tuple[int, ...], real: Floats | None, largest: int) -> Floats:
    """The largest number to ask at each place: of columns that each have a table of their own, the data's own."""
    everywhere = np.full(shape, float(largest), np.float32)
    return everywhere if real is None or not len(real) else _taken(module, everywhere, real.max(0))


def _taken(module: nn.Module, everywhere: Floats, by_place: Floats) -> Floats:
    """The same ends for all places where the module takes them, else those of each place."""
    return everywhere if _takes(module, torch.from_numpy(everywhere[None])) else by_place


def _numbers(shape: tuple[int, ...], real: Floats | None, ends: Floats) -> tuple[Floats, tuple[str, ...]]:
    """Whole numbers as floats, up to the `ends` of each place."""
    most = ends.astype(np.int64)
    drawn = np.random.default_rng(0).integers(0, most, (ROWS, *shape), endpoint=True).astype(np.float32)
    data = np.empty((0, *shape), np.float32) if real is None else real[:ROWS]
    return np.concatenate([drawn, data]).astype(np.float32), (NORMAL,) * ROWS + (DATA,) * len(data)


def _side_by_side(module: Presented, real: Floats | None) -> tuple[Floats, tuple[str, ...]]:
    """Rows of several inputs; values of those that are no whole numbers are drawn wide too."""
    ports = module.ports
    wide = any(not p.whole for p in ports)
    ends = _ends(module, real)
    n = FEW if sum(p.size for p in ports) > LARGE else ROWS
    rng = np.random.default_rng(0)
    drawn = [_column(rng, port, ends.get(port.name), n, wide) for port in ports]
    rows = np.concatenate(drawn, axis=1)
    data = np.empty((0, rows.shape[1]), np.float32) if real is None else real[:n]
    kinds = (NORMAL,) * n + (WIDE,) * (n if wide else 0) + (DATA,) * len(data)
    return np.concatenate([rows, data]).astype(np.float32), kinds


def _column(rng: np.random.Generator, port: Port, end: Floats | None, n: int, wide: bool) -> Floats:
    """What one input is asked with, a row each: n normal ones, and where there are `wide` ones as many of these.

    Whole numbers go up to `end` of each place.
    """
    count = 2 * n if wide else n
    if end is None:
        values = rng.standard_normal((count, port.size), np.float32)
        values[n:] *= WIDTH
        return values
    numbers = rng.integers(0, end.astype(np.int64), (count, port.size), endpoint=True).astype(np.float32)
    if says_what_counts(port.name):
        numbers[:, :1] = 1
    return numbers


def _ends(module: Presented, real: Floats | None) -> dict[str, Floats]:
    """The largest whole number that each input of such takes at each of its places, by name."""
    ports = module.ports
    if real is None or not real.size:
        found = _ends_of_tables(module)
        return {p.name: np.full(p.size, float(found[p.name]), np.float32) for p in ports if p.whole}
    places = list(zip(ports, spans(ports), strict=True))
    most = real.max(0)
    everywhere = np.concatenate(
        [np.full(p.size, most[a:b].max() if p.whole else 0, np.float32) for p, (a, b) in places]
    )
    ends = _taken(module, everywhere, most)
    return {p.name: ends[a:b] for p, (a, b) in places if p.whole}


def _ends_of_tables(module: Presented) -> dict[str, int]:
    """The largest whole number that each input of such takes, by name, where there are no data to see it in."""
    ports = module.ports
    ends = {p.name: int(says_what_counts(p.name)) for p in ports if p.whole}
    for port in ports:
        if port.whole and not ends[port.name]:
            ends[port.name] = _end_of(module, ports, port, ends)
    return ends


def _end_of(module: Presented, ports: Ports, port: Port, others: dict[str, int]) -> int:
    """The largest number of one input, beside the others' largest that are known, that the module takes."""
    for largest in _table_ends(module):
        ends = others | {port.name: largest}
        row = torch.cat([torch.full((1, p.size), float(ends.get(p.name, 0))) for p in ports], 1)
        if _takes(module, row):
            return largest
    return 0
