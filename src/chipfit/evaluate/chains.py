"""How the cost of one unit is measured: as the marginal cost of more of it in a network.

An operator alone costs 1.02 to 2.45 times what it adds to a network (the call, layout changes, lost fusion), while
(n of it - one of it) / (n - 1) is right to a few per cent. What keeps its shape stands in a chain. What changes it
stands n times beside itself on one input, the outputs added up, and the price of the additions is taken off again:
a chain of a→b and its mirror b→a would give both the same price, which they do not have (kernels work on several
output blocks at once, so that widening is cheaper than narrowing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chipfit.core.graph import Attr, Graph, Op, op
from chipfit.evaluate.kernel import Unit

LONG = 6
"""Units in the long network of a pair."""

ABREAST = 4
"""The same where they stand side by side."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to get a unit's ms from measured graphs: `value(ms of graphs, ms of needed units)`."""

    graphs: tuple[Graph, ...]
    needs: tuple[Unit, ...]
    value: Callable[[Sequence[float], Sequence[float]], float]


def recipe(unit: Unit, block: int = 1) -> Recipe:
    """The cheapest sound way to measure a unit; `block` is what a kernel of its precision works on, in channels."""
    if unit.kind == "boundary":
        return _boundary(unit)
    if unit.kind == "boundary before a pool":
        return _boundary_before_a_pool(unit, block)
    if unit.kind == "unblocked":
        return _unblocked(unit)
    if unit.kind == "add":
        return _addition(unit)
    if unit.kind == "linear":
        return _before_a_tail(unit)
    if unit.attr("gate"):
        return _between(unit, replace(_gate(unit), kind="global_pool", attrs=(("keep", 1),)))
    if "pool" in unit.kind:
        return _between(unit) if unit.out_size == unit.size else _pool_beside(unit)
    if unit.kind == "conv" and not (unit.out_size == unit.size and unit.cin == unit.cout):
        return _beside(unit)
    return _beside(unit) if reads_unblocked(unit, block) else _chained(unit)


def reads_unblocked(unit: Unit, block: int) -> bool:
    """True for a convolution of fewer channels than a block: others leave and find maps in the kernels' layout."""
    return unit.kind == "conv" and unit.bits == 32 and unit.attr("groups") == 1 and unit.cin < block


def _chained(unit: Unit) -> Recipe:
    """Marginal cost between a chain of `LONG` and one."""
    graphs = (chain([unit]), chain([unit] * LONG))
    return Recipe(graphs, (), lambda ms, _: max((ms[1] - ms[0]) / (LONG - 1), 0.0))


def _addition(unit: Unit) -> Recipe:
    """A residual addition is fused into the convolution before it where the runtime can: priced in blocks of two.

    A convolution may not add what it still reads, so a chain in which each adds its own input would not fuse. Nor does
    an addition of the network's input, which is not in the kernels' layout: a convolution stands before the blocks.
    Where a gate ends the block, the addition follows it there too.
    """
    conv, blocks = _square(unit.cin, unit.size, unit.bits), LONG // 2
    end = _gate(unit) if unit.attr("behind") == "mul" else replace(conv, act="")
    added = replace(end, act=unit.act)
    graphs = (chain([conv, *[conv, end] * blocks]), chain([conv, *[conv, added] * blocks], block=2))
    return Recipe(graphs, (), lambda ms, _: max((ms[1] - ms[0]) / blocks, 0.0))


def _between(unit: Unit, *made: Unit) -> Recipe:
    """What keeps its shape, between convolutions: few runtimes keep the kernels' layout in a gate, say.

    `made` are units that the timing graph holds besides.
    """
    conv, blocks = _square(unit.cin, unit.size, unit.bits), LONG // 2
    graphs = (chain([conv] * (blocks + 1)), chain([conv, *[unit, conv] * blocks]))
    return Recipe(graphs, made, lambda ms, needs: max((ms[1] - ms[0]) / blocks - sum(needs), 0.0))


def _gate(unit: Unit) -> Unit:
    return Unit("mul", unit.cin, unit.cin, unit.size, unit.bits, "", (("gate", 1),))


