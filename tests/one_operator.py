"""Graphs of one operator (and what it needs), each with the torch expression that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.core.graph import Graph, Network, Op, op
from chipfit.core.kinds import KINDS
from chipfit.core.opaque import Array, Program, Step

Arrays = Mapping[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A graph, and what it computes of an input and the arrays of its last operator by role."""

    graph: Graph
    wanted: Callable[[Tensor, Arrays], Tensor]
    positive: bool = False

    @property
    def kind(self) -> str:
        return self.graph.ops[-1].kind

    def network(self, seed: int = 0) -> Network:
        rng = np.random.default_rng(seed)
        shapes = {name: s for o in self.graph for name, s in self.graph.weight_shapes(o).items()}
        return Network(self.graph, {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()})

    def inputs(self, n: int) -> np.ndarray:
        x = np.random.default_rng(1).normal(size=(n, *self.graph.input_shape)).astype(np.float32)
        if self.graph.ops[0].get("integer"):
            return np.abs(x * 3).astype(np.int64) % 7
        return np.abs(x) + np.float32(0.1) if self.positive else x

    def want(self, x: np.ndarray) -> np.ndarray:
        last, weights = self.graph.ops[-1], self.network().weights
        own = {role: torch.from_numpy(weights[last.array(role)]) for role in self.graph.roles(last)}
        return self.wanted(torch.from_numpy(x), own).numpy()


def one(
    kind: str, before: tuple[int, ...], after: tuple[int, ...], wanted: Callable[..., Tensor], *,
    positive: bool = False, **attrs: Any,
) -> Case:  # fmt: skip
    """The operator alone."""
    prefix = "odd" if KINDS[kind].arrays else ""
    made = op("odd", kind, ("x",), after, prefix, **attrs)
    if not Graph((op("x", "input", (), before), made), "odd").roles(made):
        made = op("odd", kind, ("x",), after, **attrs)
        return Case(Graph((op("x", "input", (), before), made), "odd"), lambda x, w: wanted(x), positive)
    return Case(Graph((op("x", "input", (), before), made), "odd"), wanted, positive)


def pointwise(kind: str, wanted: Callable[[Tensor], Tensor], *, positive: bool = False, **attrs: Any) -> Case:
    return one(kind, (3, 4, 5), (3, 4, 5), wanted, positive=positive, **attrs)


def two(kind: str, wanted: Callable[[Tensor, Tensor], Tensor]) -> Case:
    """A value and the first column of its sigmoid."""
    ops = (
        op("x", "input", (), (3, 4)),
        op("bent", "sigmoid", ("x",), (3, 4)),
        op("part", "slice", ("bent",), (3, 1), axis=1, start=0, stop=1, step=1),
        op("odd", kind, ("x", "part"), (3, 4)),
    )
    return Case(Graph(ops, "odd"), lambda x, w: wanted(x, torch.sigmoid(x)[:, :, :1]))


def with_constant(kind: str, shape: tuple[int, ...], constant: tuple[int, ...], **attrs: Any) -> Case:
    """A value and a constant, which is what the case is about: it stands last but one."""
    made = tuple(max(a, b) for a, b in zip(shape, constant, strict=True))
    if kind == "concat":
        made = (shape[0] + constant[0], *shape[1:])
    ops = (
        op("x", "input", (), shape),
        op("odd", "constant", (), constant, "odd", learnt=1),
        op("made", kind, ("odd", "x"), made, **attrs),
    )
    return Case(Graph(ops, "made"), lambda x, w: x)


def normed(y: Tensor, w: Arrays) -> Tensor:
    """A norm's scale and shift of each channel."""
    form = (-1, *(1,) * (y.ndim - 2))
    y = y * w["weight"].view(form) if "weight" in w else y
    return y + w["bias"].view(form) if "bias" in w else y


def _even(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    mean = x.mean(axes, keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(axes, keepdim=True) + eps)


def _rms(x: Tensor, w: Arrays) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-3) * w["weight"]


def _group(x: Tensor, w: Arrays) -> Tensor:
    grouped = _even(x.reshape(len(x), 2, -1), (2,), 1e-3)
    return normed(grouped.reshape(x.shape), w)


def _instance(x: Tensor, w: Arrays) -> Tensor:
    return normed(_even(x, (2, 3), 1e-3), w)


def _resized(**how: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: F.interpolate(x, **how)


def _resize(after: tuple[int, int], wanted: Callable[[Tensor], Tensor], **attrs: Any) -> Case:
    return one("resize", (3, 4, 5), (3, *after), wanted, **attrs)


_WINDOW = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}


