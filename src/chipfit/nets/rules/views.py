"""Rules of what moves values: reshapes, transposes, slices, concatenations, pads."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from chipfit.core.graph import Attr
from chipfit.nets.program import BATCH
from chipfit.nets.rules.call import Call, shape_of
from chipfit.nets.rules.layout import permuted, viewed
from chipfit.nets.rules.sources import held
from chipfit.nets.rules.tracer import Known, Pending, Tracer


def reshape(t: Tracer, call: Call) -> None:
    """view, squeeze, unsqueeze: the same values in the same order, each input on its own."""
    call.ignore(*(name for name in call.values if name != "self"))  # the shape they lead to is known
    before = shape_of(call.node_of("self"))
    if before == call.shape:  # of whole numbers too
        t.known[call.node.name] = t.operand(call, "self")
        t.put_batch(call.node, call.layout)
        return
    place = viewed(call.layout, before, call.shape, BATCH)
    if place is None:
        call.refuse("mixes the batch with other axes, which")
    t.put_batch(call.node, place)
    found = t.operand(call, "self")
    if isinstance(found, Pending) and found.kind == "expand":
        x = _copied(t, call, found.op, call.layout.stripped(before))
    else:
        x = t.made(call, found)
    t.known[call.node.name] = _shaped(t, call, x, t.sample_shape(call.node))


COPIES = 16
"""Copies of a value that are written out where an axis of size 1 is made larger."""


def _copied(t: Tracer, call: Call, x: str, shape: tuple[int, ...]) -> str:
    """A value with some axes of size 1 made as large as in `shape`, by copies side by side."""
    for axis, size in enumerate(shape):
        if t.shapes[x][axis] == size:
            continue
        if size > COPIES:
            call.refuse(f"on {size} copies of a value")
        made = (*t.shapes[x][:axis], size, *t.shapes[x][axis + 1 :])
        x = t.add(t.wish(call, "concat"), "concat", (x,) * size, made, axis=axis)
    return x


def _shaped(t: Tracer, call: Call, x: str, shape: tuple[int, ...]) -> str:
    if shape == t.shapes[x]:
        return x
    if prod(shape) != prod(t.shapes[x]):
        call.refuse(f"from {t.shapes[x]} to {shape}")
    if len(shape) == 1 and t.shapes[x]:  # of one number for each input there are no axes to flatten
        return t.add(t.wish(call, "flatten"), "flatten", (x,), shape)
    return t.add(t.wish(call, "reshape"), "reshape", (x,), shape, to=shape)


def transpose(t: Tracer, call: Call) -> None:
    """Axes in another order; where the batch alone moves, nothing does in the graph."""
    rank = len(call.shape)
    order = list(range(rank))
    if call.name == "permute":
        order = [int(a) % rank for a in call.take("dims")]
    else:
        names = ("dim0", "dim1") if "dim0" in call.values else ("axis0", "axis1")
        a, b = (int(call.take(n)) % rank for n in names)
        order[a], order[b] = order[b], order[a]
    place, perm = permuted(call.layout, order)
    t.put_batch(call.node, place)
    if perm == tuple(range(len(perm))):
        t.known[call.node.name] = t.value(call)
        return
    t.put(call, "transpose", (t.value(call),), perm=perm)


def slice_(t: Tracer, call: Call) -> None:
    """Every `step`-th from start to stop along one axis."""
    whole = shape_of(call.node_of("self"))
    dim = int(call.take("dim")) % len(whole)
    bounds = slice(call.take("start"), call.take("end"), call.take("step"))
    start, stop, step = bounds.indices(whole[dim])
    if (start, stop, step) == (0, whole[dim], 1):
        t.known[call.node.name] = t.value(call)
        return
    t.put(call, "slice", (t.value(call),), axis=call.axis(dim), start=start, stop=stop, step=step)


def split(t: Tracer, call: Call) -> None:
    """chunk, split and split_with_sizes: one slice a part."""
    call.ignore("split_size", "split_sizes", "chunks")  # the parts' shapes are known
    whole = shape_of(call.node_of("self"))
    dim = int(call.take("dim")) % len(whole)
    axis = call.axis(dim, len(whole))
    sizes = [int(part.shape[dim]) for part in call.node.meta["val"]]
    t.parts[call.node.name] = _cut(t, call, axis, sizes)


def _cut(t: Tracer, call: Call, axis: int, sizes: list[int]) -> list[Known]:
    x, start = t.value(call), 0
    found: list[Known] = []
    for size in sizes:
        found.append(_part(t, call, x, axis, start, start + size))
        start += size
    return found


def _part(t: Tracer, call: Call, x: str, axis: int, start: int, stop: int) -> str:
    before = t.shapes[x]
    if (start, stop) == (0, before[axis]):
        return x
    shape = (*before[:axis], stop - start, *before[axis + 1 :])
    wish = f"{call.path}.slice" if call.path else "slice"
    return t.add(wish, "slice", (x,), shape, axis=axis, start=start, stop=stop, step=1)


def unbind(t: Tracer, call: Call) -> None:
    """One slice a part, without its axis."""
    whole = shape_of(call.node_of("self"))
    dim = int(call.take("dim")) % len(whole)
    axis = call.axis(dim, len(whole))
    parts = _cut(t, call, axis, [1] * whole[dim])
    t.parts[call.node.name] = [_dropped(t, call, str(part), axis) for part in parts]


def select(t: Tracer, call: Call) -> None:
    """One index of an axis, which goes."""
    whole = shape_of(call.node_of("self"))
    dim = int(call.take("dim")) % len(whole)
    axis = call.axis(dim, len(whole))
    index = int(call.take("index")) % whole[dim]
    part = _part(t, call, t.value(call), axis, index, index + 1)
    t.known[call.node.name] = _dropped(t, call, part, axis)


def _dropped(t: Tracer, call: Call, x: str, axis: int) -> str:
    before = t.shapes[x]
    return _shaped(t, call, x, (*before[:axis], *before[axis + 1 :]))


def slice_scatter(t: Tracer, call: Call) -> None:
    """A value with a slice of it replaced, as `y[:, :4].add_(1)` leaves it."""
    whole = shape_of(call.node_of("self"))
    dim = int(call.take("dim")) % len(whole)
    bounds = slice(call.take("start"), call.take("end"), call.take("step"))
    start, stop, step = bounds.indices(whole[dim])
    source = t.value(call, "src")
    if (start, stop, step) == (0, whole[dim], 1):
        t.known[call.node.name] = source
        return
    if step != 1:
        call.refuse(f"changes every {step}th value of an axis in place, which")
    _replaced(t, call, call.axis(dim), start, source)


def select_scatter(t: Tracer, call: Call) -> None:
    """A value with one index of an axis replaced, as `y[:, 0] = ...` leaves it."""
    whole = shape_of(call.node_of("self"))
    axis = call.axis(int(call.take("dim")), len(whole))
    index = int(call.take("index")) % whole[axis + 1]
    source = t.value(call, "src")
    rest = t.shapes[source]
    as_slice = _shaped(t, call, source, (*rest[:axis], 1, *rest[axis:]))
    _replaced(t, call, axis, index, as_slice)


def _replaced(t: Tracer, call: Call, axis: int, start: int, source: str) -> None:
    """What is before `source` on an axis of the call's value, `source` from `start` on, and what is behind."""
    x = t.value(call, "self")
    size, stop = t.shapes[x][axis], start + t.shapes[source][axis]
    parts = [source]
    if start > 0:
        parts.insert(0, _part(t, call, x, axis, 0, start))
    if stop < size:
        parts.append(_part(t, call, x, axis, stop, size))
    if len(parts) == 1:
        t.known[call.node.name] = source
    else:
        t.put(call, "concat", tuple(parts), axis=axis)


