"""How the cost of one kernel is measured: as the marginal cost of more of it in a network.

An operator alone costs 1.02 to 2.45 times what it adds to a network (the call, layout changes, lost fusion), while
(n of it - one of it) / (n - 1) is right to a few per cent. What keeps its shape stands in a chain. What changes it
stands n times beside itself on one input, the outputs added up, and the price of the additions is taken off again:
a chain of a→b and its mirror b→a would give both the same price, which they do not have (kernels work on several
output blocks at once, so that widening is cheaper than narrowing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chipfit.core.graph import CHANNELWISE, LAYERS, Attr, Graph, Op, op
from chipfit.core.kernel import Kernel

LONG = 6
"""Kernels in the long network of a pair."""

ABREAST = 4
"""The same where they stand side by side."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to get a kernel's ms from measured graphs: `value(ms of graphs, ms of needed kernels)`."""

    graphs: tuple[Graph, ...]
    needs: tuple[Kernel, ...]
    value: Callable[[Sequence[float], Sequence[float]], float]


def recipe(kernel: Kernel, block: int = 1) -> Recipe:
    """The cheapest sound way to measure a kernel; `block` is what a kernel of its precision works on, in channels."""
    if kernel.kind == "boundary":
        return _boundary(kernel)
    if kernel.kind == "boundary before a pool":
        return _boundary_before_a_pool(kernel, block)
    if kernel.kind == "unblocked":
        return _unblocked(kernel)
    if kernel.kind == "add":
        return _addition(kernel)
    if kernel.kind == "linear":
        return _before_a_tail(kernel)
    if kernel.attr("gate"):
        return _between(kernel, replace(_gate(kernel), kind="global_pool", attrs=(("keep", 1),)))
    if "pool" in kernel.kind:
        return _between(kernel) if kernel.out_size == kernel.size else _pool_beside(kernel)
    if kernel.kind == "conv" and not (kernel.out_size == kernel.size and kernel.cin == kernel.cout):
        return _beside(kernel)
    return _beside(kernel) if reads_unblocked(kernel, block) else _chained(kernel)


def reads_unblocked(kernel: Kernel, block: int) -> bool:
    """True for a convolution of fewer channels than a block: others leave and find maps in the kernels' layout."""
    return kernel.kind == "conv" and kernel.bits == 32 and kernel.attr("groups") == 1 and kernel.cin < block


def _chained(kernel: Kernel) -> Recipe:
    """Marginal cost between a chain of `LONG` and one."""
    graphs = (chain([kernel]), chain([kernel] * LONG))
    return Recipe(graphs, (), lambda ms, _: max((ms[1] - ms[0]) / (LONG - 1), 0.0))


def _addition(kernel: Kernel) -> Recipe:
    """A residual addition is fused into the convolution before it where the runtime can: priced in blocks of two.

    A convolution may not add what it still reads, so a chain in which each adds its own input would not fuse. Nor does
    an addition of the network's input, which is not in the kernels' layout: a convolution stands before the blocks.
    Where a gate ends the block, the addition follows it there too.
    """
    conv, blocks = _square(kernel.cin, kernel.size, kernel.bits), LONG // 2
    end = _gate(kernel) if kernel.attr("behind") == "mul" else replace(conv, act="")
    added = replace(end, act=kernel.act)
    graphs = (chain([conv, *[conv, end] * blocks]), chain([conv, *[conv, added] * blocks], block=2))
    return Recipe(graphs, (), lambda ms, _: max((ms[1] - ms[0]) / blocks, 0.0))


def _between(kernel: Kernel, *made: Kernel) -> Recipe:
    """What keeps its shape, between convolutions: few runtimes keep the kernels' layout in a gate, say.

    `made` are kernels that the timing graph holds besides.
    """
    conv, blocks = _square(kernel.cin, kernel.size, kernel.bits), LONG // 2
    graphs = (chain([conv] * (blocks + 1)), chain([conv, *[kernel, conv] * blocks]))
    return Recipe(graphs, made, lambda ms, needs: max((ms[1] - ms[0]) / blocks - sum(needs), 0.0))


