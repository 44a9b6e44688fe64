"""Resize and Upsample: maps of another size.

Where torch has the same interpolation, it is that; every other one along single axes is a product with a matrix for
each axis, whose rows say what ONNX takes for a place (operator Resize, "coordinate_transformation_mode").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from chipfit.nets.onnx.call import Call, Function, Rule, Run, Value, whole_numbers

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class How:
    """An interpolation in ONNX's words."""

    mode: str
    transformation: str
    nearest: str
    cubic_a: float
    exclude_outside: bool


def resize(call: Call) -> Function:
    """Another size along the last axes; that of batch and channels stays."""
    how = How(
        call.take("mode", "nearest"),
        call.take("coordinate_transformation_mode", "half_pixel" if call.opset >= 11 else "asymmetric"),
        call.take("nearest_mode", "round_prefer_floor" if call.opset >= 11 else "floor"),
        float(call.take("cubic_coeff_a", -0.75)),
        bool(call.take("exclude_outside", 0)),
    )
    call.ignore("extrapolation_value")
    call.only("antialias", 0)
    call.only("keep_aspect_ratio_policy", "stretch")
    axes: list[int] | None = call.take("axes")
    if how.mode not in ("nearest", "linear", "cubic") or how.transformation == "tf_crop_and_resize":
        call.refuse(f"with mode={how.mode!r}, {how.transformation}")
    at = 2 if call.opset >= 11 and call.node.op_type == "Resize" else 1
    if call.has(1) and at == 2:
        call.constant(1)  # the region of interest, which these modes do not read
    factors = call.take("scales")
    if factors is None and call.is_known(at):
        factors = [float(v) for v in call.constant(at).value.reshape(-1)]

    def function(run: Run, x: Tensor, *given: Value) -> Tensor:
        read = [*given, None, None, None]
        scales, sizes = _goal(x, factors, read[at - 1], read[at], axes)
        return _resized(x, sizes, scales, how)

    if call.is_known(3):
        known = call.constant(3).value
        return lambda run, x, *_: _resized(x, *_goal(x, None, None, known, axes)[::-1], how)
    return function


def _goal(
    x: Tensor, factors: Sequence[float] | None, scales: Any, sizes: Any, axes: list[int] | None
) -> tuple[list[float], list[int]]:
    """Scale and size of every axis."""
    whole = list(range(x.dim())) if axes is None else [a % x.dim() for a in axes]
    found: list[float] = [1.0] * x.dim()
    goal = list(x.shape)
    if factors is None and scales is not None:
        factors = [float(v) for v in np.asarray(scales).reshape(-1)]
    if factors:
        for axis, factor in zip(whole, factors, strict=True):
            found[axis], goal[axis] = factor, int(np.floor(x.shape[axis] * factor))
        return found, goal
    for axis, size in zip(whole, whole_numbers(sizes), strict=True):
        if axis:  # the batch stays what it is
            found[axis], goal[axis] = size / x.shape[axis], size
    return found, goal


def _resized(x: Tensor, sizes: Sequence[int], scales: Sequence[float], how: How) -> Tensor:
    changed = [a for a in range(x.dim()) if sizes[a] != x.shape[a]]
    if not changed:
        return x
    maps = x.dim() in (3, 4) and all(a >= 2 for a in changed)
    if maps and how.mode == "nearest":
        return _chosen(x, sizes, scales, how, changed)
    if maps and _as_torch_has_it(x, sizes, scales, how, changed):
        mode = {3: "linear", 4: "bilinear"}[x.dim()] if how.mode == "linear" else "bicubic"
        return F.interpolate(x, size=list(sizes[2:]), mode=mode, align_corners=how.transformation == "align_corners")
    return _by_axes(x, sizes, scales, how, changed)


