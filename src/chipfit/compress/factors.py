"""Programs fitted to the weight of the layer that they replace, in closed form.

A chain of convolutions is one convolution whose kernel is a product of theirs. From the first operator on, the weight
W (O, C, rows, columns) is unfolded into what the operator sees of it and the rest, and the operator gets the leading
singular vectors: one that reads all channels

    W  ->  matrix (its taps x C, other taps x O)  ~  U S V',      kernel U_r S_r^(1/2),      left over  S_r^(1/2) V_r',

one in groups (a depth-wise one: of one channel each, r = 1) the same of each group. What is left over is the weight
that the next operators are fitted to, on r channels; the last one takes it all. So a depth-wise kernel before a 1x1
one is the rank-1 approximation of each channel (Jaderberg et al. 2014), a column before a row the low-rank one (Tai et
al. 2016), and 1x1, kxk, 1x1 the truncated higher-order decomposition (Tucker-2, Kim et al. 2016). At full rank the
product is W. Programs that are no such chain get kernels that are drawn, the same ones each time: what fits best is
left to second moments (`fitting`) and to repair.
"""

from __future__ import annotations

import zlib
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.edits import Fitted
from chipfit.core.graph import LAYERS, Op

Array = NDArray[Any]
Floats = NDArray[np.float64]


def closed_form(fitted: Fitted, weight: Array) -> dict[str, Array]:
    """The arrays of all operators that stand in a layer's place, by name, from the layer's weight.

    Of those that are no kernels factors and variances are 1, offsets and means 0. The layer's bias is not among them.
    """
    weights = kernels_of(fitted)
    made = _peeled(fitted, as_map(weight)) if is_chain(fitted) else None
    kernels = made if made is not None else {name: _drawn(name, shape) for name, shape in weights.items()}
    found: dict[str, Array] = {}
    for o in fitted.instead:
        for role, shape in fitted.instead.roles(o).items():
            name = o.array(role)
            values = kernels[name].reshape(shape) if name in kernels else _neutral(role, shape)
            found[name] = np.ascontiguousarray(values, dtype=weight.dtype)
    return found


def kernels_of(fitted: Fitted) -> dict[str, tuple[int, ...]]:
    """Name to shape of the weights of the layers in a layer's place."""
    graph = fitted.instead
    return {o.array("weight"): graph.roles(o)["weight"] for o in graph if o.kind in LAYERS}


def as_map(weight: Array) -> Floats:
    """A weight as that of a convolution, (O, C, rows, columns); a dense layer's is one of a 1x1 kernel."""
    return weight.reshape(*weight.shape[:2], *(weight.shape[2:] or (1, 1))).astype(np.float64)


def window(o: Op) -> tuple[int, int]:
    """Rows and columns of a layer's kernel."""
    rows, columns = o["kernel"] if o.kind == "conv" else (1, 1)
    return rows, columns


def groups(o: Op) -> int:
    """Groups of a layer's channels."""
    return int(o["groups"]) if o.kind == "conv" else 1


def is_chain(fitted: Fitted) -> bool:
    """True where layers stand one behind the other, and one of them has all taps of the replaced layer along an axis.

    A column before a row makes a square: of the replaced layer's rows, and of its columns, all are in one window.
    """
    graph = fitted.instead
    before = graph.ops[0]
    for o in graph.ops[1:]:
        if o.kind not in LAYERS or o.inputs != (before.name,) or not _as_dilated(fitted.layer, o):
            return False
        before = o
    return all(_one_has_all(fitted, axis) for axis in (0, 1))


def _one_has_all(fitted: Fitted, axis: int) -> bool:
    """True where one layer has all taps of the replaced one along an axis, and the others one each."""
    taps = [window(o)[axis] for o in fitted.instead.ops[1:]]
    return max(taps) == prod(taps) == window(fitted.layer)[axis]


def _as_dilated(layer: Op, o: Op) -> bool:
    """True where a window's taps are as far apart as the replaced layer's."""
    if o.kind != "conv":
        return True
    apart = layer["dilation"] if layer.kind == "conv" else (1, 1)
    return all(k == 1 or own == said for k, own, said in zip(o["kernel"], o["dilation"], apart, strict=True))


def _peeled(fitted: Fitted, weight: Floats) -> dict[str, Floats]:
    """The kernels of a chain, from its first layer on."""
    ops, found, left = fitted.instead.ops[1:], dict[str, Floats](), weight
    for n, o in enumerate(ops):
        behind = ops[n + 1 :]
        if not behind:
            found[o.array("weight")] = _own_groups(left, groups(o))
        elif len(behind) == 1 and groups(behind[0]) == len(weight) == _outputs(fitted, o) > 1 == groups(o):
            found[o.array("weight")], found[behind[0].array("weight")] = _by_output(left, window(o))
            break
        else:
            found[o.array("weight")], left = _first(left, window(o), groups(o), _outputs(fitted, o))
    return found


