"""Programs fitted to what their layer makes of its inputs, which second moments tell without any input.

A program of weighted sums alone is, like the layer that it replaces, a matrix: W' (O, d) on patches of the layer's
inputs, in the order of `hessian.flat`. Its squared error is then

    tr( (W - W') H (W - W')' ),        H = second moments of the patches (`hessian`),

and no forward pass is needed. From the closed form on (`factors`) all kernels together go down this slope (L-BFGS), and
then the last layer takes the exact solution for what those before it make: with F (d, features) what it reads of each
of the d unit patches, V = W H F (F' H F)^-1. [measured] VGG6 on Fashion-MNIST, all convolutions but the first as
depth-wise and 1x1, after the repair that follows: .825 accuracy from the closed form, .834 from here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from chipfit.compress.factors import closed_form, groups, window
from chipfit.compress.hessian import flat, unflat
from chipfit.core.edits import Fitted
from chipfit.core.graph import LAYERS, Op
from chipfit.nets.execute import execute

Array = NDArray[Any]

STEPS = 20
"""Steps of L-BFGS at most."""

MOST_WORK = 4e9
"""Multiplications of all steps together; where the layer is too wide for one, its last kernel is solved for alone."""

RIDGE = 1e-7
"""Share of the mean second moment of features that the last solution is held by, where some of them are never seen."""

SUMS = frozenset({"conv", "linear", "add", "concat", "affine"})
"""Kinds that make weighted sums of what they read."""


def fitted_to(fitted: Fitted, weight: Array, h: Array | None) -> dict[str, Array]:
    """The arrays of the operators in a layer's place, by name: fitted to its weight, as second moments weigh errors.

    `h` (d, d) are those of the layer's patches; without them, or where only their diagonal (d,) is known, or where the
    program is no weighted sum of a patch, it is the closed form.
    """
    begun = closed_form(fitted, weight)
    if h is None or h.ndim == 1 or not is_patchwise(fitted):
        return begun
    name = _name(fitted, weight, h)
    if name not in _known:
        # a caller that records no gradients does not want them of its own tensors: these are others
        with torch.inference_mode(False), torch.enable_grad():
            found = _descended(_Patchwise(fitted, weight, h), {n: torch.tensor(a) for n, a in begun.items()})
        while len(_known) >= MOST_KNOWN:
            _known.pop(next(iter(_known)))
        _known[name] = {n: np.ascontiguousarray(a.detach().numpy(), dtype=weight.dtype) for n, a in found.items()}
    return dict(_known[name])


MOST_KNOWN = 512
"""Fits that are remembered: designs of one search share most of theirs, and each is made of a whole network's."""

_known: dict[str, dict[str, Array]] = {}


def _name(fitted: Fitted, weight: Array, h: Array) -> str:
    """Equal for equal fits: of the same program, with arrays of these names, to the same weight and moments."""
    told = hashlib.sha256(repr((fitted.layer, fitted.instead.ops)).encode())
    for array in (weight, h):
        told.update(np.ascontiguousarray(array).tobytes())
    return told.hexdigest()


def is_patchwise(fitted: Fitted) -> bool:
    """True where a program makes one weighted sum of each of its layer's patches, and ends in a layer."""
    ops = fitted.instead.ops[1:]
    if any(o.kind not in SUMS for o in ops) or ops[-1].kind not in LAYERS:
        return False
    return all(_within(fitted, axis) for axis in (0, 1))


def _within(fitted: Fitted, axis: int) -> bool:
    """Whether a program sees no more along an axis than its layer does, and around the same centre."""
    seen, strided = dict[str, int](), dict[str, bool]()
    for o in fitted.instead:
        taps, apart, stride = _along(o, axis)
        before = [i for i in o.inputs if i in seen]
        seen[o.name] = max((seen[i] for i in before), default=0) + apart * (taps - 1)
        behind = any(strided[i] for i in before)
        if taps % 2 == 0 or (behind and taps > 1):  # behind a stride, neighbours are not the layer's
            return False
        strided[o.name] = behind or stride > 1
    taps, apart, _ = _along(fitted.layer, axis)
    return taps % 2 == 1 and seen[fitted.instead.output] <= apart * (taps - 1)


def _along(o: Op, axis: int) -> tuple[int, int, int]:
    """Taps of an operator along an axis, how far they are apart, and its stride."""
    return (o["kernel"][axis], o["dilation"][axis], o["stride"][axis]) if o.kind == "conv" else (1, 1, 1)


