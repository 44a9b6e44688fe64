"""Rules of activations with numbers of their own, and of functions that are no activations."""

from __future__ import annotations

from chipfit.nets.rules.call import Call, part_name
from chipfit.nets.rules.pointwise import plain
from chipfit.nets.rules.tracer import Rule, Tracer

_SELU = (1.6732632423543772, 1.0507009873554805)
"""Slope below zero and scale of SELU (Klambauer et al. 2017)."""


def elu(t: Tracer, call: Call) -> None:
    """ELU and what is made of it: scale · (x above 0, alpha · (exp(x · input_scale) - 1) below)."""
    alpha, scale, inner = (float(call.take(name, 1)) for name in ("alpha", "scale", "input_scale"))
    x = t.value(call)
    if abs(alpha - _SELU[0]) + abs(scale - _SELU[1]) < 1e-9 and inner == 1:
        t.put(call, "selu", (x,))
    elif scale == 1 and inner == 1:
        t.put(call, "elu", (x,), alpha=alpha)
    elif scale == 1 and abs(inner * alpha - 1) < 1e-9:
        t.put(call, "celu", (x,), alpha=alpha)
    else:
        call.refuse(f"with alpha={alpha}, scale={scale}, input_scale={inner}")


def celu(t: Tracer, call: Call) -> None:
    """What is above 0, alpha · (exp(x / alpha) - 1) below."""
    t.put(call, "celu", (t.value(call),), alpha=float(call.take("alpha", 1)))


def softplus(t: Tracer, call: Call) -> None:
    """log(1 + exp(beta · x)) / beta; beyond the threshold torch takes x, which differs by rounding only."""
    beta, threshold = float(call.take("beta")), float(call.take("threshold"))
    if threshold < 15:
        call.refuse(f"with threshold={threshold}")
    t.put(call, "softplus", (t.value(call),), beta=beta)


def power(t: Tracer, call: Call) -> None:
    """A value to a power that is a number; the powers that have a cheaper form take it."""
    exponent, x = call.take("exponent"), t.value(call)
    if not isinstance(exponent, int | float):
        call.refuse("to a power that is a tensor")
    whole = _CHEAPER.get(float(exponent))
    if exponent == 1:
        t.known[call.node.name] = x
    elif exponent == 2:
        t.put(call, "mul", (x, x))
    elif whole:
        t.put(call, whole, (x,))
    else:
        t.put(call, "pow", (x,), exponent=float(exponent))


_CHEAPER = {0.5: "sqrt", -1.0: "reciprocal"}


def square(t: Tracer, call: Call) -> None:
    """A value times itself."""
    x = t.value(call)
    t.put(call, "mul", (x, x))


def rsqrt(t: Tracer, call: Call) -> None:
    """One over the square root."""
    x = t.value(call)
    root = t.add(part_name(call, "sqrt"), "sqrt", (x,), t.shapes[x])
    t.put(call, "reciprocal", (root,))


def two(kind: str) -> Rule:
    """The rule of an operator that joins two values of one rank."""

    def rule(t: Tracer, call: Call) -> None:
        x, y = t.value(call, "self"), t.value(call, "other")
        if len(t.shapes[x]) != len(t.shapes[y]):
            call.refuse(f"between shapes {t.shapes[x]} and {t.shapes[y]}, which mix the batch axis with others,")
        t.put(call, kind, (x, y))

    return rule


TABLE: dict[str, Rule] = {
    "elu": elu, "celu": celu, "selu": plain("selu"), "mish": plain("mish"), "softplus": softplus,
    "abs": plain("abs"), "exp": plain("exp"), "log": plain("log"), "sqrt": plain("sqrt"), "sin": plain("sin"),
    "cos": plain("cos"), "erf": plain("erf"), "reciprocal": plain("reciprocal"), "pow": power, "square": square,
    "rsqrt": rsqrt, "maximum": two("maximum"), "minimum": two("minimum"),
}  # fmt: skip
