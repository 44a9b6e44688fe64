"""120 networks on 13 runtimes, as Graphs: the table of the benchmark that holds a whole family of runtimes out."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np
from latency_sets import DATA, Space
from spaces import _fused, _mobile, _Writer

from chipfit.core.graph import Graph
from chipfit.evaluate.latency.encode import graphs

FAMILIES = {
    "ort": ("ort",),
    "litert_xnn": ("litert_xnn", "litert_ruy", "tflm_f32", "tflm_i8"),
    "tract": ("tract",),
    "torch_eager": ("torch_eager", "torchscript"),
    "ethos-u55-128": ("ethos-u55-128", "ethos-u85-256"),
}
"""Each target and its family: what is held out with it."""


def mixed(stages: list[Mapping[str, Any]]) -> Graph:
    """The network of a specification: mobile, fused and residual stages on a 64x64 input."""
    w = _Writer(64)
    x = w.conv("x", 16, 3, 2, act="relu")
    for s in stages:
        act = {"hswish": "hard_swish"}.get(s["act"], s["act"])
        kernel = s["k"] if s["typ"] == "mb" else min(s["k"], 5)
        for n in range(s["n"]):
            shape = (s["c"], kernel, s["s"] if n == 0 else 1, s["e"], act)
            if s["typ"] == "mb":
                x = _mobile(w, x, *shape, s["se"])
            else:
                x = _fused(w, x, *shape, False) if s["typ"] == "fused" else _plain(w, x, *shape)
    return w.done(w.conv(x, 2 * w.shapes[x][0], 1, act="relu"))


def _plain(w: _Writer, x: str, width: int, kernel: int, stride: int, _: int, act: str) -> str:
    """Two convolutions, and a shortcut where the shape is kept."""
    y = w.conv(w.conv(x, width, kernel, stride, act=act), width, 3)
    return w.add([y, x]) if w.shapes[x] == w.shapes[y] else y


def runtimes() -> Space:
    """The 60 mixed networks; user cycles where they were counted, else microseconds.

    Raises:
        ValueError: a graph whose parameters or MACs are not those of the table.
    """
    data = np.load(DATA / "runtimes13.npz")
    rows = np.flatnonzero(data["space"] == "mb")
    made = [mixed(ast.literal_eval(str(data["arch"][i]))) for i in rows]
    for i, g in zip(rows, made, strict=True):
        if (g.total_macs, g.total_params) != (data["macs"][i], data["params"][i]):
            raise ValueError(f"network {i}: {g.total_macs} MACs, {g.total_params} parameters; {data['macs'][i]} MACs")
    values = np.where(np.isfinite(data["cycles_user"]), data["cycles_user"], data["latency_us"])[:, rows].T
    return Space(graphs([str(i) for i in rows], made), tuple(str(n) for n in data["names"]), values)