def _transposed(x: Tensor, w: Arrays) -> Tensor:
    return F.conv_transpose2d(x, w["weight"], w["bias"], (2, 1), (1, 0), (1, 0), 2, (1, 2))


def _conv3d(x: Tensor, w: Arrays) -> Tensor:
    return F.conv3d(x, w["weight"], w["bias"], (1, 2, 1), (1, 1, 0), 1, 2)


CASES: dict[str, Case] = {
    "mish": pointwise("mish", F.mish),
    "elu": pointwise("elu", lambda x: F.elu(x, 0.7), alpha=0.7),
    "celu": pointwise("celu", lambda x: F.celu(x, 0.7), alpha=0.7),
    "selu": pointwise("selu", F.selu),
    "softplus": pointwise("softplus", lambda x: torch.log1p(torch.exp(x)), beta=1.0),
    "softplus 2": pointwise("softplus", lambda x: torch.log1p(torch.exp(2 * x)) / 2, beta=2.0),
    "softsign": pointwise("softsign", lambda x: x / (1 + x.abs())),
    "abs": pointwise("abs", torch.abs),
    "exp": pointwise("exp", torch.exp),
    "log": pointwise("log", torch.log, positive=True),
    "sqrt": pointwise("sqrt", torch.sqrt, positive=True),
    "sin": pointwise("sin", torch.sin),
    "cos": pointwise("cos", torch.cos),
    "erf": pointwise("erf", torch.erf),
    "reciprocal": pointwise("reciprocal", lambda x: 1 / x, positive=True),
    "pow": pointwise("pow", lambda x: x**1.7, positive=True, exponent=1.7),
    "div": two("div", lambda x, y: x / y),
    "maximum": two("maximum", torch.maximum),
    "minimum": two("minimum", torch.minimum),
    "layer_norm": one(
        "layer_norm", (5, 6), (5, 6), lambda x, w: _even(x, (2,), 1e-3) * w["weight"] + w["bias"],
        axes=1, eps=1e-3, weight=1, bias=1,
    ),
    "layer_norm of two axes": one(
        "layer_norm", (3, 4, 5), (3, 4, 5), lambda x, w: _even(x, (2, 3), 1e-3) * w["weight"],
        axes=2, eps=1e-3, weight=1, bias=0,
    ),
    "layer_norm alone": one(
        "layer_norm", (5, 6), (5, 6), lambda x: _even(x, (2,), 1e-3), axes=1, eps=1e-3, weight=0, bias=0
    ),
    "rms_norm": one("rms_norm", (5, 6), (5, 6), _rms, axes=1, eps=1e-3, weight=1, bias=0),
    "group_norm": one("group_norm", (4, 3, 5), (4, 3, 5), _group, groups=2, eps=1e-3, weight=1, bias=1),
    "group_norm alone": one(
        "group_norm", (4, 3, 5), (4, 3, 5), lambda x: _group(x, {}), groups=2, eps=1e-3, weight=0, bias=0
    ),
    "instance_norm": one("instance_norm", (4, 3, 5), (4, 3, 5), _instance, eps=1e-3, weight=1, bias=1),
    "instance_norm alone": one(
        "instance_norm", (4, 3, 5), (4, 3, 5), lambda x: _instance(x, {}), eps=1e-3, weight=0, bias=0
    ),
    "affine of the last axis": one(
        "affine", (5, 6), (5, 6), lambda x, w: x * w["scale"] + w["shift"],
        axis=1, scale=1, shift=1, single=0, learnt=1,
    ),
    "reduce_mean": one("reduce_mean", (3, 4, 5), (3, 5), lambda x: x.mean(2), axes=(1,), keep=0),
    "reduce_sum": one("reduce_sum", (3, 4, 5), (1, 4, 1), lambda x: x.sum((1, 3), keepdim=True), axes=(0, 2), keep=1),
    "reduce_max": one("reduce_max", (3, 4, 5), (3, 4), lambda x: x.amax(3), axes=(2,), keep=0),
    "reduce_min": one("reduce_min", (3, 4, 5), (3, 4), lambda x: x.amin(3), axes=(2,), keep=0),
    "reduce_var": one(
        "reduce_var", (3, 4, 5), (3,), lambda x: x.var((2, 3)), axes=(1, 2), keep=0, correction=1.0
    ),
    "resize nearest": _resize((8, 15), _resized(size=(8, 15)), mode="nearest", align=0),
    "resize nearest, odd": _resize((7, 9), _resized(size=(7, 9)), mode="nearest", align=0),
    "resize linear": _resize((8, 10), _resized(scale_factor=2.0, mode="bilinear"), mode="linear", align=0),
    "resize linear, odd": _resize((7, 3), _resized(size=(7, 3), mode="bilinear"), mode="linear", align=0),
    "resize linear, corners": _resize(
        (9, 7), _resized(size=(9, 7), mode="bilinear", align_corners=True), mode="linear", align=1
    ),
    "resize linear, by its factor": _resize(
        (6, 8), _resized(scale_factor=(1.6, 1.7), mode="bilinear"), mode="linear", align=0, scales=(1.6, 1.7)
    ),
    "resize cubic": _resize((8, 10), _resized(size=(8, 10), mode="bicubic"), mode="cubic", align=0),
    "conv3d": one(
        "conv3d", (4, 5, 6, 7), (6, 5, 3, 5), _conv3d,
        kernel=(3, 3, 3), stride=(1, 2, 1), padding=(1, 1, 0), dilation=(1, 1, 1), groups=2, bias=1,
    ),
    "max_pool3d": one(
        "max_pool3d", (2, 5, 6, 7), (2, 3, 3, 3), lambda x: F.max_pool3d(x, (3, 2, 3), 2, (1, 0, 0)),
        kernel=(3, 2, 3), stride=(2, 2, 2), padding=(1, 0, 0), ceil=0,
    ),
    "avg_pool3d": one(
        "avg_pool3d", (2, 5, 6, 7), (2, 3, 3, 4), lambda x: F.avg_pool3d(x, 2, 2, 0, True, False),
        kernel=(2, 2, 2), stride=(2, 2, 2), padding=(0, 0, 0), ceil=1, count_include_pad=0,
    ),
    "conv_transpose": one(
        "conv_transpose", (4, 5, 6), (6, 10, 10), _transposed, kernel=(3, 3), **_WINDOW, extra=(1, 0), groups=2, bias=1
    ),
    "matmul": Case(
        Graph(
            (
                op("x", "input", (), (2, 4, 5)),
                op("turned", "transpose", ("x",), (2, 5, 4), perm=(0, 2, 1)),
                op("odd", "matmul", ("x", "turned"), (2, 4, 4)),
            ),
            "odd",
        ),
        lambda x, w: x @ x.transpose(2, 3),
    ),
    "embedding": Case(
        Graph(
            (
                op("x", "input", (), (4,), integer=1),
                op("odd", "embedding", ("x",), (4, 3), "odd", words=7),
            ),
            "odd",
        ),
        lambda x, w: w["weight"][x],
    ),
}  # fmt: skip


