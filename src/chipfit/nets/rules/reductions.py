"""Rules of means, sums, maxima and variances over any axes behind the batch."""

from __future__ import annotations

from typing import Any

import torch

from chipfit.nets.rules.call import Call, part_name, shape_of
from chipfit.nets.rules.tracer import Rule, Tracer


def reduction(kind: str) -> Rule:
    """The rule of one; a reduction over all axes would take the batch together and is refused."""

    def rule(t: Tracer, call: Call) -> None:
        t.known[call.node.name] = reduced(t, call, kind, t.value(call))

    return rule


def extremum(kind: str, join: str) -> Rule:
    """The rule of `max` and `min`, which are over one axis (with places, which have none) or between two values."""

    def rule(t: Tracer, call: Call) -> None:
        if "other" in call.values:
            t.put(call, join, (t.value(call, "self"), t.value(call, "other")))
            return
        if any(user.args[1] == 1 and user.users for user in call.node.users):
            call.refuse("tells the places too, which")
        t.known[call.node.name] = reduced(t, call, kind, t.value(call))
        t.parts[call.node.name] = [t.known[call.node.name]] * 2

    return rule


def variance(t: Tracer, call: Call) -> None:
    """Mean square distance from the mean."""
    t.known[call.node.name] = reduced(t, call, "reduce_var", t.value(call), correction=_correction(call))


def deviation(t: Tracer, call: Call) -> None:
    """The root of the variance."""
    spread = reduced(t, call, "reduce_var", t.value(call), correction=_correction(call))
    t.put(call, "sqrt", (spread,))


def _correction(call: Call) -> float:
    if "unbiased" in call.values:
        return float(bool(call.take("unbiased")))
    given = call.take("correction", 1)
    return 1.0 if given is None else float(given)


def norm(t: Tracer, call: Call) -> None:
    """The root of the sum of squares."""
    order = float(call.take("ord", 2) if "ord" in call.values else call.take("p", 2))
    call.in_float()
    if order != 2:
        call.refuse(f"of order {order}")
    x = t.value(call)
    square = t.add(part_name(call, "square"), "mul", (x, x), t.shapes[x])
    t.put(call, "sqrt", (reduced(t, call, "reduce_sum", square),))


def cosine(t: Tracer, call: Call) -> None:
    """X · y / (max(|x|, eps) · max(|y|, eps)) along one axis."""
    x, y = t.value(call, "x1"), t.value(call, "x2")
    axis, eps = call.axis(int(call.take("dim")), len(t.shapes[x]) + 1), float(call.take("eps"))
    shape = t.sample_shape(call.node)
    if t.shapes[x] != t.shapes[y] or shape != (*t.shapes[x][:axis], *t.shapes[x][axis + 1 :]):
        call.refuse(f"between shapes {t.shapes[x]} and {t.shapes[y]}")

    def summed(a: str, b: str, word: str) -> str:
        product = t.add(part_name(call, word), "mul", (a, b), t.shapes[a])
        return t.add(part_name(call, f"{word} sum"), "reduce_sum", (product,), shape, axes=(axis,), keep=0)

    def length(a: str, word: str) -> str:
        root = t.add(part_name(call, f"{word} length"), "sqrt", (summed(a, a, word),), shape)
        largest = float(torch.finfo(torch.float32).max)
        return t.add(part_name(call, f"{word} clip"), "clip", (root,), shape, low=eps, high=largest)

    lengths = t.add(part_name(call, "lengths"), "mul", (length(x, "left"), length(y, "right")), shape)
    t.put(call, "div", (summed(x, y, "both"), lengths))


def reduced(t: Tracer, call: Call, kind: str, x: str, **attrs: Any) -> str:
    """The operator that takes the axes of a call together."""
    rank = len(shape_of(call.node_of("self")))
    dims = call.take("dim")
    wanted = [dims] if isinstance(dims, int) else dims
    if not wanted:
        call.forbid("over all axes, the batch among them, which")
    axes = tuple(sorted({call.axis(int(a), rank) for a in wanted}))
    keep = int(bool(call.take("keepdim", False)))
    call.in_float()
    before = t.shapes[x]
    kept = tuple(1 if a in axes else n for a, n in enumerate(before))
    shape = kept if keep else tuple(n for a, n in enumerate(before) if a not in axes)
    return t.add(t.wish(call, kind), kind, (x,), shape, axes=axes, keep=keep, **attrs)


TABLE: dict[str, Rule] = {
    "sum": reduction("reduce_sum"), "amin": reduction("reduce_min"), "max": extremum("reduce_max", "maximum"),
    "min": extremum("reduce_min", "minimum"), "var": variance, "std": deviation, "linalg_vector_norm": norm,
    "norm": norm, "cosine_similarity": cosine,
}  # fmt: skip
