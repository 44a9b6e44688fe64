"""ONNX rules of what changes each value on its own, and of what joins two values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from chipfit.core.graph import Op
from chipfit.core.kinds import Shapes
from chipfit.export.sheet import Emit, Sheet, plain


def _clip(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    bounds = [sheet.constant(f"{o.name}/{end}", np.float32(o[end])) for end in ("low", "high")]
    sheet.node("Clip", [*ins, *bounds], out, o.name)


def _relu6(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    bounds = [sheet.constant(f"relu6/{v:.0f}", v) for v in (np.float32(0), np.float32(6))]
    sheet.node("Clip", [*ins, *bounds], out, o.name)


def _leaky_relu(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    sheet.node("LeakyRelu", ins, out, o.name, alpha=float(o["slope"]))


def _elu(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    sheet.node("Elu" if o.kind == "elu" else "Celu", ins, out, o.name, alpha=float(o["alpha"]))


def _softplus(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    """log(1 + exp(beta x)) / beta, of which ONNX knows beta = 1."""
    beta = float(o["beta"])
    if beta == 1:
        sheet.node("Softplus", ins, out, o.name)
        return
    factor = sheet.constant(f"{o.name}/beta", np.float32(beta))
    scaled = sheet.node("Mul", [*ins, factor], f"{o.name}/scaled")
    sheet.node("Div", [sheet.node("Softplus", [scaled], f"{o.name}/soft"), factor], out, o.name)


def _pow(sheet: Sheet, o: Op, ins: Sequence[str], out: str, shapes: Shapes) -> None:
    exponent = sheet.constant(f"{o.name}/exponent", np.float32(o["exponent"]))
    sheet.node("Pow", [*ins, exponent], out, o.name)


POINTWISE: Final[Mapping[str, Emit]] = {
    "relu": plain("Relu"),
    "relu6": _relu6,
    "sigmoid": plain("Sigmoid"),
    "tanh": plain("Tanh"),
    "hard_sigmoid": plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_swish": plain("HardSwish"),
    "leaky_relu": _leaky_relu,
    "gelu": plain("Gelu"),
    "gelu_tanh": plain("Gelu", approximate="tanh"),
    "clip": _clip,
    "mish": plain("Mish"),
    "elu": _elu,
    "celu": _elu,
    "selu": plain("Selu"),
    "softplus": _softplus,
    "softsign": plain("Softsign"),
    "abs": plain("Abs"),
    "exp": plain("Exp"),
    "log": plain("Log"),
    "sqrt": plain("Sqrt"),
    "sin": plain("Sin"),
    "cos": plain("Cos"),
    "erf": plain("Erf"),
    "reciprocal": plain("Reciprocal"),
    "pow": _pow,
    "add": plain("Add"),
    "sub": plain("Sub"),
    "mul": plain("Mul"),
    "div": plain("Div"),
    "maximum": plain("Max"),
    "minimum": plain("Min"),
}
