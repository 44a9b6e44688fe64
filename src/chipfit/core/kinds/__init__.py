"""What each kind of operator is: one record a kind, from which everything else is asked.

A new kind is a row in the file of its family, what it computes in `nets.execute`, and what formats write of it.
"""

from chipfit.core.kinds.kind import Kind, Shape, Shapes
from chipfit.core.kinds.table import FOLDED_AWAY, KINDS, known, named

__all__ = ["FOLDED_AWAY", "KINDS", "Kind", "Shape", "Shapes", "known", "named"]
