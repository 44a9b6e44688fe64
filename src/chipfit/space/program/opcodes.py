"""Every opcode by its name, and the two sets that searches draw from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chipfit.space.program.channels import CHANNELS
from chipfit.space.program.convolutions import CONVOLUTIONS
from chipfit.space.program.opcode import Opcode
from chipfit.space.program.pointwise import POINTWISE
from chipfit.space.program.products import PRODUCTS
from chipfit.space.program.published import PUBLISHED, WHOLE
from chipfit.space.program.sizes import SIZES

_ROWS = (*CONVOLUTIONS, *CHANNELS, *SIZES, *POINTWISE, *PRODUCTS, *WHOLE)

OPCODES: Final[Mapping[str, Opcode]] = {row.name: row for row in _ROWS}
"""Every opcode that programs are made of."""

FAITHFUL: Final = tuple(dict.fromkeys(PUBLISHED.values()))
"""The 30 published instructions, per input."""

_ODD = frozenset({"abs", "sin", "cos", "tan", "log", "exp", "sqrt", "power", "div", "sub"})

EXTENDED: Final = (
    *(row.name for row in (*CONVOLUTIONS, *CHANNELS, *SIZES, *PRODUCTS)),
    *(row.name for row in POINTWISE if row.name not in _ODD),
)
"""What the evolution of programs draws from: without functions that no chip is fast at, and no sums over everything."""
