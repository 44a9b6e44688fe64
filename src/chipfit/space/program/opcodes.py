"""Every opcode by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chipfit.space.program.convolutions import CONVOLUTIONS
from chipfit.space.program.opcode import Opcode

_ROWS = (*CONVOLUTIONS,)

OPCODES: Final[Mapping[str, Opcode]] = {row.name: row for row in _ROWS}
"""Every opcode that programs are made of."""