def _gate(kernel: Kernel) -> Kernel:
    return Kernel("mul", kernel.cin, kernel.cin, kernel.size, kernel.bits, "", (("gate", 1),))


def _boundary(kernel: Kernel) -> Recipe:
    """int8 → float and back: what alternating convolutions cost beyond those of each precision. Both ways together."""
    low, high = (_square(kernel.cin, kernel.size, b) for b in (8, 32))
    graphs = (chain([low, high]), chain([low, high] * (LONG // 2)))
    steps = LONG // 2 - 1
    return Recipe(graphs, (low, high), lambda ms, needs: max((ms[1] - ms[0]) / steps - sum(needs), 0.0))


def _boundary_before_a_pool(kernel: Kernel, block: int) -> Recipe:
    """Float → int8 where a max pool follows, beyond that pool in int8.

    Runtimes quantise before the pool: more values, and the pool runs in the layout of float kernels, where it is slow.
    """
    size = replace(kernel, kind="max_pool").out_size
    wide, narrow = _square(kernel.cin, kernel.size, 32), {b: _square(kernel.cin, size, b) for b in (32, 8)}
    pool = {b: replace(kernel, kind="max_pool", bits=b) for b in (32, 8)}
    graphs = (chain([wide, pool[32], narrow[32]]), chain([wide, pool[8], narrow[8]]))
    back = Kernel("boundary", kernel.cin, kernel.cin, size, 8)
    unblocked = [Kernel("unblocked", kernel.cin, kernel.cin, size, 32)] if reads_unblocked(narrow[32], block) else []
    needs = (narrow[8], pool[8], back, narrow[32], pool[32], *unblocked)

    def value(ms: Sequence[float], prices: Sequence[float]) -> float:
        conv8, pool8, both_ways, *in_float = prices
        return max(ms[1] - ms[0] + sum(in_float) - conv8 - pool8 - both_ways / 2, 0.0)

    return Recipe(graphs, needs, value)


def _before_a_tail(kernel: Kernel) -> Recipe:
    """A dense layer is small and unlike its mirror: a network of it and a narrow one against the narrow one.

    On rows the narrow one is float, as norms, additions and activations behind such layers are: what an int8 layer
    takes holds the quantisation of what it reads, and none of what it makes.
    """
    bits = 32 if kernel.attr("rows") else kernel.bits
    tail = replace(kernel, cin=kernel.cout, cout=8, act="", bits=bits)
    return Recipe((chain([tail]), chain([kernel, tail])), (), lambda ms, _: max(ms[1] - ms[0], 0.0))


def _beside(kernel: Kernel) -> Recipe:
    """All copies read one input: what it costs to lay it out for them is not in the price. The additions fuse."""
    needs = (Kernel("add", kernel.cout, kernel.cout, kernel.out_size, kernel.bits),)
    return Recipe((beside([kernel], 1), beside([kernel], ABREAST)), needs, _one_of_those_abreast)


def _pool_beside(kernel: Kernel) -> Recipe:
    """Each pool stands behind a convolution of its own: runtimes compute equal pools of one map once."""
    conv = _square(kernel.cin, kernel.size, kernel.bits)
    needs = (conv, Kernel("sum", kernel.cout, kernel.cout, kernel.out_size, kernel.bits))
    return Recipe((beside([conv, kernel], 1), beside([conv, kernel], ABREAST)), needs, _one_of_those_abreast)


def _one_of_those_abreast(ms: Sequence[float], needs: Sequence[float]) -> float:
    return max((ms[1] - ms[0]) / (ABREAST - 1) - sum(needs), 0.0)


def _unblocked(kernel: Kernel) -> Recipe:
    """Bringing a map out of the kernels' layout for a convolution of fewer channels than a block.

    In a chain every one of them pays for it, side by side none does.
    """
    conv = _square(kernel.cin, kernel.size, kernel.bits)
    graphs = (chain([conv]), chain([conv] * LONG), beside([conv], 1), beside([conv], ABREAST))
    needs = (Kernel("add", kernel.cin, kernel.cin, kernel.size, kernel.bits),)

    def value(ms: Sequence[float], adds: Sequence[float]) -> float:
        chained, alone = (ms[1] - ms[0]) / (LONG - 1), (ms[3] - ms[2]) / (ABREAST - 1) - sum(adds)
        return max(chained - alone, 0.0)

    return Recipe(graphs, needs, value)


def _square(width: int, size: tuple[int, ...], bits: int) -> Kernel:
    """The lightest convolution that keeps a map's shape: differences drown in the noise of what stands around."""
    one = (1, 1)
    attrs: dict[str, Attr] = {"dilation": one, "groups": 1, "kernel": one, "padding": (0, 0), "stride": one}
    return Kernel("conv", width, width, size, bits, "relu", tuple(attrs.items()))


def _shape(kernel: Kernel, channels: int, size: tuple[int, ...]) -> tuple[int, ...]:
    """Of what the kernel reads or makes; a dense layer on rows has its channels last."""
    rows = kernel.attr("rows")
    return (int(rows), channels) if rows else (channels, *size)


class _Writer:
    """Appends operators to a timing graph."""

    def __init__(self, first: Kernel) -> None:
        self.ops: list[Op] = [op("input", "input", (), _shape(first, first.cin, first.size))]

    def put(self, kind: str, inputs: tuple[str, ...], shape: tuple[int, ...], bits: int, **attrs: object) -> str:
        name = f"{kind}{len(self.ops)}"
        weights = name if kind in LAYERS | CHANNELWISE else ""
        self.ops.append(op(name, kind, inputs, shape, weights, bits, **attrs))  # type: ignore[arg-type]
        return name

    def kernel(self, kernel: Kernel, source: str, residual: str = "") -> str:
        attrs = dict(kernel.attrs)
        if kernel.kind in ("conv", "linear"):
            attrs["bias"] = 1
        attrs.pop("rows", 0)
        if attrs.get("groups") == "dw":
            attrs["groups"] = kernel.cin
        shape = _shape(kernel, kernel.cout, kernel.out_size)
        kind = "add" if kernel.kind == "sum" else kernel.kind
        other = {"sum": "input", "mul": source, "sub": source}.get(kernel.kind)
        if attrs.pop("gate", 0):
            other = self.put("global_pool", (source,), (kernel.cout, 1, 1), kernel.bits, keep=1)
        inputs = (source,) if other is None else (source, other)
        name = self.put(kind, inputs, shape, kernel.bits, **attrs)
        if residual:
            name = self.put("add", (name, residual), shape, kernel.bits)
        return self.put(kernel.act, (name,), shape, kernel.bits) if kernel.act else name

    def done(self, last: str) -> Graph:
        """Ends in a mean where there is a map, so that the size of the answer does not count.

        It is int8 where all else is, for devices that have no other precision.
        """
        shape = next(o.shape for o in self.ops if o.name == last)
        if len(shape) == 3:
            bits = 8 if all(o.bits == 8 for o in self.ops[1:]) else 32
            last = self.put("global_pool", (last,), (shape[0],), bits, keep=0)
        return Graph(tuple(self.ops), last)


def chain(kernels: Sequence[Kernel], block: int = 0) -> Graph:
    """Kernels one behind the other; with `block`, the input of every so many after the first is added at their end."""
    w = _Writer(kernels[0])
    last = start = w.kernel(kernels[0], "input")
    for n, u in enumerate(kernels[1:], 1):
        if block and n % block == 0:
            last = start = w.kernel(u, last, residual=start)
        else:
            last = w.kernel(u, last)
    return w.done(last)


def beside(kernels: Sequence[Kernel], n: int) -> Graph:
    """`n` copies of a chain of kernels on one input, their outputs added up."""
    w = _Writer(kernels[0])
    total = ""
    for _ in range(n):
        last = "input"
        for u in kernels[:-1]:
            last = w.kernel(u, last)
        total = w.kernel(kernels[-1], last, residual=total)
    return w.done(total)
