"""Weights and ranges without meaning, for networks that are only timed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from chipfit.core import opaque
from chipfit.core.graph import Graph, Op, Weights
from chipfit.core.kinds import named
from chipfit.export.lower import Range


def random_weights(graph: Graph, rng: np.random.Generator) -> Weights:
    """Arrays for a network that is only timed: He-normal weights, small biases, batch norms that shift a little.

    Nothing is exactly 0 or 1, or a runtime leaves it out: with batch norms that did nothing OpenVINO ran int8 networks
    faster than with trained ones, ResNet20 by 12 %.
    """
    made: Weights = {}
    for o in graph:
        for key, shape in graph.weight_shapes(o).items():
            if key in _whole(o):
                made[key] = np.zeros(shape, np.float32)
            elif o.kind in _NORMS:
                centre = np.float32(key.endswith(("weight", "running_var", "scale"))) * _CENTRE.get(o.kind, 1)
                drawn = np.float32(centre) + rng.uniform(-0.1, 0.1, shape).astype(np.float32)
                made[key] = np.abs(drawn) if key in _constants(o) else drawn
            elif key.endswith("weight"):
                made[key] = rng.standard_normal(shape, np.float32) * np.float32((2 / math.prod(shape[1:])) ** 0.5)
            else:
                made[key] = rng.standard_normal(shape, np.float32) / np.float32(10)
    return made


def _constants(o: Op) -> frozenset[str]:
    """Arrays that are a network's constants, as what is added under a root: that has to stay above 0."""
    fixed = o.kind == "affine" and not o["learnt"]
    return frozenset({o.array("scale"), o.array("shift")}) if fixed else frozenset()


def _whole(o: Op) -> frozenset[str]:
    """The arrays of an operator that are no floats: places in others, masks."""
    if o.kind != opaque.KIND:
        return frozenset()
    return frozenset(o.array(a.role) for a in opaque.program(o).arrays if not a.dtype.startswith("float"))


def dummy_ranges(graph: Graph) -> dict[str, Range]:
    """A range for each tensor of an int8 network that is only timed.

    None is symmetric and no two neighbours are alike: a zero point in the middle, or an addition of equal scales, costs
    some runtimes nothing, as a trained network's do (8 % of ResNet20 on OpenVINO).
    """
    found = {}
    for n, o in enumerate(graph):
        low, high = _DUMMY.get(o.kind, (-3.0, 4.0))
        scale = 1.0 if o.kind in _FIXED else 1 + 0.05 * (n % 11)  # blocks are not of eleven operators
        found[o.name] = low * scale, high * scale
    return found


_NORMS: Final = named(lambda kind: kind.family == "norm")
"""Kinds that scale and shift what they read."""

_CENTRE: Final[Mapping[str, float]] = {"prelu": 0.25}
"""What channel-wise weights are near; 1 where nothing is said."""

_FIXED: Final = frozenset({"relu6", "sigmoid", "hard_sigmoid", "softmax"})
"""Kinds whose values end where they do."""

_DUMMY: Final[Mapping[str, Range]] = {
    "relu": (0.0, 4.0),
    "relu6": (0.0, 6.0),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
}
