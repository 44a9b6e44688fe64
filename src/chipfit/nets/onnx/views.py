"""Nodes that move values: reshapes, transposes, slices, concatenations, pads."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.nets.onnx.call import Call, Function, Rule, Run, Value, as_tensor, whole_numbers
from chipfit.nets.onnx.windows import both_sides


def reshape(call: Call) -> Function:
    """The same values in another shape; one of a constant, in a file of fixed batch, is of that batch."""
    keep_zeros = bool(call.take("allowzero", 0))
    constant = call.numbers(1, "shape") if call.given("shape") or call.is_known(1) else None

    def function(run: Run, x: Tensor, shape: Value | None = None) -> Tensor:
        wanted = whole_numbers(shape) if constant is None else constant
        filled = _filled(wanted, x.shape, keep_zeros)
        # a shape that is computed while the network runs counts with the batch that runs, or with that of the file
        computed = constant is None and prod(filled) == x.numel()
        if run.then is None or run.then == x.shape or computed:
            return x.reshape(filled)
        return x.reshape(_of_batch(run, x, _filled(wanted, run.then, keep_zeros)))

    return function


def _filled(wanted: Sequence[int], shape: Sequence[int], keep_zeros: bool) -> list[int]:
    """A shape to be without what it leaves open: 0 for as it was, -1 for what is left."""
    found = [shape[i] if n == 0 and not keep_zeros else n for i, n in enumerate(wanted)]
    known = prod(n for n in found if n >= 0)
    return [prod(shape) // max(known, 1) if n < 0 else n for n in found]


def _of_batch(run: Run, x: Tensor, wanted: list[int]) -> list[int]:
    """A shape to be for the batch that runs, from that for the batch of the file.

    The batch is at the axis of the value that has another size than in the file. In the new shape it is at an axis of
    the file's own batch size among the values of that axis; else where as many values are before it as were.
    """
    assert run.then is not None
    changed = [a for a, (n, m) in enumerate(zip(run.then, x.shape, strict=True)) if n != m]
    if len(changed) != 1 or not wanted:
        return wanted
    (axis,) = changed
    outer, own = prod(run.then[:axis]), run.then[axis]
    before = [prod(wanted[:j]) for j in range(len(wanted))]
    alone = [j for j, n in enumerate(wanted) if n == run.made_for and outer <= before[j] <= outer * own]
    places = [j for j, n in enumerate(before) if n == outer]
    if len(alone) == 1:
        place = alone[0]
    elif places:
        place = places[0] - (places[0] == len(wanted) - 1 > 0)
    else:
        return wanted
    return [n * x.shape[axis] // own if j == place else n for j, n in enumerate(wanted)]


def flatten(call: Call) -> Function:
    """The axes before one and those from it on, each together."""
    axis = int(call.take("axis", 1))

    def function(run: Run, x: Tensor) -> Tensor:
        first = axis % x.dim() if axis < 0 else axis
        if first == 1:
            return x.flatten(1) if x.dim() > 1 else x.unsqueeze(1)
        return x.reshape(prod(x.shape[:first]), -1)

    return function


def squeeze(call: Call) -> Function:
    """Without some axes of size 1."""
    axes = call.numbers(1, "axes")

    def function(run: Run, x: Tensor, *_: object) -> Tensor:
        gone = {a % x.dim() for a in axes} if axes is not None else {a for a, n in enumerate(x.shape) if n == 1 and a}
        return x.reshape([n for a, n in enumerate(x.shape) if a not in gone])

    return function


def unsqueeze(call: Call) -> Function:
    """With some axes of size 1 more."""
    axes = call.numbers(1, "axes") or []

    def function(run: Run, x: Tensor, *_: object) -> Tensor:
        rank = x.dim() + len(axes)
        for axis in sorted(a % rank for a in axes):
            x = x.unsqueeze(axis)
        return x

    return function


def transpose(call: Call) -> Function:
    """Axes in another order; where those alone move that have one place, it is a view."""
    order: list[int] | None = call.take("perm")

    def function(run: Run, x: Tensor) -> Tensor:
        axes = order or list(range(x.dim()))[::-1]
        long = [a for a in axes if x.shape[a] > 1 or a == 0]
        return x.reshape([x.shape[a] for a in axes]) if axes[0] == 0 and long == sorted(long) else x.permute(axes)

    return function


def concat(call: Call) -> Function:
    """Values side by side; a constant of one batch stands beside each input."""
    axis = int(call.take("axis", 1))

    def function(run: Run, *xs: Value) -> Tensor:
        like = next(x for x in xs if isinstance(x, Tensor))
        parts = [as_tensor(x, like) for x in xs]
        if axis % like.dim():
            rows = max(x.shape[0] for x in parts)
            parts = [x if x.shape[0] == rows else x.expand(rows, *x.shape[1:]) for x in parts]
        return torch.cat(parts, axis)

    return function


def split(call: Call) -> Function:
    """Parts along an axis, of sizes that are said, or all alike."""
    axis = int(call.take("axis", 0))
    call.ignore("num_outputs")
    sizes, parts = call.numbers(1, "split"), len(call.node.output)

    def function(run: Run, x: Tensor, *_: object) -> tuple[Tensor, ...]:
        return torch.split(x, sizes or -(-x.shape[axis] // parts), axis)

    return function


_FAR = 2**31 - 1


def slice_(call: Call) -> Function:
    """Every n-th place from one to another, along some axes."""
    names = ("starts", "ends", "axes", "steps")
    known = [call.numbers(n, name) if call.given(name) or call.is_known(n) else None for n, name in enumerate(names, 1)]

    def function(run: Run, x: Tensor, *given: Value) -> Tensor:
        read = [*given, *(None,) * 4]
        bounds = [k if k is not None else _numbers(v) for k, v in zip(known, read[:4], strict=True)]
        starts, ends, axes, steps = bounds
        assert starts is not None, names
        assert ends is not None
        axes = axes if axes is not None else list(range(len(starts)))
        for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(starts), strict=True):
            x = _sliced(x, axis, start, end, step)
        return x

    return function


def _numbers(value: Value | None) -> list[int] | None:
    return None if value is None else whole_numbers(value)


def _sliced(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    size, axis = x.shape[axis], axis % x.dim()
    first, last, stride = slice(start, None if step < 0 and end <= -_FAR else end, step).indices(size)
    if stride > 0:
        index: tuple[Any, ...] = (slice(None),) * axis + (slice(first, max(last, first), stride),)
        return x if (first, last, stride) == (0, size, 1) else x[index]
    return x.index_select(axis, torch.arange(first, last, stride))


def expand(call: Call) -> Function:
    """A value repeated along its axes of size 1."""
    constant = call.numbers(1) if call.is_known(1) else None

    def function(run: Run, x: Tensor, shape: Value | None = None) -> Tensor:
        wanted = constant if constant is not None else whole_numbers(shape)
        rank = max(len(wanted), x.dim())
        sizes, goal = [1] * (rank - x.dim()) + list(x.shape), [1] * (rank - len(wanted)) + wanted
        return x.expand([max(n, m) for n, m in zip(sizes, goal, strict=True)])

    return function


def tile(call: Call) -> Function:
    """A value so many times along each axis."""
    constant = call.numbers(1) if call.is_known(1) else None
    return lambda run, x, times=None: x.repeat(constant if constant is not None else whole_numbers(times))


_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(call: Call) -> Function:
    """Values around a value, or a crop where amounts are negative."""
    mode = call.take("mode", "constant")
    if mode not in _MODES:
        call.refuse(f"with mode={mode!r}")
    known = call.numbers(1, "pads") if call.given("pads") or call.is_known(1) else None
    number = call.number(2, "value", 0.0) or 0.0
    axes = call.numbers(3)

    def function(run: Run, x: Tensor, pads: Value | None = None, *_: object) -> Tensor:
        amounts = known if known is not None else whole_numbers(pads)
        half = len(amounts) // 2
        before, behind = [0] * x.dim(), [0] * x.dim()
        for n, axis in enumerate(axes if axes is not None else range(half)):
            before[axis], behind[axis] = amounts[n], amounts[half + n]
        if mode == "constant":
            return F.pad(x, both_sides(before[1:], behind[1:]), value=number) if not before[0] | behind[0] else _no(x)
        moved = [a for a in range(x.dim()) if before[a] or behind[a]]
        first = min(moved, default=x.dim() - 1)
        return F.pad(x, both_sides(before[first:], behind[first:]), mode=_MODES[mode])

    return function


def _no(x: Tensor) -> Tensor:
    raise ValueError(f"pads the batch of a value of shape {tuple(x.shape)}")


def depth_to_space(call: Call) -> Function:
    """Channels to places."""
    size, mode = int(call.take("blocksize")), call.take("mode", "DCR")

    def function(run: Run, x: Tensor) -> Tensor:
        if mode == "CRD":
            return F.pixel_shuffle(x, size)
        n, channels, height, width = x.shape
        parts = x.reshape(n, size, size, channels // size**2, height, width)
        return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, channels // size**2, height * size, width * size)

    return function


def space_to_depth(call: Call) -> Function:
    """Places to channels."""
    size = int(call.take("blocksize"))

    def function(run: Run, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        parts = x.reshape(n, channels, height // size, size, width // size, size)
        return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, channels * size**2, height // size, width // size)

    return function


def shape_of(call: Call) -> Function:
    """The shape of a value, which is known while the network runs."""
    start, end = int(call.take("start", 0)), call.take("end")
    return lambda run, x: np.array(x.shape[start:end], np.int64)


def size_of(call: Call) -> Function:
    """How many values there are."""
    return lambda run, x: np.array(x.numel(), np.int64)


def triangle(call: Call) -> Function:
    """What is on one side of the diagonal."""
    upper = bool(call.take("upper", 1))
    offset = (call.numbers(1) or [0])[0]
    return lambda run, x, *_: x.triu(offset) if upper else x.tril(offset)


def gather_elements(call: Call) -> Function:
    """A value at a place of its own along an axis."""
    axis = int(call.take("axis", 0))

    def function(run: Run, x: Tensor, places: Value) -> Tensor:
        index = as_tensor(places, x)
        return torch.gather(x, axis, torch.where(index < 0, index + x.shape[axis], index))

    return function


def einsum(call: Call) -> Function:
    """Sums of products that an equation says."""
    equation = call.take("equation")

    def function(run: Run, *xs: Value) -> Tensor:
        like = next(x for x in xs if isinstance(x, Tensor))
        return torch.einsum(equation, *(as_tensor(x, like) for x in xs))

    return function


TABLE: dict[str, Rule] = {
    "Reshape": reshape, "Flatten": flatten, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose,
    "Concat": concat, "Split": split, "Slice": slice_, "Expand": expand, "Tile": tile, "Pad": pad,
    "DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth, "Shape": shape_of, "Size": size_of,
    "Trilu": triangle, "GatherElements": gather_elements, "Einsum": einsum,
}  # fmt: skip
