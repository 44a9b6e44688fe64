"""Rules of pools, whole and windowed, and of means and maxima over the spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from chipfit.core.graph import Op
from chipfit.nets.rules.call import Call, part_name, shape_of
from chipfit.nets.rules.constants import Constant
from chipfit.nets.rules.reductions import reduced
from chipfit.nets.rules.sources import scaled, source
from chipfit.nets.rules.tracer import Rule, Tracer


def max_pool(t: Tracer, call: Call) -> None:
    """Maximum over windows, without dilation; the values alone where indices are made too."""
    window, ceil = _window(call), int(call.take("ceil_mode"))
    if call.pair("dilation", 1) != (1, 1):
        call.refuse(f"with dilation={call.values['dilation']}")
    t.put(call, "max_pool", (t.value(call),), **window, ceil=ceil)
    t.parts[call.node.name] = [t.known[call.node.name]]


def avg_pool(t: Tracer, call: Call) -> None:
    """Mean over windows; where the sum is divided by another number, the mean over whole windows, scaled."""
    window, ceil = _window(call), int(call.take("ceil_mode"))
    count, divisor = int(call.take("count_include_pad")), call.take("divisor_override")
    if divisor is not None and ceil:  # a window that hangs over has fewer values than its area
        call.refuse(f"with ceil_mode and divisor_override={divisor}")
    name = t.put(
        call, "avg_pool", (t.value(call),), **window, ceil=ceil, count_include_pad=count if divisor is None else 1
    )
    if divisor is not None:
        t.known[call.node.name] = scaled(t, call, name, prod(window["kernel"]) / divisor)


def _window(call: Call) -> dict[str, Any]:
    if len(shape_of(call.node_of("self"))) != 4:
        call.refuse(f"on {shape_of(call.node_of('self'))[1:]}, which takes the batch axis for channels,")
    kernel = call.pair("kernel_size")
    stride = call.pair("stride") if call.values["stride"] else kernel
    call.take("stride")
    return {"kernel": kernel, "stride": stride, "padding": call.pair("padding")}


def adaptive(kind: str) -> Rule:
    """The rule of a pool to a size: to 1x1, to the size that is there, to one that divides it, or a mean to any."""
    whole = "global_pool" if kind == "avg_pool" else "global_max_pool"

    def rule(t: Tracer, call: Call) -> None:
        call.ignore("output_size")
        x, size, wanted = t.value(call), shape_of(call.node_of("self"))[2:], call.shape[2:]
        shape = (*t.shapes[x][:-2], *wanted)
        if len(t.shapes[x]) != 3:
            call.refuse(f"on {t.shapes[x]}, which takes the batch axis for channels,")
        if wanted == size:
            made = x
        elif wanted == (1, 1):
            made = t.add(t.wish(call, whole), whole, (x,), shape, keep=1)
        elif not any(n % m for n, m in zip(size, wanted, strict=True)):
            made = t.add(t.wish(call, kind), kind, (x,), shape, **_dividing(kind, size, wanted))
        elif kind == "avg_pool":
            made = _averaged(t, call, x, size, wanted)
        else:
            call.refuse(f"(adaptive max pool) from {size} to {wanted}, which does not divide it,")
        t.known[call.node.name] = made
        t.parts[call.node.name] = [made]

    return rule


def _dividing(kind: str, size: Sequence[int], wanted: Sequence[int]) -> dict[str, Any]:
    step = tuple(n // m for n, m in zip(size, wanted, strict=True))
    extra = {"count_include_pad": 1} if kind == "avg_pool" else {}
    return {"kernel": step, "stride": step, "padding": (0, 0), "ceil": 0, **extra}


def _averaged(t: Tracer, call: Call, x: str, size: Sequence[int], wanted: Sequence[int]) -> str:
    """Means over windows that overlap, as a product with a matrix along each axis: columns, then rows."""
    channels, height, _ = t.shapes[x]
    if wanted[1] != size[1]:
        columns = _windows(t, call, size[1], wanted[1], turned=True)
        x = t.add(part_name(call, "columns"), "matmul", (x, columns), (channels, height, wanted[1]))
    if wanted[0] != size[0]:
        rows = _windows(t, call, size[0], wanted[0], turned=False)
        x = t.add(part_name(call, "rows"), "matmul", (rows, x), (channels, wanted[0], wanted[1]))
    return x


def _windows(t: Tracer, call: Call, size: int, wanted: int, turned: bool) -> str:
    """A row for each mean: 1/n at the n places that it takes, from floor(i s/w) to ceil((i + 1) s/w)."""
    matrix = torch.zeros(wanted, size)
    for i in range(wanted):
        start, stop = i * size // wanted, -(-(i + 1) * size // wanted)
        matrix[i, start:stop] = 1 / (stop - start)
    matrix = matrix.t().contiguous() if turned else matrix
    return source(t, call, Constant(matrix, "windows"), (1, *matrix.shape))


def mean(t: Tracer, call: Call) -> None:
    """Mean over some axes; of a map over both spatial ones it is a pool."""
    _reduced(t, call, "global_pool", "reduce_mean")


def maximum(t: Tracer, call: Call) -> None:
    """Maximum over some axes; of a map over both spatial ones it is a pool."""
    _reduced(t, call, "global_max_pool", "reduce_max")


def _reduced(t: Tracer, call: Call, kind: str, general: str) -> None:
    """A whole pool where both spatial axes go, at once or one after the other, else a reduction of its own kind."""
    name = reduced(t, call, general, t.value(call))
    o = t.ops[-1]
    origin, axes = _together(t, o)
    if axes == {1, 2} and len(t.shapes[origin]) == 3:
        del t.ops[-1]
        name = t.add(t.wish(call, kind), kind, (origin,), o.shape, keep=o["keep"])
    t.known[call.node.name] = name


def _together(t: Tracer, o: Op) -> tuple[str, set[int]]:
    """What is reduced, and over which of its axes, a reduction of a map before it counted in."""
    own: set[int] = set(o["axes"])
    before = next(made for made in t.ops if made.name == o.inputs[0])
    alike = before.kind == o.kind and before["keep"] == o["keep"]
    if not alike or len(t.shapes[before.inputs[0]]) != 3:
        return o.inputs[0], own
    gone: set[int] = set(before["axes"])
    # where the axes of the first are gone, those of the second are counted without them
    left = list(range(3)) if o["keep"] else sorted(set(range(3)) - gone)
    return before.inputs[0], gone | {left[a] for a in own}
