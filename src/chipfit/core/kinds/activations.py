"""Kinds that change each value on its own, without arrays.

leaky_relu  slope (float)
clip        low, high (floats)
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
)  # fmt: skip
