"""ONNX nodes and constants, written straight as protobuf messages, and the rule of each kind of operator.

`onnx.helper` checks and converts each value in Python, which costs more than all else here; constants are raw bytes
for the same reason. What differs from torch: a pool with `ceil` gets the padding that makes its last window whole,
because runtimes disagree on ONNX's `ceil_mode`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto

from chipfit.core.graph import Op
from chipfit.core.kinds import Shapes
from chipfit.export.lower import ends

Attribute = int | float | str | Sequence[int]

_TYPES: Final = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
}


@final
class Sheet:
    """The nodes and constants of one ONNX graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def node(self, kind: str, inputs: Sequence[str], output: str, name: str = "", **attributes: Attribute) -> str:
        """Adds a node of one output, named like it unless `name` is given, and returns the output's name."""
        made = [_attribute(key, value) for key, value in attributes.items()]
        self.nodes.append(NodeProto(op_type=kind, input=inputs, output=[output], name=name or output, attribute=made))
        return output

    def constant(self, name: str, array: NDArray[np.generic] | np.generic) -> str:
        """Adds an initialiser, once by name, and returns the name."""
        if name not in self.constants:
            self.constants[name] = TensorProto(
                name=name, data_type=_TYPES[array.dtype], dims=array.shape, raw_data=array.tobytes()
            )
        return name


def _attribute(name: str, value: Attribute) -> AttributeProto:
    if isinstance(value, float):
        return AttributeProto(name=name, type=AttributeProto.FLOAT, f=value)
    if isinstance(value, int):
        return AttributeProto(name=name, type=AttributeProto.INT, i=value)
    if isinstance(value, str):
        return AttributeProto(name=name, type=AttributeProto.STRING, s=value.encode())
    return AttributeProto(name=name, type=AttributeProto.INTS, ints=value)


Emit = Callable[[Sheet, Op, Sequence[str], str, Shapes], object]
"""Adds an operator's nodes: sheet, operator, names of its inputs (and arrays), of its output, shapes of its inputs."""


def _plain(kind: str, **attributes: Attribute) -> Emit:
    """The rule of an operator that is one node with these attributes."""
    return lambda sheet, o, ins, out, shapes: sheet.node(kind, ins, out, o.name, **attributes)


def _conv(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    pads = o["padding"] if len(o["padding"]) == 4 else o["padding"] * 2
    window = {"kernel_shape": o["kernel"], "strides": o["stride"], "pads": pads}
    sheet.node("Conv", ins, out, o.name, **window, dilations=o["dilation"], group=o["groups"])


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


def _clip(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    bounds = [sheet.constant(f"{o.name}/{end}", np.float32(o[end])) for end in ("low", "high")]
    sheet.node("Clip", [*ins, *bounds], out, o.name)


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
    sheet.node("Pad", [*ins, sheet.constant(f"{o.name}/pads", pads)], out, o.name)


def _relu6(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    bounds = [sheet.constant(f"relu6/{v:.0f}", v) for v in (np.float32(0), np.float32(6))]
    sheet.node("Clip", [*ins, *bounds], out, o.name)


def _leaky_relu(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    sheet.node("LeakyRelu", ins, out, o.name, alpha=float(o["slope"]))


EMIT: Final[Mapping[str, Emit]] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "affine": _affine,
    "prelu": _plain("PRelu"),
    "add": _plain("Add"),
    "sub": _plain("Sub"),
    "mul": _plain("Mul"),
    "relu": _plain("Relu"),
    "relu6": _relu6,
    "sigmoid": _plain("Sigmoid"),
    "tanh": _plain("Tanh"),
    "hard_sigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_swish": _plain("HardSwish"),
    "leaky_relu": _leaky_relu,
    "gelu": _plain("Gelu"),
    "gelu_tanh": _plain("Gelu", approximate="tanh"),
    "clip": _clip,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_pool": _plain("GlobalAveragePool"),
    "global_max_pool": _plain("GlobalMaxPool"),
    "concat": _concat,
    "flatten": _plain("Flatten", axis=1),
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
}
"""The rule of each kind that is left after lowering (`silu` and whole pools without `keep` are not)."""
