"""Pools, reductions over whole axes, and maps of another size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from chipfit.core.graph import Op
from chipfit.nets.executors.forms import Function


def _window(o: Op) -> dict[str, Any]:
    window = {"kernel_size": o["kernel"], "stride": o["stride"], "padding": o["padding"]}
    return window | {"ceil_mode": bool(o["ceil"])}


def _max_pool(o: Op) -> Function:
    return partial(F.max_pool2d, **_window(o))


def _avg_pool(o: Op) -> Function:
    return partial(F.avg_pool2d, **_window(o), count_include_pad=bool(o["count_include_pad"]))


def _max_pool3d(o: Op) -> Function:
    return partial(F.max_pool3d, **_window(o))


def _avg_pool3d(o: Op) -> Function:
    return partial(F.avg_pool3d, **_window(o), count_include_pad=bool(o["count_include_pad"]))


def _global_pool(o: Op) -> Function:
    keep = bool(o["keep"])
    return lambda x: x.mean((2, 3), keepdim=keep)


def _global_max_pool(o: Op) -> Function:
    keep = bool(o["keep"])
    return lambda x: x.amax((2, 3), keepdim=keep)


def _reduction(reduce: Callable[..., Any]) -> Callable[[Op], Function]:
    def rule(o: Op) -> Function:
        return partial(reduce, dim=tuple(a + 1 for a in o["axes"]), keepdim=bool(o["keep"]))

    return rule


def _variance(o: Op) -> Function:
    axes = tuple(a + 1 for a in o["axes"])
    return partial(torch.var, dim=axes, keepdim=bool(o["keep"]), correction=o["correction"])


_MODES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}


def _resize(o: Op) -> Function:
    how: dict[str, Any] = {"mode": _MODES[o["mode"]]}
    if o["mode"] != "nearest":
        how["align_corners"] = bool(o["align"])
    if (scales := o.get("scales")) is not None:
        return partial(F.interpolate, scale_factor=scales, **how)
    return partial(F.interpolate, size=o.shape[-2:], **how)


POOLS: dict[str, Callable[[Op], Function]] = {
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "max_pool3d": _max_pool3d,
    "avg_pool3d": _avg_pool3d,
    "global_pool": _global_pool,
    "global_max_pool": _global_max_pool,
    "reduce_mean": _reduction(torch.mean),
    "reduce_sum": _reduction(torch.sum),
    "reduce_max": _reduction(torch.amax),
    "reduce_min": _reduction(torch.amin),
    "reduce_var": _variance,
    "resize": _resize,
}