class _Patchwise:
    """A program as a matrix on unit patches.

    Args:
        fitted: the program and the layer in whose place it is.
        weight: of the layer.
        h: (d, d) second moments of its patches.
    """

    def __init__(self, fitted: Fitted, weight: Array, h: Array) -> None:
        self.ops, self.reads = fitted.instead.ops[1:], fitted.instead.ops[0].name
        self.wanted = flat(torch.tensor(weight)).double()
        self.h = torch.tensor(h).double()
        self.units = _unit_patches(fitted.layer, weight.shape[1])
        self.scale = float((self.wanted @ self.h * self.wanted).sum()) or 1.0

    def error(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """The squared error, as a share of what the layer makes."""
        missing = self.wanted - self._made(self.ops, arrays).T
        return (missing @ self.h * missing).sum() / self.scale

    def _made(self, ops: tuple[Op, ...], arrays: Mapping[str, Tensor]) -> Tensor:
        """(d, channels) what the last of some operators makes of each unit patch, at its centre."""
        return _centre(self._values(ops, arrays)[ops[-1].name])

    def _values(self, ops: tuple[Op, ...], arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = {self.reads: self.units}
        for o in ops:
            inputs = (values[i] for i in o.inputs)
            values[o.name] = execute(_bare(o), partial(_array, arrays, o), *inputs)
        return values

    def features(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """(d, features) what the last layer reads of each unit patch, in the order of `hessian.flat`."""
        last = self.ops[-1]
        values = self._values(self.ops[:-1], arrays)[last.inputs[0]]
        if values.ndim == 2:
            return values
        (rows, columns), (down, across) = window(last), last["dilation"] if last.kind == "conv" else (1, 1)
        around = F.pad(values, (across * (columns // 2),) * 2 + (down * (rows // 2),) * 2)
        top, left = values.shape[2] // 2, values.shape[3] // 2  # of the window around the centre, padded
        taps = [around[:, :, top + i * down, left + j * across] for i in range(rows) for j in range(columns)]
        return torch.cat(taps, 1)


def _array(arrays: Mapping[str, Tensor], o: Op, role: str) -> Tensor:
    return arrays[o.array(role)].double()


def _unit_patches(layer: Op, channels: int) -> Tensor:
    """(d, C, rows, columns), or (d, C) of a dense layer: a single one in each, in the order of `hessian.flat`."""
    if layer.kind == "linear":
        return torch.eye(channels).double()
    (rows, columns), (down, across) = layer["kernel"], layer["dilation"]
    units = torch.zeros(rows * columns * channels, channels, down * (rows - 1) + 1, across * (columns - 1) + 1).double()
    for tap in range(rows * columns):
        each = torch.arange(channels)
        units[tap * channels + each, each, tap // columns * down, tap % columns * across] = 1.0
    return units


def _centre(values: Tensor) -> Tensor:
    return values if values.ndim == 2 else values[:, :, values.shape[2] // 2, values.shape[3] // 2]


def _bare(o: Op) -> Op:
    """The operator without bias, at every place of a map."""
    if o.kind != "conv":
        return o.having(bias=0) if o.kind == "linear" else o
    padding = tuple(d * (k // 2) for d, k in zip(o["dilation"], o["kernel"], strict=True))
    return o.having(bias=0, stride=(1, 1), padding=padding)


def _descended(program: _Patchwise, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The arrays after some steps down the error, and the last solution."""
    last = program.ops[-1].array("weight")
    kernels = [o.array("weight") for o in program.ops if o.kind in LAYERS]
    work = len(program.h) * program.wanted.numel()
    steps = min(STEPS, int(MOST_WORK / (4 * work)))
    if steps and len(kernels) > 1:
        found = {n: a.double().requires_grad_(n in kernels) for n, a in arrays.items()}
        optimiser = torch.optim.LBFGS([found[n] for n in kernels], max_iter=steps, line_search_fn="strong_wolfe")

        def closure() -> float:
            optimiser.zero_grad()
            error = program.error(found)
            error.backward()  # type: ignore[no-untyped-call]
            return float(error.detach())

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        arrays = {n: a.detach() for n, a in found.items()}
    return arrays | {last: _solved(program, arrays, arrays[last])}


def _solved(program: _Patchwise, arrays: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """The last layer's kernel that fits best, given those before it; in groups each has its own features."""
    with torch.no_grad():
        features, last = program.features(arrays), program.ops[-1]
        count = groups(last)
        channels = like.shape[1] * count
        taps = features.view(len(features), -1, channels)  # (d, taps, channels)
        rows = []
        for n, wanted in enumerate(torch.chunk(program.wanted, count)):
            mine = taps[:, :, n * like.shape[1] : (n + 1) * like.shape[1]].flatten(1)
            seen = program.h @ mine
            gram = mine.T @ seen
            gram.diagonal().add_(RIDGE * float(gram.diagonal().mean()) or 1.0)
            rows.append(torch.linalg.solve(gram, (wanted @ seen).T).T)
        return unflat(torch.cat(rows), like)
