"""Designs of an accelerator as a space: tiles, unrolling, port widths and engines, and all of them in one array.

A convolution engine of Tm x Tn multipliers computes tiles of Tr x Tc positions; a second one of Tm_dw multipliers is
for depth-wise convolutions. Three ports move weights, inputs and outputs, in words of 16 bits a cycle. The channels in,
Tn, are what the part's multipliers leave unless they vary on their own.

A grid holds up to some millions of designs, so that they are columns of integers and never objects.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.protocols import Space
from chipfit.core.types import Candidate, Plain
from chipfit.core.words import shown
from chipfit.space.choices import Choices, Joined

DEFAULTS: Mapping[str, int] = {
    "tm": 0,
    "tn": 0,
    "tr": 0,
    "tc": 0,
    "tk": 0,
    "weight_port": 0,
    "input_port": 0,
    "output_port": 0,
    "tm_dw": 0,
    "mac_bits": 16,
    "unroll": 0,
    "space_to_depth": 0,
}
"""Parameter of a design to what it is where nobody says; 0 is for "must be given" in the first eight.

tm, tn           channels out and in that the engine works on in a cycle
tr, tc           rows and columns of an output tile
tk               largest kernel
*_port           words of 16 bits that a port moves a cycle
tm_dw            channels of the depth-wise engine, 0 for none
mac_bits         bits of the multipliers' factors: 16, 8 or 4
unroll           1: taps of a kernel share out the input lanes that a layer of few channels leaves idle
space_to_depth   1: a strided first layer may read blocks of stride x stride positions as channels
"""

PORTS = ("weight_port", "input_port", "output_port")
TOGETHER: Mapping[str, tuple[str, ...]] = {"ports": PORTS, "tile": ("tr", "tc")}
"""Genes whose values set several parameters at once: widths that share a bus, sides of a tile that fits a map."""
ONE_OF: Mapping[str, tuple[int, ...]] = {"mac_bits": (16, 8, 4), "unroll": (0, 1), "space_to_depth": (0, 1)}
"""What some parameters can be; the others are whole numbers from 1, `tm_dw` from 0."""
MOST = 1_000_000
"""Largest value of a parameter, and with a factor of 20 the most designs of a grid: 1 GB of columns."""

_REQUIRED = tuple(DEFAULTS)[:8]
_ROW = {name: row for row, name in enumerate(DEFAULTS)}

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Designs:
    """Many designs: `columns` is (parameters, designs) int32, rows in the order of `DEFAULTS`."""

    columns: NDArray[np.int32]

    @classmethod
    def of(cls, parameters: Mapping[str, ArrayLike]) -> Designs:
        """Designs from a number or an array (designs,) for each parameter; those left out have their default.

        >>> len(Designs.of({"tm": [64, 76], "tn": 33, "tr": 28, "tc": 28, "tk": 7,
        ...                 "weight_port": 18, "input_port": 10, "output_port": 4}))
        2

        Raises:
            BadInput: an unknown parameter, one that is missing, or a value that it cannot have.
        """
        for name in parameters:
            if name not in DEFAULTS:
                raise _unknown("parameter", name, DEFAULTS)
        arrays = {name: np.atleast_1d(np.asarray(parameters.get(name, value))) for name, value in DEFAULTS.items()}
        for name, values in arrays.items():
            _check(name, values)
        return cls(np.stack(np.broadcast_arrays(*arrays.values())).astype(np.int32))

    def __len__(self) -> int:
        return int(self.columns.shape[1])

    def __getitem__(self, parameter: str) -> NDArray[np.int32]:
        """(designs,) values of a parameter."""
        column: NDArray[np.int32] = self.columns[_ROW[parameter]]
        return column

    def take(self, index: ArrayLike | slice) -> Designs:
        """The designs at these places, or where a mask is true."""
        return Designs(self.columns[:, index])  # type: ignore[index]

    def plain(self, index: int) -> dict[str, int]:
        """One design as name to number, ready for a file."""
        return dict(zip(DEFAULTS, self.columns[:, index].tolist(), strict=True))

    def having(self, **values: int) -> Designs:
        """The designs with some parameters set to one value each."""
        columns = self.columns.copy()
        for name, value in values.items():
            columns[_ROW[name]] = value
        return Designs(columns)

    def __add__(self, other: Designs) -> Designs:
        return Designs(np.concatenate([self.columns, other.columns], axis=1))


def ports(widths: Sequence[int], most: int) -> tuple[tuple[int, int, int], ...]:
    """All (weights, inputs, outputs) of these widths that move `most` words a cycle together, outputs fastest.

    >>> ports((2, 16), 32)
    ((2, 2, 2), (2, 2, 16), (2, 16, 2), (16, 2, 2))
    """
    axes = np.meshgrid(widths, widths, widths, indexing="ij")
    triples = np.stack([a.ravel() for a in axes], axis=1)
    within = triples[triples.sum(axis=1) <= most]
    return tuple((int(w), int(i), int(o)) for w, i, o in within)


@dataclass(frozen=True)
class HardwareSpace:
    """A grid of designs, and a space for strategies whose candidates are valid designs of it.

    `genes`: parameter to its values; `ports` is a gene of triples, in place of the three, and `tile` may be one of
    pairs, in place of `tr` and `tc`. `macs`: bits of the factors to products a cycle of the part; where `tn` is no gene
    it is what Tm and the depth-wise engine leave of them.
    `legal` says of many designs which fit the part; without it all do. A candidate that does not fit becomes the legal
    one whose genes are nearest, the first of equally near ones.

    Raises:
        BadInput: an unknown gene, one that is missing, values that it cannot have, or more designs than memory holds.
    """

    genes: Mapping[str, Sequence[Plain]]
    macs: Mapping[int, int]
    legal: Callable[[Designs], Mask] | None = None

    def __post_init__(self) -> None:
        known = (*(n for n in DEFAULTS if n not in PORTS), *TOGETHER)
        for name in self.genes:
            if name not in known:
                raise _unknown("gene", name, known)
        sides = ("tile",) if "tile" in self.genes else ("tr", "tc")
        for name in ("tm", *sides, "tk", "ports"):
            if name not in self.genes:
                raise BadInput(f"a space of designs needs gene {name!r}; give its values")
        count = int(np.prod(self.choices.upper + 1, dtype=float))
        if count > 20 * MOST:
            raise BadInput(f"the space has {count:,} designs; give fewer values, {20 * MOST:,} designs at most")
        for name, values in self.genes.items():
            given = np.asarray(values)
            for parameter in TOGETHER.get(name, (name,)):
                _check(parameter, given)

    @cached_property
    def choices(self) -> Choices:
        """The product of the genes, valid or not."""
        return Choices(self.genes)

    @property
    def upper(self) -> NDArray[np.int64]:
        """(genes,) index of the last value of each."""
        return self.choices.upper

    def all(self) -> Designs:
        """Every design of the grid that has a channel in, the last gene fastest; whether they fit is not asked."""
        designs, _ = self._grid
        return designs

    @cached_property
    def _grid(self) -> tuple[Designs, NDArray[np.int64]]:
        """The designs with at least one channel in, and (designs,) their places in the product of genes."""
        shape = tuple(len(v) for v in self.genes.values())
        places = np.arange(int(np.prod(shape)))
        columns = self._columns(dict(zip(self.genes, np.unravel_index(places, shape), strict=True)))
        there = columns[_ROW["tn"]] >= 1
        if there.all():
            return Designs(columns), places
        return Designs(columns[:, there]), places[there]

    def _columns(self, index: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int32]:
        """(parameters, designs) of these gene indices, (designs,) each."""
        count = len(next(iter(index.values())))
        columns = np.empty((len(DEFAULTS), count), np.int32)
        for name, default in DEFAULTS.items():
            columns[_ROW[name]] = default
        for name, at in index.items():
            values = np.array(self.genes[name], np.int32)
            if name in TOGETHER:
                for column, parameter in enumerate(TOGETHER[name]):
                    columns[_ROW[parameter]] = values[:, column][at]
            else:
                columns[_ROW[name]] = values[at]
        if "tn" not in self.genes:
            columns[_ROW["tn"]] = self._rest(columns)
        return columns

    def _rest(self, columns: NDArray[np.int32]) -> NDArray[np.int32]:
        """(designs,) channels in for which multipliers are left."""
        macs = np.zeros(columns.shape[1], np.int32)
        for bits, products in self.macs.items():
            macs[columns[_ROW["mac_bits"]] == bits] = products
        left: NDArray[np.int32] = (macs - columns[_ROW["tm_dw"]]) // columns[_ROW["tm"]]
        return left

    @cached_property
    def _legal_genes(self) -> NDArray[np.int64]:
        """(legal designs, genes) indices of all that fit.

        Raises:
            BadInput: none does.
        """
        designs, places = self._grid
        kept = places if self.legal is None else places[self.legal(designs)]
        if not len(kept):
            raise BadInput("no design of the space fits the part; give smaller tiles, narrower ports or a larger part")
        return np.stack(np.unravel_index(kept, tuple(self.upper + 1)), axis=1)

    def sample(self, rng: np.random.Generator) -> Candidate:
        """One of all legal designs, equally likely."""
        return self.choices.decode(self._legal_genes[rng.integers(len(self._legal_genes))])

    def mutate(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        """The design with one gene changed, sometimes more, and then what fits nearest to it."""
        return self.decode(self.choices.encode(self.choices.mutate(candidate, rng)))

    def cross(self, a: Candidate, b: Candidate, rng: np.random.Generator) -> Candidate:
        """Each gene from one of the two, and then what fits nearest to it."""
        return self.decode(self.choices.encode(self.choices.cross(a, b, rng)))

    def encode(self, candidate: Candidate) -> NDArray[np.int64]:
        """(genes,) index of each value.

        Raises:
            BadInput: a gene is missing or has a value that is not offered.
        """
        return self.choices.encode(candidate)

    def decode(self, genes: NDArray[np.int64]) -> Candidate:
        """The legal design nearest to these genes: the least sum of steps over all genes, the first of equals."""
        wanted = np.clip(genes, 0, self.upper)
        steps = np.abs(self._legal_genes - wanted).sum(axis=1)
        return self.choices.decode(self._legal_genes[np.argmin(steps)])

    def designs(self, candidates: Sequence[Candidate]) -> Designs:
        """The candidates as designs, in order."""
        genes = np.stack([self.encode(c) for c in candidates])
        return Designs(self._columns({name: genes[:, i] for i, name in enumerate(self.genes)}))

    def __add__(self, other: Space) -> Joined:
        return Joined((self, other))


def _check(name: str, values: NDArray[Any]) -> None:
    """Refuses what a parameter cannot be."""
    if values.dtype.kind not in "iu":
        raise BadInput(f"parameter {name!r} of a design is {shown(values.ravel()[0].item())}; give a whole number")
    allowed = ONE_OF.get(name)
    if allowed is not None:
        wrong = values[~np.isin(values, allowed)]
        range_ = f"one of {', '.join(map(str, allowed))}"
    else:
        least = 1 if name in _REQUIRED else 0
        wrong = values[(values < least) | (values > MOST)]
        range_ = f"{least} to {MOST}"
    if wrong.size:
        raise BadInput(f"parameter {name!r} of a design is {wrong.ravel()[0]}; give {range_}")


def _unknown(what: str, name: str, known: Collection[str]) -> BadInput:
    return BadInput(f"{what} {name!r} of a design is unknown{did_you_mean(name, known)}; known: {', '.join(known)}")


def _steps(first: int, last: int, step: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1, step))


def coarse(tk: int, port_words: int = 32) -> dict[str, Sequence[Plain]]:
    """Genes of the published exploration: 5,184 designs at 32 words a cycle."""
    return _genes(_steps(10, 220, 30), (32, 64, 256), tk, ports(_steps(2, 18, 4), port_words))


def fine(tk: int, port_words: int = 32) -> dict[str, Sequence[Plain]]:
    """Genes of a fine grid, whose tiles divide maps of 224 pixels evenly: 1,242,864 designs at 32 words a cycle."""
    return _genes(_steps(8, 256, 4), (7, 14, 28, 32, 56, 64), tk, ports(_steps(2, 24, 2), port_words))


def _genes(
    tm: Sequence[Plain], spatial: Sequence[Plain], tk: int, of_ports: Sequence[Plain]
) -> dict[str, Sequence[Plain]]:
    """A grid whose tiles have the same sides to choose from in either direction."""
    return {"tm": tm, "tr": spatial, "tc": spatial, "tk": (tk,), "ports": of_ports}