def _boundary(unit: Unit) -> Recipe:
    """int8 → float and back: what alternating convolutions cost beyond those of each precision. Both ways together."""
    low, high = (_square(unit.cin, unit.size, b) for b in (8, 32))
    graphs = (chain([low, high]), chain([low, high] * (LONG // 2)))
    steps = LONG // 2 - 1
    return Recipe(graphs, (low, high), lambda ms, needs: max((ms[1] - ms[0]) / steps - sum(needs), 0.0))


def _boundary_before_a_pool(unit: Unit, block: int) -> Recipe:
    """Float → int8 where a max pool follows, beyond that pool in int8.

    Runtimes quantise before the pool: more values, and the pool runs in the layout of float kernels, where it is slow.
    """
    size = replace(unit, kind="max_pool").out_size
    wide, narrow = _square(unit.cin, unit.size, 32), {b: _square(unit.cin, size, b) for b in (32, 8)}
    pool = {b: replace(unit, kind="max_pool", bits=b) for b in (32, 8)}
    graphs = (chain([wide, pool[32], narrow[32]]), chain([wide, pool[8], narrow[8]]))
    back = Unit("boundary", unit.cin, unit.cin, size, 8)
    unblocked = [Unit("unblocked", unit.cin, unit.cin, size, 32)] if reads_unblocked(narrow[32], block) else []
    needs = (narrow[8], pool[8], back, narrow[32], pool[32], *unblocked)

    def value(ms: Sequence[float], prices: Sequence[float]) -> float:
        conv8, pool8, both_ways, *in_float = prices
        return max(ms[1] - ms[0] + sum(in_float) - conv8 - pool8 - both_ways / 2, 0.0)

    return Recipe(graphs, needs, value)


def _before_a_tail(unit: Unit) -> Recipe:
    """A dense layer is small and unlike its mirror: a network of it and a narrow one against the narrow one."""
    tail = replace(unit, cin=unit.cout, cout=8, act="")
    return Recipe((chain([tail]), chain([unit, tail])), (), lambda ms, _: max(ms[1] - ms[0], 0.0))


def _beside(unit: Unit) -> Recipe:
    """All copies read one input: what it costs to lay it out for them is not in the price. The additions fuse."""
    needs = (Unit("add", unit.cout, unit.cout, unit.out_size, unit.bits),)
    return Recipe((beside([unit], 1), beside([unit], ABREAST)), needs, _one_of_those_abreast)


def _pool_beside(unit: Unit) -> Recipe:
    """Each pool stands behind a convolution of its own: runtimes compute equal pools of one map once."""
    conv = _square(unit.cin, unit.size, unit.bits)
    needs = (conv, Unit("sum", unit.cout, unit.cout, unit.out_size, unit.bits))
    return Recipe((beside([conv, unit], 1), beside([conv, unit], ABREAST)), needs, _one_of_those_abreast)


def _one_of_those_abreast(ms: Sequence[float], needs: Sequence[float]) -> float:
    return max((ms[1] - ms[0]) / (ABREAST - 1) - sum(needs), 0.0)


def _unblocked(unit: Unit) -> Recipe:
    """Bringing a map out of the kernels' layout for a convolution of fewer channels than a block.

    In a chain every one of them pays for it, side by side none does.
    """
    conv = _square(unit.cin, unit.size, unit.bits)
    graphs = (chain([conv]), chain([conv] * LONG), beside([conv], 1), beside([conv], ABREAST))
    needs = (Unit("add", unit.cin, unit.cin, unit.size, unit.bits),)

    def value(ms: Sequence[float], adds: Sequence[float]) -> float:
        chained, alone = (ms[1] - ms[0]) / (LONG - 1), (ms[3] - ms[2]) / (ABREAST - 1) - sum(adds)
        return max(chained - alone, 0.0)

    return Recipe(graphs, needs, value)


def _square(width: int, size: tuple[int, ...], bits: int) -> Unit:
    """The lightest convolution that keeps a map's shape: differences drown in the noise of what stands around."""
    one = (1, 1)
    attrs: dict[str, Attr] = {"dilation": one, "groups": 1, "kernel": one, "padding": (0, 0), "stride": one}
    return Unit("conv", width, width, size, bits, "relu", tuple(attrs.items()))


def _shape(unit: Unit, channels: int, size: tuple[int, ...]) -> tuple[int, ...]:
    """Of what the unit reads or makes; a dense layer on rows has its channels last."""
    rows = unit.attr("rows")
    return (int(rows), channels) if rows else (channels, *size)


class _Writer:
    """Appends operators to a timing graph."""

    def __init__(self, first: Unit) -> None:
        self.ops: list[Op] = [op("input", "input", (), _shape(first, first.cin, first.size))]

    def put(self, kind: str, inputs: tuple[str, ...], shape: tuple[int, ...], bits: int, **attrs: object) -> str:
        name = f"{kind}{len(self.ops)}"
        weights = name if kind in ("conv", "linear") else ""
        self.ops.append(op(name, kind, inputs, shape, weights, bits, **attrs))  # type: ignore[arg-type]
        return name

    def unit(self, unit: Unit, source: str, residual: str = "") -> str:
        attrs = dict(unit.attrs)
        if unit.kind in ("conv", "linear"):
            attrs["bias"] = 1
        attrs.pop("rows", 0)
        if attrs.get("groups") == "dw":
            attrs["groups"] = unit.cin
        shape = _shape(unit, unit.cout, unit.out_size)
        kind = "add" if unit.kind == "sum" else unit.kind
        other = {"sum": "input", "mul": source, "sub": source}.get(unit.kind)
        if attrs.pop("gate", 0):
            other = self.put("global_pool", (source,), (unit.cout, 1, 1), unit.bits, keep=1)
        inputs = (source,) if other is None else (source, other)
        name = self.put(kind, inputs, shape, unit.bits, **attrs)
        if residual:
            name = self.put("add", (name, residual), shape, unit.bits)
        return self.put(unit.act, (name,), shape, unit.bits) if unit.act else name

    def done(self, last: str) -> Graph:
        """Ends in a mean where there is a map, so that the size of the answer does not count.

        It is int8 where all else is, for devices that have no other precision.
        """
        shape = next(o.shape for o in self.ops if o.name == last)
        if len(shape) == 3:
            bits = 8 if all(o.bits == 8 for o in self.ops[1:]) else 32
            last = self.put("global_pool", (last,), (shape[0],), bits, keep=0)
        return Graph(tuple(self.ops), last)


def chain(units: Sequence[Unit], block: int = 0) -> Graph:
    """Units one behind the other; with `block`, the input of every so many after the first is added to their output."""
    w = _Writer(units[0])
    last = start = w.unit(units[0], "input")
    for n, u in enumerate(units[1:], 1):
        if block and n % block == 0:
            last = start = w.unit(u, last, residual=start)
        else:
            last = w.unit(u, last)
    return w.done(last)


def beside(units: Sequence[Unit], n: int) -> Graph:
    """`n` copies of a chain of units on one input, their outputs added up."""
    w = _Writer(units[0])
    total = ""
    for _ in range(n):
        last = "input"
        for u in units[:-1]:
            last = w.unit(u, last)
        total = w.unit(units[-1], last, residual=total)
    return w.done(total)
