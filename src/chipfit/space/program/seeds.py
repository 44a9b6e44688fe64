"""The programs that a search starts from: what people put in place of convolutions, never random ones.

Measured on ONNX Runtime, the two first do most of the work: depth-wise and 1x1 where maps are large and channels few,
a column and a row of half rank elsewhere; Tucker of a quarter on layers with many channels. One row of a kernel alone
was found by evolution, with less error than a depth-wise kernel at 16 channels.
"""

from __future__ import annotations

from math import prod
from typing import Final

from chipfit.core.op import Op
from chipfit.space.program.lower import alone, fits, lowered
from chipfit.space.program.place import Place
from chipfit.space.program.program import Program, parse

SEPARABLE: Final = parse("dwconv(x, KxK); pwconv(_, M)")
LOW_RANK: Final = parse("conv(x, Kx1, M/2); conv(_, 1xK, M)")
SAME_CONVOLUTION: Final = parse("conv(x, KxK, M)")
SAME_LINEAR: Final = parse("linear(x, M)")

TUCKER: Final = parse("pwconv(x, C/4); conv(_, KxK, M/4); pwconv(_, M)")

USUAL: Final = (SEPARABLE, LOW_RANK, TUCKER)
"""Those that are worth pricing wherever nobody searches."""

CONVOLUTION_SEEDS: Final[tuple[Program, ...]] = (
    *USUAL,
    *map(
        parse,
        (
            "pwconv(x, C/2); conv(_, KxK, M/2); pwconv(_, M)",
            "pwconv(x, C/8); conv(_, KxK, M/8); pwconv(_, M)",
            "conv(x, Kx1, M/4); conv(_, 1xK, M)",
            "conv(x, Kx1, M); conv(_, 1xK, M)",
            "conv(x, 1xK, M)",
            "conv(x, Kx1, M)",
            "conv(x, KxK, M/2); pwconv(_, M)",
            "pwconv(x, M); dwconv(_, KxK)",
            "pwconv(x, M/2); dwconv(_, KxK); concat(v1, _)",
            "gconv(x, KxK, M, 2)",
            "gconv(x, KxK, M, 4)",
            "gconv(x, KxK, M, 8)",
            "gconv(x, KxK, M, 2); pwconv(_, M)",
            "gconv(x, KxK, M, 4); pwconv(_, M)",
            "gconv(x, KxK, M, 8); pwconv(_, M)",
            "gconv(x, KxK, M, 4); shuffle(_, 4); gconv(_, 1x1, M, 4)",
            "shift(x); pwconv(_, M)",
            "pool(x, avg, KxK); pwconv(_, M)",
            "pwconv(x, M)",
            "down(x, 2); conv(_, KxK, M); up(_)",
        ),
    ),
)
"""For convolutions."""

LINEAR_USUAL: Final = (parse("linear(x, M/4); linear(_, M)"), parse("linear(x, C/4); linear(_, M)"))
"""The same of dense layers: a quarter of the features that it makes, or of those that it reads."""

LINEAR_SEEDS: Final[tuple[Program, ...]] = (
    *LINEAR_USUAL,
    parse("linear(x, M/2); linear(_, M)"),
    parse("linear(x, C/2); linear(_, M)"),
    parse("linear(x, M/4); linear(x, M/4); sigmoid(_); mul(v1, _); linear(_, M)"),
)
"""For dense layers."""

POINTWISE_USUAL: Final = (parse("pwconv(x, M/4); pwconv(_, M)"), parse("pwconv(x, C/4); pwconv(_, M)"))
"""The same of 1x1 convolutions."""

POINTWISE_SEEDS: Final[tuple[Program, ...]] = (
    *POINTWISE_USUAL,
    parse("pwconv(x, M/2); pwconv(_, M)"),
    parse("pwconv(x, C/2); pwconv(_, M)"),
    parse("gconv(x, 1x1, M, 2)"),
    parse("gconv(x, 1x1, M, 4); shuffle(_, 4); gconv(_, 1x1, M, 4)"),
)
"""For 1x1 convolutions."""

SEEDS: Final[tuple[Program, ...]] = tuple(dict.fromkeys((*CONVOLUTION_SEEDS, *LINEAR_SEEDS, *POINTWISE_SEEDS)))
"""All of them."""

NORMED: Final[tuple[Program, ...]] = (
    parse("dwconv(x, KxK); norm(_); pwconv(_, M)"),
    parse("conv(x, Kx1, M/2); norm(_); conv(_, 1xK, M)"),
)
"""The two that matter most, with a norm between the factors: the same function and, once folded, the same cost, but
another road for training.
"""


def same(place: Place) -> Program:
    """The program that is the layer itself; of a grouped convolution, it without groups."""
    return SAME_CONVOLUTION if place.kind == "conv" else SAME_LINEAR


def seeds(place: Place) -> tuple[Program, ...]:
    """The seed programs that fit a place, the most promising first: different operators each, with fewer products.

    The layer itself is not among them.
    """
    found: dict[tuple[Op, ...], Program] = {}
    for program in _known(place.kind, place.kernel)[1]:
        if fits(program, place) and alone(program, place).total_macs < place.macs:
            found.setdefault(lowered(program, place).ops, program)
    return tuple(found.values())


def usual(kind: str, kernel: tuple[int, int]) -> tuple[Program, ...]:
    """Those that are worth pricing for a layer wherever nobody searches."""
    return _known(kind, kernel)[0]


def _known(kind: str, kernel: tuple[int, int]) -> tuple[tuple[Program, ...], tuple[Program, ...]]:
    """The usual programs and all seeds for a layer of a kind."""
    if kind == "linear":
        return LINEAR_USUAL, LINEAR_SEEDS
    if prod(kernel) == 1:
        return POINTWISE_USUAL, POINTWISE_SEEDS
    return USUAL, CONVOLUTION_SEEDS