def concat(t: Tracer, call: Call) -> None:
    """Values side by side along one axis."""
    parts = [part for part in call.take("tensors") if prod(shape_of(part))]  # one without values may have any rank
    dim = int(call.take("dim"))
    if len(parts) == 1:
        t.known[call.node.name] = t.known[parts[0].name]
        return
    names = tuple(held(t, call, part) for part in parts)
    t.put(call, "concat", names, axis=call.axis(dim))


def unfold(t: Tracer, call: Call) -> None:
    """Windows side by side along an axis, each on an axis of its own at the end; those that overlap are refused."""
    rank, whole = len(shape_of(call.node_of("self"))), shape_of(call.node_of("self"))
    axis, size = call.axis(int(call.take("dimension")), rank), int(call.take("size"))
    if int(call.take("step")) != size:
        call.refuse("into windows that overlap")
    count = whole[int(call.values["dimension"]) % rank] // size
    x = _part(t, call, t.value(call), axis, 0, count * size)
    before = t.shapes[x]
    parted = _shaped(t, call, x, (*before[:axis], count, size, *before[axis + 1 :]))
    perm = (*range(axis + 1), *range(axis + 2, len(before) + 1), axis + 1)
    if perm == tuple(range(len(before) + 1)):
        t.known[call.node.name] = parted
    else:
        t.put(call, "transpose", (parted,), perm=perm)


