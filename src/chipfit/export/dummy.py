"""Weights and ranges without meaning, for networks that are only timed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from chipfit.core.graph import Graph, Weights
from chipfit.export.lower import Range


def random_weights(graph: Graph, rng: np.random.Generator) -> Weights:
    """Arrays for a network that is only timed: He-normal weights, small biases, batch norms that do next to nothing."""
    made: Weights = {}
    for o in graph:
        for key, shape in graph.weight_shapes(o).items():
            if o.kind == "batch_norm":
                made[key] = np.full(shape, key.endswith(("weight", "running_var")), np.float32)
            elif key.endswith("weight"):
                made[key] = rng.standard_normal(shape, np.float32) * np.float32((2 / math.prod(shape[1:])) ** 0.5)
            else:
                made[key] = rng.standard_normal(shape, np.float32) / np.float32(10)
    return made


def dummy_ranges(graph: Graph) -> dict[str, Range]:
    """A range for each tensor of an int8 network that is only timed."""
    return {o.name: _DUMMY.get(o.kind, (-4.0, 4.0)) for o in graph}


_DUMMY: Final[Mapping[str, Range]] = {
    "relu": (0.0, 4.0),
    "relu6": (0.0, 6.0),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
}