def _ends(kind: str, shape: tuple[int, ...], constant: tuple[int, ...], **attrs: Any) -> Case:
    """A case of a constant, whose array the wanted expression looks up by hand."""
    case = with_constant(kind, shape, constant, **attrs)
    array = torch.from_numpy(case.network().weights["odd.value"])
    joins: dict[str, Callable[[Tensor], Tensor]] = {
        "add": lambda x: x + array,
        "mul": lambda x: x * array,
        "matmul": lambda x: array @ x,
        "concat": lambda x: torch.cat([array.expand(len(x), *array.shape), x], 1),
    }
    return Case(case.graph, lambda x, w: joins[kind](x))


_RUNNING = Program(
    (Step("cumsum.default", ({"input": 0}, 1), {}), Step("mul.Tensor", ({"step": 0}, {"array": "gain"}), {})),
    {"step": 1},
    (Array("gain", (5, 4), "float32", True),),
)

CASES["opaque"] = one(
    "opaque", (3, 5, 4), (3, 5, 4), lambda x, w: x.cumsum(1) * w["gain"], program=_RUNNING.text(), macs=0
)

CONSTANTS: dict[str, Case] = {
    "positions added": _ends("add", (5, 6), (5, 6)),
    "one row for all": _ends("mul", (3, 5, 6), (1, 5, 1)),
    "a class token": _ends("concat", (5, 6), (1, 6), axis=0),
    "windows": _ends("matmul", (3, 5, 5), (1, 5, 5)),
}


def by_kind(cases: Mapping[str, Case]) -> frozenset[str]:
    return frozenset(o.kind for case in cases.values() for o in case.graph)


def last(case: Case) -> Op:
    return case.graph.ops[-1]
