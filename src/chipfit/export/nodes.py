"""The rule of each kind of operator that ONNX files hold.

What differs from torch: a pool with `ceil` gets the padding that makes its last window whole, because runtimes disagree
on ONNX's `ceil_mode`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from onnx import TensorProto

from chipfit.core.graph import Op
from chipfit.core.kinds import Shapes
from chipfit.export.lower import ends
from chipfit.export.nodes_norms import NORMS
from chipfit.export.nodes_pointwise import POINTWISE
from chipfit.export.nodes_sizes import SIZES
from chipfit.export.sheet import Emit, Sheet, plain


def _conv(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    pads = o["padding"] if len(o["padding"]) > len(o["kernel"]) else o["padding"] * 2
    window = {"kernel_shape": o["kernel"], "strides": o["stride"], "pads": pads}
    sheet.node("Conv", ins, out, o.name, **window, dilations=o["dilation"], group=o["groups"])


def _conv_transpose(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    window = {"kernel_shape": o["kernel"], "strides": o["stride"], "pads": o["padding"] * 2}
    more = {"output_padding": o["extra"], "dilations": o["dilation"], "group": o["groups"]}
    sheet.node("ConvTranspose", ins, out, o.name, **window, **more)


def _embedding(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    words, weight = ins  # words may be floats that hold whole numbers
    whole = sheet.node("Cast", [words], f"{o.name}/whole", to=TensorProto.INT64)
    sheet.node("Gather", [weight, whole], out, o.name, axis=0)


def _linear(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    if len(shapes[0]) == 1:
        sheet.node("Gemm", ins, out, o.name, transB=1)
        return
    turned = sheet.node("Transpose", ins[1:2], f"{o.name}/turned", perm=(1, 0))  # constant: folded on loading
    product = f"{o.name}/product" if o["bias"] else out
    sheet.node("MatMul", [ins[0], turned], product, o.name)
    if o["bias"]:
        sheet.node("Add", [product, ins[2]], out, f"{o.name}/bias")


def _batch_norm(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    sheet.node("BatchNormalization", ins, out, o.name, epsilon=float(o["eps"]))


def _max_pool(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    pads = (*o["padding"], *ends(o, shapes[0]))
    sheet.node("MaxPool", ins, out, o.name, kernel_shape=o["kernel"], strides=o["stride"], pads=pads)


def _avg_pool(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    pads, count = (*o["padding"], *ends(o, shapes[0])), o["count_include_pad"]
    if count and pads[2:] != o["padding"]:
        # the given padding counts in the mean, what hangs over does not: the first has to become values
        axes = [0, 0, *o["padding"]] * 2
        ins = [sheet.node("Pad", [*ins, sheet.constant(f"{o.name}/pads", np.array(axes))], f"{o.name}/padded")]
        pads, count = (0, 0, *(a - b for a, b in zip(pads[2:], o["padding"], strict=True))), 0
    window = {"kernel_shape": o["kernel"], "strides": o["stride"], "pads": pads}
    sheet.node("AveragePool", ins, out, o.name, **window, count_include_pad=count)


def _concat(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    sheet.node("Concat", ins, out, o.name, axis=o["axis"] + 1)


def _softmax(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    sheet.node("Softmax" if o.kind == "softmax" else "LogSoftmax", ins, out, o.name, axis=o["axis"] + 1)


def _affine(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    if not o["shift"]:
        sheet.node("Mul", ins, out, o.name)
        return
    x = sheet.node("Mul", ins[:2], f"{o.name}/scaled") if o["scale"] else ins[0]
    sheet.node("Add", [x, ins[-1]], out, o.name)


def _reshape(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    # -1 and not 0 (a copy) for the batch axis: dense layers on several axes fold some of them into it
    sheet.node("Reshape", [*ins, sheet.constant(f"{o.name}/shape", np.array([-1, *o.shape]))], out, o.name)


def _transpose(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    sheet.node("Transpose", ins, out, o.name, perm=(0, *(p + 1 for p in o["perm"])))


def _slice(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    values = {"start": o["start"], "stop": o["stop"], "axis": o["axis"] + 1, "step": o["step"]}
    bounds = [sheet.constant(f"{o.name}/{key}", np.array([v], np.int64)) for key, v in values.items()]
    sheet.node("Slice", [*ins, *bounds], out, o.name)


def _pad(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    pads = np.array([0, *o["pads"][::2], 0, *o["pads"][1::2]])
    given = [*ins, sheet.constant(f"{o.name}/pads", pads)]
    if value := o.get("value"):
        given.append(sheet.constant(f"{o.name}/value", np.float32(value)))
    sheet.node("Pad", given, out, o.name, **({"mode": o["how"]} if o.get("how") else {}))


EMIT: Final[Mapping[str, Emit]] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "affine": _affine,
    "prelu": plain("PRelu"),
    "softmax": _softmax,
    "log_softmax": _softmax,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_pool": plain("GlobalAveragePool"),
    "global_max_pool": plain("GlobalMaxPool"),
    "concat": _concat,
    "flatten": plain("Flatten", axis=1),
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "conv3d": _conv,
    "conv_transpose": _conv_transpose,
    "embedding": _embedding,
    "constant": plain("Identity"),
    "matmul": plain("MatMul"),
    **POINTWISE,
    **NORMS,
    **SIZES,
}
"""The rule of each kind that is left after lowering (`silu` and whole pools without `keep` are not)."""
