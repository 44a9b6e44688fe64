"""ONNX rules of what takes axes together, or gives a map another size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from chipfit.core.graph import Op
from chipfit.core.kinds import Shapes
from chipfit.export.lower import ends
from chipfit.export.sheet import Emit, Sheet

_REDUCTIONS: Final = {
    "reduce_mean": "ReduceMean",
    "reduce_sum": "ReduceSum",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
}


def _axes(sheet: Sheet, o: Op) -> str:
    return sheet.constant(f"{o.name}/axes", np.array([a + 1 for a in o["axes"]]))


def _reduction(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    sheet.node(_REDUCTIONS[o.kind], [*ins, _axes(sheet, o)], out, o.name, keepdims=o["keep"])


def _variance(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    """The sum of squared distances from the mean, over the number of values less the correction."""
    axes = _axes(sheet, o)
    count = np.prod([shapes[0][a] for a in o["axes"]]) - o["correction"]
    mean = sheet.node("ReduceMean", [*ins, axes], f"{o.name}/mean", keepdims=1)
    apart = sheet.node("Sub", [*ins, mean], f"{o.name}/apart")
    square = sheet.node("Mul", [apart, apart], f"{o.name}/square")
    total = sheet.node("ReduceSum", [square, axes], f"{o.name}/total", keepdims=o["keep"])
    sheet.node("Div", [total, sheet.constant(f"{o.name}/count", np.float32(count))], out, o.name)


def _resize(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    """Sizes of the two last axes, by a factor where float32 holds it exactly, else as whole numbers."""
    how: dict[str, int | float | str | Sequence[int]] = {"mode": o["mode"]}
    if o["mode"] == "nearest":
        how |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        how["coordinate_transformation_mode"] = "align_corners" if o["align"] else "half_pixel"
    if o["mode"] == "cubic":
        how["cubic_coeff_a"] = -0.75
    sizes, before = o.shape[-2:], shapes[0][-2:]
    factors = o.get("scales") or [size / was for size, was in zip(sizes, before, strict=True)]
    if all(float(f * 64).is_integer() for f in factors) or o.get("scales"):
        scales = sheet.constant(f"{o.name}/scales", np.array([1, 1, *factors], np.float32))
        sheet.node("Resize", [*ins, "", scales], out, o.name, **how)
        return
    wanted = sheet.constant(f"{o.name}/sizes", np.array(sizes))
    sheet.node("Resize", [*ins, "", "", wanted], out, o.name, axes=(2, 3), **how)


def _max_pool3d(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    pads = (*o["padding"], *ends(o, shapes[0]))
    sheet.node("MaxPool", ins, out, o.name, kernel_shape=o["kernel"], strides=o["stride"], pads=pads)


def _avg_pool3d(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    pads = (*o["padding"], *ends(o, shapes[0]))
    if o["count_include_pad"] and pads[3:] != o["padding"]:
        raise ValueError(f"operator {o.name!r} (avg_pool3d) hangs over its padding, which counts in its means")
    window = {"kernel_shape": o["kernel"], "strides": o["stride"], "pads": pads}
    sheet.node("AveragePool", ins, out, o.name, **window, count_include_pad=o["count_include_pad"])


SIZES: Final[Mapping[str, Emit]] = {
    **dict.fromkeys(_REDUCTIONS, _reduction),
    "reduce_var": _variance,
    "resize": _resize,
    "max_pool3d": _max_pool3d,
    "avg_pool3d": _avg_pool3d,
}
