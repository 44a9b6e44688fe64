"""Kinds that take a map's places together, each channel on its own.

*_pool      kernel, stride, padding (pairs), ceil (0/1); avg_pool also count_include_pad (0/1)
global_*    keep (0/1): mean (or maximum) over the two spatial axes, which stay as 1 where keep is 1
"""

from __future__ import annotations

from chipfit.core.kinds.kind import Kind

_WINDOW = ("kernel", "stride", "padding", "ceil")

POOLS = (
    Kind("max_pool", "pool", "passes", _WINDOW, moves="some", int8=True),
    Kind("avg_pool", "pool", "passes", (*_WINDOW, "count_include_pad"), hosts=True, int8=True),
)

GLOBAL_POOLS = (
    Kind("global_pool", "global_pool", "passes", ("keep",), hosts=True, int8=True),
    Kind("global_max_pool", "global_pool", "passes", ("keep",)),
)
