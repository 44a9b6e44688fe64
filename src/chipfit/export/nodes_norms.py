"""ONNX rules of norms by the statistics of each input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from chipfit.core.graph import Op
from chipfit.core.kinds import Shape, Shapes
from chipfit.export.sheet import Emit, Sheet


def _layer_norm(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    x, *arrays = ins
    if not o["weight"]:  # ONNX asks for a scale
        arrays = [_ones(sheet, o, o.shape[-o["axes"] :]), *arrays]
    sheet.node("LayerNormalization", [x, *arrays], out, o.name, axis=-o["axes"], epsilon=float(o["eps"]))


def _rms_norm(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    """X / sqrt(mean(x²) + eps), node by node: runtimes fuse these, and few know the operator of opset 23."""
    x, *weight = ins
    axes = sheet.constant(f"{o.name}/axes", np.arange(-o["axes"], 0))
    two, eps = (sheet.constant(f"{o.name}/{word}", np.float32(v)) for word, v in (("two", 2.0), ("eps", o["eps"])))
    square = sheet.node("Pow", [x, two], f"{o.name}/square")
    mean = sheet.node("ReduceMean", [square, axes], f"{o.name}/mean", keepdims=1)
    root = sheet.node("Sqrt", [sheet.node("Add", [mean, eps], f"{o.name}/above")], f"{o.name}/root")
    if weight:
        sheet.node("Mul", [sheet.node("Div", [x, root], f"{o.name}/even"), *weight], out, o.name)
    else:
        sheet.node("Div", [x, root], out, o.name)


def _group_norm(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    """Each group as one channel of an instance norm, then the scale and shift of each channel.

    ONNX's own of opset 18 has one scale for a group, which is not torch's.
    """
    groups, (x, *arrays) = o["groups"], ins
    rows = sheet.constant(f"{o.name}/rows", np.array([0, groups, -1]))
    whole = sheet.constant(f"{o.name}/shape", np.array([-1, *o.shape]))
    one, none = _ones(sheet, o, (groups,)), sheet.constant(f"{o.name}/zeros", np.zeros(groups, np.float32))
    grouped = sheet.node("Reshape", [x, rows], f"{o.name}/groups")
    even = sheet.node("InstanceNormalization", [grouped, one, none], f"{o.name}/even", epsilon=float(o["eps"]))
    steps = ["Mul"] * o["weight"] + ["Add"] * o["bias"]
    made = sheet.node("Reshape", [even, whole], f"{o.name}/back" if steps else out)
    for place, (step, array) in enumerate(zip(steps, arrays, strict=True)):
        last = place == len(steps) - 1
        made = sheet.node(step, [made, _spread(sheet, o, array)], out if last else f"{o.name}/scaled")


def _instance_norm(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    x, *arrays = ins
    if not o["bias"]:
        arrays = [*arrays, sheet.constant(f"{o.name}/zeros", np.zeros(o.shape[0], np.float32))]
    if not o["weight"]:
        arrays = [_ones(sheet, o, o.shape[:1]), *arrays]
    sheet.node("InstanceNormalization", [x, *arrays], out, o.name, epsilon=float(o["eps"]))


def _ones(sheet: Sheet, o: Op, shape: Shape) -> str:
    return sheet.constant(f"{o.name}/ones", np.ones(shape, np.float32))


def _spread(sheet: Sheet, o: Op, array: str) -> str:
    """A value for each channel, in the form in which it meets a map; constant: folded on loading."""
    form = sheet.constant(f"{o.name}/form", np.array([-1, *(1,) * (len(o.shape) - 1)]))
    return sheet.node("Reshape", [array, form], f"{o.name}/{array}/spread")


NORMS: Final[Mapping[str, Emit]] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
}
