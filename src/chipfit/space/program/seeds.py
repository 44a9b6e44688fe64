"""The programs that a search starts from: what people put in place of convolutions, never random ones.

Measured on ONNX Runtime, the two first do most of the work: depth-wise and 1x1 where maps are large and channels few,
a column and a row of half rank elsewhere.
"""

from __future__ import annotations

from typing import Final

from chipfit.space.program.program import Program, parse

SEPARABLE: Final = parse("dwconv(x, KxK); pwconv(_, M)")
LOW_RANK: Final = parse("conv(x, Kx1, M/2); conv(_, 1xK, M)")

CONVOLUTION_SEEDS: Final[tuple[Program, ...]] = (SEPARABLE, LOW_RANK)
"""For convolutions."""