def _chosen(x: Tensor, sizes: Sequence[int], scales: Sequence[float], how: How, changed: Sequence[int]) -> Tensor:
    """The nearest place of each: torch's own way of taking it where that is the same, else by number."""
    places = {a: _nearest(x.shape[a], sizes[a], scales[a], how) for a in changed}
    floors = {a: np.arange(sizes[a]) * x.shape[a] // sizes[a] for a in changed}
    if all(np.array_equal(places[a], floors[a]) for a in changed):
        return F.interpolate(x, size=list(sizes[2:]), mode="nearest")
    for axis, chosen in places.items():
        x = x.index_select(axis, torch.as_tensor(chosen))
    return x


def _as_torch_has_it(
    x: Tensor, sizes: Sequence[int], scales: Sequence[float], how: How, changed: Sequence[int]
) -> bool:
    """True where torch interpolates alike: by the sizes, between centres or corners, cubic with its own number."""
    if any(abs(sizes[a] / x.shape[a] - scales[a]) >= 1e-6 for a in changed):
        return False
    if how.mode == "cubic" and (x.dim() != 4 or how.cubic_a != -0.75 or how.exclude_outside):
        return False
    if how.transformation == "align_corners":
        return True
    return how.transformation in CENTRES and all(sizes[a] > 1 for a in changed)


CENTRES = frozenset({"half_pixel", "pytorch_half_pixel"})
"""Transformations between the centres of places."""


def _by_axes(x: Tensor, sizes: Sequence[int], scales: Sequence[float], how: How, changed: Sequence[int]) -> Tensor:
    """One product with a matrix for each axis."""
    for axis in changed:
        if axis == 0:
            raise ValueError("changes the size of the batch")
        matrix = torch.as_tensor(_matrix(x.shape[axis], sizes[axis], scales[axis], how), dtype=x.dtype)
        x = F.linear(x.movedim(axis, -1), matrix).movedim(-1, axis)
    return x


def _originals(size: int, goal: int, scale: float, how: How) -> Floats:
    """Where each place of the result is in the value that is resized; in float32, as runtimes round halves."""
    return _places(np.arange(goal, dtype=np.float32), size, goal, np.float32(scale), how).astype(np.float64)


def _places(places: NDArray[np.float32], size: int, goal: int, scale: np.float32, how: How) -> NDArray[np.floating]:
    match how.transformation:
        case "asymmetric":
            return places / scale
        case "align_corners":
            return places * (size - 1) / max(goal - 1, 1)
        case "tf_half_pixel_for_nn":
            return (places + 0.5) / scale
        case "pytorch_half_pixel" if goal == 1:
            return np.zeros(1, np.float32)
        case "half_pixel_symmetric":
            shift = size / 2 * (1 - goal / (scale * size))
            return shift + (places + 0.5) / scale - 0.5
        case "half_pixel" | "pytorch_half_pixel":
            return (places + 0.5) / scale - 0.5
    raise ValueError(f"has the coordinates {how.transformation!r}, which are not known")


def _nearest(size: int, goal: int, scale: float, how: How) -> NDArray[np.int64]:
    """The place that each place of the result takes its value from."""
    x = _originals(size, goal, scale, how)
    match how.nearest:
        case "floor":
            places = np.floor(x)
        case "ceil":
            places = np.ceil(x)
        case "round_prefer_ceil":
            places = np.floor(x + 0.5)
        case _:
            places = np.ceil(x - 0.5)
    return np.clip(places, 0, size - 1).astype(np.int64)


def _matrix(size: int, goal: int, scale: float, how: How) -> Floats:
    """(goal, size): what each place of the result takes of each place."""
    matrix = np.zeros((goal, size))
    if how.mode == "nearest":
        matrix[np.arange(goal), _nearest(size, goal, scale, how)] = 1
        return matrix
    for row, x in enumerate(_originals(size, goal, scale, how)):
        first = int(np.floor(x))
        t = x - first
        if how.mode == "linear":
            places, shares = [first, first + 1], np.array([1 - t, t])
        else:
            places = list(range(first - 1, first + 3))
            shares = _cubic(np.abs(np.array([1 + t, t, 1 - t, 2 - t])), how.cubic_a)
        if how.exclude_outside:
            inside = np.array([0 <= p < size for p in places])
            shares = shares * inside / (shares * inside).sum()
        for place, share in zip(places, shares, strict=True):
            matrix[row, min(max(place, 0), size - 1)] += share
    return matrix


def _cubic(d: Floats, a: float) -> Floats:
    """Weights of the cubic convolution at distances up to 2 (Keys 1981)."""
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, far)


TABLE: dict[str, Rule] = {"Resize": resize, "Upsample": resize}
