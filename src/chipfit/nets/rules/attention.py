"""Rules of products of two values, and of attention, which is taken apart into such.

softmax(q kᵀ / sqrt(d) + mask) v is written as its transposition, products and softmax: runtimes run these as fast as
anything, and heads, keys and values are then seen as the channels that they are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chipfit.nets.masks import BLOCKED
from chipfit.nets.program import BATCH
from chipfit.nets.rules.call import Call, part_name
from chipfit.nets.rules.constants import Constant, once
from chipfit.nets.rules.sources import changed, scaled, source
from chipfit.nets.rules.tracer import Known, Rule, Tracer


def matmul(t: Tracer, call: Call) -> None:
    """The product of two values, or of a value and a constant."""
    second = "mat2" if "mat2" in call.values else "other"
    left, right = t.operand(call, "self"), t.operand(call, second)
    if isinstance(right, Constant) and right.learnt and right.value.dim() == 2 and isinstance(left, str):
        _dense(t, call, left, right)
        return
    rank = len(t.sample_shape(call.node))
    _behind_the_batch(call)
    x, y = (_matrix(t, call, found, rank) for found in (left, right))
    if len(t.shapes[x]) != rank or len(t.shapes[y]) != rank:
        call.refuse(f"between shapes {t.shapes[x]} and {t.shapes[y]}")
    t.put(call, "matmul", (x, y))


def _behind_the_batch(call: Call) -> None:
    """Refuses a product along, or into, an axis that holds the batch."""
    if call.layout.axis >= len(call.shape) - 2:
        call.refuse("along an axis that holds the batch")


def _matrix(t: Tracer, call: Call, found: Known, rank: int) -> str:
    if not isinstance(found, Constant):
        return t.made(call, found)
    kept, _ = once(found, BATCH)
    if kept is None:
        call.refuse(f"with '{found.name}', which differs from input to input by its place in the batch,")
    value = kept.value
    whole = (1,) * (rank + 1 - value.dim()) + tuple(value.shape)
    if len(whole) != rank + 1 or whole[0] != 1:
        call.refuse(f"with constant '{found.name}' of shape {tuple(value.shape)}")
    return source(t, call, kept, whole[1:])


def _dense(t: Tracer, call: Call, x: str, matrix: Constant, bias: Constant | None = None) -> None:
    """A value times a matrix, as a dense layer with the transposed matrix."""
    turned = changed(matrix, matrix.value.t().contiguous(), "transpose")
    arrays = {"weight": turned} if bias is None else {"weight": turned, "bias": bias}
    t.layer(call, "linear", (x,), arrays, t.owner(call, matrix, "weight"), bias=int(bias is not None))


def addmm(t: Tracer, call: Call) -> None:
    """A matrix product and a bias, a dense layer by another name."""
    x, matrix, bias = t.value(call, "mat1"), t.constant(call, "mat2"), t.constant(call, "self")
    assert matrix is not None
    assert bias is not None
    if bias.value.dim() != 1:
        call.refuse("adds more than a bias, which")
    _dense(t, call, x, matrix, bias)


def attention(t: Tracer, call: Call) -> None:
    """Scaled dot-product attention (Vaswani et al. 2017) of values (..., n, d), with a mask on the scores or none."""
    call.ignore("dropout_p", "enable_gqa")  # of training; grouped queries have other shapes, which are refused below
    q, k, v = (t.value(call, name) for name in ("query", "key", "value"))
    _behind_the_batch(call)
    shapes = [t.shapes[name] for name in (q, k, v)]
    if len({(len(s), s[:-2]) for s in shapes}) > 1:
        call.refuse(f"between shapes {shapes[0]}, {shapes[1]} and {shapes[2]}")
    scale = call.take("scale")
    scale = 1 / math.sqrt(shapes[0][-1]) if scale is None else float(scale)
    scores = (*shapes[0][:-1], shapes[1][-2])
    mask = _mask(t, call, scores)
    weights = _weights(t, call, scaled(t, call, q, scale), _turned(t, call, k), scores, mask)
    t.put(call, "matmul", (weights, v))


def _turned(t: Tracer, call: Call, x: str) -> str:
    *rest, n, d = t.shapes[x]
    perm = (*range(len(rest)), len(rest) + 1, len(rest))
    return t.add(part_name(call, "transpose"), "transpose", (x,), (*rest, d, n), perm=perm)


def _weights(t: Tracer, call: Call, q: str, keys: str, scores: tuple[int, ...], mask: str | None) -> str:
    """The shares with which each query looks at each key."""
    made = t.add(part_name(call, "scores"), "matmul", (q, keys), scores)
    if mask is not None:
        made = t.add(part_name(call, "masked"), "add", (made, mask), scores)
    return t.add(part_name(call, "softmax"), "softmax", (made,), scores, axis=len(scores) - 1)


def _mask(t: Tracer, call: Call, scores: tuple[int, ...]) -> str | None:
    """The operator that holds what is added to the scores; None for nothing."""
    if call.take("is_causal", False):
        seen = torch.ones(scores[-2:], dtype=torch.bool).tril()
        return _added(t, call, Constant(seen, "causal mask"), scores)
    if call.values.get("attn_mask") is None:
        return None
    mask = t.operand(call, "attn_mask")
    if isinstance(mask, Constant):
        return _added(t, call, mask, scores)
    made = t.made(call, mask)
    if len(t.shapes[made]) != len(scores):
        call.refuse(f"with a mask of shape {t.shapes[made]} on scores of shape {scores}")
    return made


def _added(t: Tracer, call: Call, mask: Constant, scores: tuple[int, ...]) -> str:
    kept, _ = once(mask, BATCH)
    if kept is None:
        call.refuse(f"with a mask '{mask.name}' that differs from input to input")
    value = kept.value
    if value.dtype == torch.bool or not bool(value.isfinite().all()):
        kept = changed(kept, _finite(value), "finite")
    rank = len(scores)
    whole = (1,) * (rank + 1 - value.dim()) + tuple(value.shape)
    narrow = call.layout.constant(kept.value.reshape(whole), len(call.shape)) if call.layout.axis else None
    shape = tuple((kept.value.reshape(whole) if narrow is None else narrow).shape)
    if len(shape) != rank + 1 or shape[0] != 1:
        call.refuse(f"with a mask of shape {tuple(value.shape)}")
    return source(t, call, kept, shape[1:])


def _finite(mask: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return torch.where(mask, 0.0, BLOCKED)
    return mask.clamp(min=BLOCKED)


TABLE: dict[str, Rule] = {
    "matmul": matmul, "bmm": matmul, "mm": matmul, "addmm": addmm, "scaled_dot_product_attention": attention,
}  # fmt: skip