def _outputs(fitted: Fitted, o: Op) -> int:
    return fitted.instead.roles(o)["weight"][0]


def _own_groups(weight: Floats, count: int) -> Floats:
    """(O, C / groups, rows, columns) what a layer in groups can have of a weight on all channels."""
    rows = np.split(weight, count)
    each = weight.shape[1] // count
    return np.concatenate([row[:, n * each : (n + 1) * each] for n, row in enumerate(rows)])


def _first(weight: Floats, taps: tuple[int, int], count: int, outputs: int) -> tuple[Floats, Floats]:
    """A layer's kernel (outputs, C / groups, *taps), and the weight (O, outputs, ...) that is left for those behind."""
    o, c, rows, columns = weight.shape
    seen = [taps[0] > 1, taps[1] > 1]
    # axes: output, channel, then along rows and columns what the layer sees and what it leaves
    parts = weight.reshape(o, c, *(_split(rows, seen[0])), *(_split(columns, seen[1])))
    parts = parts.transpose(1, 2, 4, 3, 5, 0)
    kernels, rests = [], []
    for group in np.split(parts, count):
        here = group.reshape(prod(group.shape[:3]), -1)
        kernel, rest = _factors(here, outputs // count)
        kernels.append(kernel.T.reshape(-1, *group.shape[:3]))
        rests.append(rest.reshape(-1, *group.shape[3:]))
    left = np.concatenate(rests).transpose(3, 0, 1, 2)
    return np.concatenate(kernels), left


def _split(size: int, seen: bool) -> tuple[int, int]:
    """What a layer sees of an axis of a kernel, and what it leaves."""
    return (size, 1) if seen else (1, size)


def _by_output(weight: Floats, taps: tuple[int, int]) -> tuple[Floats, Floats]:
    """Kernels of a layer and of a depth-wise one behind it: of each output alone the rank-1 approximation."""
    o, c, rows, columns = weight.shape
    seen = [taps[0] > 1, taps[1] > 1]
    parts = weight.reshape(o, c, *(_split(rows, seen[0])), *(_split(columns, seen[1]))).transpose(0, 1, 2, 4, 3, 5)
    pairs = [_factors(part.reshape(prod(part.shape[:3]), -1), 1) for part in parts]
    first = np.stack([kernel[:, 0] for kernel, _ in pairs]).reshape(o, *parts.shape[1:4])
    last = np.stack([rest[0] for _, rest in pairs]).reshape(o, 1, *parts.shape[4:])
    return first, last


def _factors(matrix: Floats, rank: int) -> tuple[Floats, Floats]:
    """(rows, rank) and (rank, columns) whose product is nearest to a matrix, of equal norms; zeros beyond its rank.

    From the eigenvectors of the smaller Gram matrix, which is quick where one side is long, and exact at full rank.
    """
    rows, columns = matrix.shape
    wide = rows <= columns
    gram = matrix @ matrix.T if wide else matrix.T @ matrix
    vectors = np.linalg.eigh(gram)[1][:, ::-1][:, :rank]
    left, right = (vectors, vectors.T @ matrix) if wide else (matrix @ vectors, vectors.T)
    sizes = np.linalg.norm(right if wide else left.T, axis=1)
    even = np.sqrt(np.maximum(sizes, TINY))
    left, right = (left * even, right / even[:, None]) if wide else (left / even, right * even[:, None])
    signs = np.sign(left[np.abs(left).argmax(0), np.arange(left.shape[1])])
    signs[signs == 0] = 1.0
    more = rank - left.shape[1]
    return np.pad(left * signs, ((0, 0), (0, more))), np.pad(right * signs[:, None], ((0, more), (0, 0)))


TINY = 1e-30
"""Below this there is nothing left to share."""


def _drawn(name: str, shape: tuple[int, ...]) -> Floats:
    """A kernel from a stream of random numbers that belongs to its name and shape, which keeps the size of values."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), *shape])
    return rng.normal(size=shape) / sqrt(prod(shape[1:]))


def _neutral(role: str, shape: tuple[int, ...]) -> Floats:
    """An array that changes nothing: of factors and variances 1, of offsets and means 0."""
    ones = role in ("weight", "scale", "running_var")
    return np.ones(shape) if ones else np.zeros(shape)
