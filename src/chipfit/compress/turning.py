"""What turning channels into others takes: moments of what operators make, and that the network answers as before."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from chipfit.compress.forward import Walk, affordable, batch, placed
from chipfit.core.graph import Network, Weights

Matrix = NDArray[np.float64]

ENOUGH_INPUTS = 64

CHECKED_INPUTS = 8

MEMORY_MB = 500.0

SAME = 1e-3
"""Answers of the turned network may differ from the original's by so much, as a share of the largest: rounding."""


@dataclass(frozen=True)
class Seen:
    """What a network made of some inputs: its answers, and of some operators means (d,) and second moments (d, d)."""

    network: Network
    inputs: torch.Tensor
    answers: torch.Tensor
    means: dict[str, Matrix]
    moments: dict[str, Matrix]

    def if_same(self, made: Weights) -> Weights:
        """These arrays, or none of them where the network would answer otherwise with them."""
        x, answers = (values[:CHECKED_INPUTS] for values in (self.inputs, self.answers))
        changed = _walked(Network(self.network.graph, {**self.network.weights, **made}), x, ()).answers
        return made if float((changed - answers).abs().max()) <= SAME * float(answers.abs().max()) else {}


def seen(network: Network, inputs: NDArray[np.float32], ops: Collection[str]) -> Seen:
    """What a network makes of the first of these normalised inputs, and these operators of it on their last axis."""
    x = batch(inputs[: min(ENOUGH_INPUTS, affordable(network.graph, MEMORY_MB))])
    return _walked(network, x, ops)


@torch.inference_mode()
def _walked(network: Network, x: torch.Tensor, ops: Collection[str]) -> Seen:
    walk = Walk(network.graph, placed(network.weights), {network.graph.ops[0].name: x})
    means, moments = dict[str, Matrix](), dict[str, Matrix]()
    for o in network.graph.ops[1:]:
        value = walk.step(o)
        if o.name in ops:
            rows = value.flatten(0, -2).double()
            means[o.name] = rows.mean(0).numpy(force=True)
            moments[o.name] = (rows.T @ rows / len(rows)).numpy(force=True)
    return Seen(network, x, walk.values[network.graph.output], means, moments)
