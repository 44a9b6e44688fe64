"""Which widths of a group are offered.

Kernels work on blocks of channels, so that widths are multiples of a block. What stands within another group, or has
one within it, is counted where it is made: a head, or a group of a grouped convolution, is as many channels as it is
wide, and may be given up alone; a channel of every one of them is as many as there are.
"""

from __future__ import annotations

from math import ceil, gcd

from chipfit.space.groups import ChannelGroup

PARTS = 8
"""Widths of channels of each head or group, and of a stream: so many at most, one more than enough to see where harm
begins. A stream stands in the table of nearly every layer."""


def offered_widths(g: ChannelGroup, step: int) -> list[int]:
    """Full width first, then every smaller multiple of what goes at once."""
    unit = at_once(g, step)
    return [g.size, *range((g.size - 1) // unit * unit, 0, -unit)]


def narrows(g: ChannelGroup, step: int) -> bool:
    """Whether there is a smaller width than all of it."""
    return len(offered_widths(g, step)) > 1


def at_once(g: ChannelGroup, step: int) -> int:
    """How many channels of a group go together for a kernel block of `step`.

    >>> heads = ChannelGroup("qkv/0", 12, ("qkv",), ((),), (), (), outer=3, inner=64)
    >>> width = ChannelGroup("qkv/1", 64, ("qkv",), ((),), (), (), outer=36)
    >>> at_once(heads, 8), at_once(width, 8)
    (1, 8)
    """
    if g.inner > 1:
        return max(1, ceil(step / g.inner))
    if g.norms:
        return step * ceil(g.size / PARTS / step)
    if g.outer == 1:
        return step
    if g.size < 2 * step < g.outer:  # of many narrow groups whole ones are given up, which leaves kernels their blocks
        return step
    block = step // gcd(step, g.outer)
    return block * ceil(g.size / PARTS / block)
