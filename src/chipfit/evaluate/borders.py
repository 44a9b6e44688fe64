"""What stands between kernels: conversions of precision, and maps that leave the kernels' layout."""

from __future__ import annotations

from collections.abc import Sequence

from chipfit.evaluate.kernel import Channels, Kernel, Make, Unit
from chipfit.evaluate.units import UnitMap


def border(units: UnitMap, name: str, p: int, q: int) -> Kernel:
    """The conversion behind operator `name`, with the decisions of its precision and of its readers'.

    Around a max pool, from int8 it stands behind the pool, to int8 before it.
    """
    size = units.graph[name].shape[1:]
    readers = [units.graph[u] for u in units.graph.users[name] if units.precision.get(u) == q]
    pool = next((o for o in readers if o.kind == "max_pool"), None)

    def make(channels: int, _: int, bits: int, to_bits: int) -> Unit | None:
        if bits == to_bits or len(size) != 2:
            return None
        if pool is None:
            return Unit("boundary", channels, channels, size, bits)
        if bits == 8:
            return Unit("boundary", channels, channels, pool.shape[1:], bits)
        return Unit("boundary before a pool", channels, channels, size, bits, "", pool.attrs)

    return _between(units, name, p, q, [o.name for o in readers], make)


def layout(units: UnitMap, name: str, p: int | None, q: int | None, block: int) -> Kernel:
    """What it takes to bring the map of `name` out of the kernels' layout, for convolutions narrower than a block.

    Only from float to float: conversions between precisions change the layout themselves.
    """
    size = units.graph[name].shape[1:]

    def make(channels: int, _: int, bits: int, to_bits: int) -> Unit | None:
        narrow = bits == to_bits == 32 and channels < block
        return Unit("unblocked", channels, channels, size, 32) if narrow else None

    return _between(units, name, p, q, [u for u in units.readers(name) if units.precision.get(u) == q], make)


def _between(units: UnitMap, name: str, p: int | None, q: int | None, readers: Sequence[str], make: Make) -> Kernel:
    """What stands between an operator and these readers, as long as one of them is there."""
    channels = Channels.of(units.coupling.segments[name], units.decision)
    bits = units.graph[name].bits
    return Kernel(make, channels, channels, (p, bits), (q, bits), units.block(readers), frozenset(channels.groups))
