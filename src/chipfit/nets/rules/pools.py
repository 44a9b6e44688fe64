"""Rules of pools, whole and windowed, and of means and maxima over the spatial axes."""

from __future__ import annotations

from typing import Any

from chipfit.nets.rules.call import Call, shape_of
from chipfit.nets.rules.tracer import Pending, Rule, Tracer


def max_pool(t: Tracer, call: Call) -> None:
    """Maximum over windows, without dilation; the values alone where indices are made too."""
    window, ceil = _window(call), int(call.take("ceil_mode"))
    if call.pair("dilation", 1) != (1, 1):
        call.refuse(f"with dilation={call.values['dilation']}")
    t.put(call, "max_pool", (t.value(call),), **window, ceil=ceil)
    t.parts[call.node.name] = [t.known[call.node.name]]


def avg_pool(t: Tracer, call: Call) -> None:
    """Mean over windows."""
    window, ceil = _window(call), int(call.take("ceil_mode"))
    count = int(call.take("count_include_pad"))
    t.put(call, "avg_pool", (t.value(call),), **window, ceil=ceil, count_include_pad=count)


def _window(call: Call) -> dict[str, Any]:
    if len(shape_of(call.node_of("self"))) != 4:
        call.refuse(f"on {shape_of(call.node_of('self'))[1:]}, which takes the batch axis for channels,")
    kernel = call.pair("kernel_size")
    stride = call.pair("stride") if call.values["stride"] else kernel
    call.take("stride")
    return {"kernel": kernel, "stride": stride, "padding": call.pair("padding")}


def adaptive(kind: str) -> Rule:
    """The rule of a pool to a size: to 1x1, to the size that is there, or to one that divides it."""
    whole = "global_pool" if kind == "avg_pool" else "global_max_pool"
    word = "average" if kind == "avg_pool" else "max"

    def rule(t: Tracer, call: Call) -> None:
        asked = call.take("output_size")
        x, size = t.value(call), shape_of(call.node_of("self"))[2:]
        wanted = call.shape[2:]
        shape = (*t.shapes[x][:-2], *wanted)
        if len(t.shapes[x]) != 3 or any(n % m for n, m in zip(size, wanted, strict=True)):
            call.refuse(f"(adaptive {word} pool) from {size} to {asked}, which does not divide it,")
        if wanted == size:
            t.known[call.node.name] = x
        elif wanted == (1, 1):
            t.known[call.node.name] = t.add(t.wish(call, whole), whole, (x,), shape, keep=1)
        else:
            step = (size[0] // wanted[0], size[1] // wanted[1])
            extra = {"count_include_pad": 1} if kind == "avg_pool" else {}
            window = {"kernel": step, "stride": step, "padding": (0, 0), "ceil": 0, **extra}
            t.known[call.node.name] = t.add(t.wish(call, kind), kind, (x,), shape, **window)  # type: ignore[arg-type]
        t.parts[call.node.name] = [t.known[call.node.name]]

    return rule


def mean(t: Tracer, call: Call) -> None:
    """Mean over the two spatial axes, at once or one after the other."""
    _reduced(t, call, "global_pool", "mean")


def maximum(t: Tracer, call: Call) -> None:
    """Maximum over the two spatial axes."""
    _reduced(t, call, "global_max_pool", "amax")


def _reduced(t: Tracer, call: Call, kind: str, word: str) -> None:
    source, found = call.node_of("self"), t.operand(call, "self")
    rank = len(shape_of(source))
    dims = call.take("dim")
    over = sorted(int(a) % rank for a in ([dims] if isinstance(dims, int) else dims or range(rank)))
    keep = bool(call.take("keepdim", False))
    call.in_float()
    if isinstance(found, Pending) and found.kind == word:
        origin, kept = found.op, rank == 4
        (first,) = found.axes
        left = 5 - first if kept else 2  # the spatial axis that is left
        if over != [left] or kept != keep:
            call.refuse(f"({word} over axes {over} after one over axis {first})")
    else:
        origin = t.made(call, found)
        if rank == 4 and over in ([2], [3]):
            t.known[call.node.name] = Pending(origin, word, tuple(over))
            return
        if rank != 4 or over != [2, 3]:
            call.refuse(f"({word} over axes {over}; the two spatial axes have one)")
    t.put(call, kind, (origin,), keep=int(keep))
