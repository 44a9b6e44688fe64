"""How well a program can compute what its layer does, before anything of the network is repaired: one layer, no label.

The program is fitted to the layer in closed form (`compress.fitting`), and its last layer is then solved for, from what
the program makes of half of the calibration inputs, as the repair of whole networks does. On the other half

    e = |Y - Y'|² / |Y - mean(Y)|²,

with Y what the layer makes and its mean that of each channel: 0 is the layer itself, 1 what a constant reaches.
Programs that end in no such layer get the best factor and offset of each channel instead. It costs milliseconds, and
is what programs of one layer are told apart by; of different layers the harm to the answers tells (`damage`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.fitting import fitted_to
from chipfit.compress.forward import Walk, batch, tensors
from chipfit.compress.hessian import consumers, fan_in, outputs, owner, patches, pixels
from chipfit.compress.pair import Original
from chipfit.core.edits import Fitted, Same
from chipfit.core.graph import Graph, Network
from chipfit.space.program import alone, parse, place_of

MOST_ROWS = 12_000
"""Places of maps that errors are measured at."""

WIDEST = 1200
"""Values that a last layer reads for one of its own, up to which it is solved for: beyond, that takes seconds."""

RIDGE = 1e-4
"""Share of the mean second moment of what a last layer reads that its solution is held by."""

Floats = NDArray[np.float32]


class Scores:
    """Errors of programs in the places of some layers of a network.

    Args:
        network: the original.
        layers: those that will be asked for.
        inputs: normalised calibration inputs (n, C, H, W), of which one half fits and the other tells.
        hessians: second moments of what layers read, by weight prefix; without those of a layer it is fitted plainly.
    """

    def __init__(
        self, network: Network, layers: Collection[str], inputs: Floats, hessians: Mapping[str, NDArray[Any]]
    ) -> None:
        self.network, self._hessians = network, hessians
        self._original = Original(network, batch(inputs))
        self._original.want({*layers, *(network.graph[name].inputs[0] for name in layers)})
        self._known: dict[tuple[str, str], float | None] = {}

    def error(self, layer: str, program: str) -> float | None:
        """The error of a program in the place of a layer; None where it does not fit, or is not finite."""
        key = (layer, program)
        if key not in self._known:
            self._known[key] = self._error(layer, program)
        return self._known[key]

    @torch.inference_mode()
    def _error(self, layer: str, program: str) -> float | None:
        o = self.network.graph[layer]
        try:
            instead = alone(parse(program), place_of(self.network.graph, layer))
        except ValueError:
            return None
        weight = self.network.weights[o.array("weight")]
        fitted = Fitted(Same(o.array("weight")), o, instead, "")
        made = fitted_to(fitted, weight, self._hessians.get(owner(o)))
        x, wanted = (self._original.value(name) for name in (o.inputs[0], layer))
        fit, told = _halves(instead, made, x, wanted)
        error = _missed(*_answers(fit, told)) if _solvable(instead) else _missed(*_scaled(fit, told))
        return error if np.isfinite(error) else None


Rows = tuple[Tensor, Tensor]
"""(rows, d) what is given, and (rows, O) what is wanted of it."""


def _solvable(instead: Graph) -> bool:
    """True for a program whose last operator is a layer that can be solved for."""
    last = instead[instead.output]
    return last in consumers(instead) and fan_in(instead, last) <= WIDEST


def _halves(instead: Graph, made: Mapping[str, NDArray[Any]], x: Tensor, wanted: Tensor) -> tuple[Rows, Rows]:
    """Of each half of the inputs: what the last layer reads, or else what the program makes, and what is wanted."""
    walk = Walk(instead, tensors(dict(made)), {instead.ops[0].name: x})
    last = instead[instead.output]
    for o in instead.ops[1:-1]:
        walk.step(o)
    if not _solvable(instead):
        given, wanted = _by_place(walk.evaluate(last)), _by_place(wanted)
    else:
        at = pixels(last, len(x), MOST_ROWS, np.random.default_rng(0))
        given, wanted = patches(last, walk.inputs(last)[0], at), outputs(wanted, at)
    half = len(given) // 2
    return (given[:half], wanted[:half]), (given[half:], wanted[half:])


def _by_place(values: Tensor) -> Tensor:
    """(n, C, H, W) as (n·H·W, C); rows of features as they are."""
    return values.permute(0, 2, 3, 1).flatten(0, 2) if values.ndim == 4 else values.flatten(0, -2)


def _answers(fit: Rows, told: Rows) -> Rows:
    """What the best last layer makes, and what is wanted."""
    given, wanted = (t.double() for t in fit)
    mean, goal = given.mean(0), wanted.mean(0)
    centred = given - mean
    gram = centred.T @ centred
    gram.diagonal().add_(RIDGE * float(gram.diagonal().mean()) + torch.finfo(torch.float64).tiny)
    weight = torch.linalg.solve(gram, centred.T @ (wanted - goal))
    return (told[0].double() - mean) @ weight + goal, told[1].double()


def _scaled(fit: Rows, told: Rows) -> Rows:
    """What the program makes with the best factor and offset of each channel, and what is wanted."""
    given, wanted = (t.double() for t in fit)
    mean, goal = given.mean(0), wanted.mean(0)
    spread = (given - mean).square().sum(0).clamp(min=torch.finfo(torch.float64).tiny)
    factor = ((given - mean) * (wanted - goal)).sum(0) / spread
    return (told[0].double() - mean) * factor + goal, told[1].double()


def _missed(answers: Tensor, wanted: Tensor) -> float:
    spread = (wanted - wanted.mean(0)).square().sum()
    return float((answers - wanted).square().sum() / spread)
