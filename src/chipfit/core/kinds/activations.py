"""Kinds that change each value on its own, without arrays.

leaky_relu  slope (float)
clip        low, high (floats)
elu, celu   alpha (float)
softplus    beta (float): log(1 + exp(beta x)) / beta
pow         exponent (float)
"""

from __future__ import annotations

import math

from chipfit.core.kinds.kind import Kind

ACTIVATIONS = (
    Kind(
        "relu", "activation", "passes",
        clamp=(0.0, math.inf), int8=True, cost="fused", in_place=True,
    ),
    Kind(
        "relu6", "activation", "passes",
        clamp=(0.0, 6.0), int8=True, cost="fused", in_place=True, saturates=True,
    ),
    Kind("sigmoid", "activation", "passes", int8=True, cost="fused", saturates=True),
    Kind("hard_sigmoid", "activation", "passes", cost="fused", saturates=True),
    Kind("silu", "activation", "passes", int8=True, cost="fused"),
    Kind("hard_swish", "activation", "passes", cost="fused"),
    Kind("tanh", "activation", "passes", cost="fused", saturates=True),
    Kind("gelu", "activation", "passes", cost="fused"),
    Kind("gelu_tanh", "activation", "passes", cost="fused"),
    # one with an attribute stands for itself: a kernel says its activation by name alone
    Kind("leaky_relu", "activation", "passes", ("slope",), hosts=True, int8=True),
    Kind("clip", "activation", "passes", ("low", "high"), in_place=True),
    Kind("mish", "activation", "passes"),
    Kind("elu", "activation", "passes", ("alpha",)),
    Kind("celu", "activation", "passes", ("alpha",)),
    Kind("selu", "activation", "passes"),
    Kind("softplus", "activation", "passes", ("beta",)),
    Kind("softsign", "activation", "passes", saturates=True),
)  # fmt: skip

FUNCTIONS = (
    Kind("abs", "function", "passes"),
    Kind("exp", "function", "passes"),
    Kind("log", "function", "passes"),
    Kind("sqrt", "function", "passes"),
    Kind("sin", "function", "passes", saturates=True),
    Kind("cos", "function", "passes", saturates=True),
    Kind("erf", "function", "passes", saturates=True),
    Kind("reciprocal", "function", "passes"),
    Kind("pow", "function", "passes", ("exponent",)),
)
"""Functions that are no activations: nobody puts one behind a layer for its own sake."""