def stack(t: Tracer, call: Call) -> None:
    """Values side by side along an axis of their own."""
    parts = call.take("tensors")
    dim, place = int(call.take("dim")) % len(call.shape), call.layout
    place = replace(place, axis=place.axis + (dim <= place.axis))
    t.put_batch(call.node, place)
    axis = place.place(dim)
    assert axis is not None
    shape = t.sample_shape(call.node)
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    names = tuple(_shaped(t, call, held(t, call, part), one) for part in parts)
    t.put(call, "concat", names, axis=axis)


def roll(t: Tracer, call: Call) -> None:
    """Values moved round along some axes: two slices of each, the other way round."""
    shifts, dims = call.take("shifts"), call.take("dims")
    if not dims:
        call.refuse("over all axes at once, which")
    x, rank = t.value(call), len(call.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        axis = call.axis(int(dim), rank)
        size = t.shapes[x][axis]
        start = -int(shift) % size
        if start == 0:
            continue
        parts = (_part(t, call, x, axis, start, size), _part(t, call, x, axis, 0, start))
        x = t.add(t.wish(call, "concat"), "concat", parts, t.shapes[x], axis=axis)
    t.known[call.node.name] = x


def pad(t: Tracer, call: Call) -> None:
    """Zeros or another number around an input, its mirrored or last values, or a crop where amounts are negative."""
    amounts = [int(a) for a in call.take("pad")]
    mode, value = call.take("mode", "constant"), call.take("value")
    rank = len(call.shape)
    how = {"constant": "", "reflect": "reflect", "replicate": "edge"}.get(mode)
    if how is None or (how and (len(amounts) > 2 * (rank - 2) or min(amounts) < 0)):
        call.refuse(f"with mode={mode!r}")
    if len(amounts) > 2 * (rank - 1) and any(amounts[2 * (rank - 1) :]):
        call.refuse("around the batch axis")
    pads = [(0, 0)] * rank
    for i in range(len(amounts) // 2):  # torch counts from the last axis
        pads[rank - 1 - i] = (amounts[2 * i], amounts[2 * i + 1])
    if not any(amounts):
        t.known[call.node.name] = t.value(call)
        return
    attrs: dict[str, Attr] = {"value": float(value)} if value else {"how": how} if how else {}
    t.put(call, "pad", (t.value(call),), pads=tuple(v for pair in pads[1:] for v in pair), **attrs)
