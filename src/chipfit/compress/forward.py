"""Runs a graph one operator at a time, on tensors, so that weights may be solved for on the way.

`nets.build` makes a module that is trained; here a network is a graph and a dict of tensors, nothing is copied, and
the caller decides what happens between two operators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.core.graph import Graph, Op, Weights
from chipfit.nets.accelerator import here
from chipfit.nets.execute import execute

Tensors = dict[str, Tensor]


def tensors(weights: Weights) -> Tensors:
    """The arrays as tensors that share their memory."""
    return {name: torch.from_numpy(array) for name, array in weights.items()}


def placed(weights: Weights) -> Tensors:
    """The arrays as tensors where this process computes; they share their memory where that is the processor."""
    return {name: tensor.to(here()) for name, tensor in tensors(weights).items()}


def batch(inputs: NDArray[np.float32]) -> Tensor:
    """Inputs (n, C, H, W) as a channels_last tensor, (n, features) as they are, where this process computes."""
    x = torch.from_numpy(np.ascontiguousarray(inputs, np.float32)).to(here())
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def evaluate(o: Op, weights: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
    """The output of one operator (batch norm in evaluation)."""
    return execute(o, lambda role: weights[o.array(role)], *inputs)


class Walk:
    """Values of a graph's operators for one batch, computed in order; what nobody needs any more is freed.

    What is in `keep` stays.
    """

    def __init__(self, graph: Graph, weights: Mapping[str, Tensor], values: Tensors, keep: Iterable[str] = ()) -> None:
        self.graph = graph
        self.weights = weights
        self.values = values
        self.keep = {graph.output, *keep}
        self._unread = {name: len(users) for name, users in graph.users.items()}

    def inputs(self, o: Op) -> tuple[Tensor, ...]:
        """The operator's inputs."""
        return tuple(self.values[i] for i in o.inputs)

    def evaluate(self, o: Op) -> Tensor:
        """The operator's output, not kept."""
        return evaluate(o, self.weights, *self.inputs(o))

    def step(self, o: Op) -> Tensor:
        """Computes the operator from its inputs and keeps its value while it has readers."""
        return self.put(o, self.evaluate(o))

    def put(self, o: Op, value: Tensor) -> Tensor:
        """Takes `value` for the operator's output."""
        self.values[o.name] = value
        for i in o.inputs:
            self._unread[i] -= 1
            self._free(i)
        return value

    def release(self, name: str) -> None:
        """Keeps a value no longer than it has readers."""
        self.keep.discard(name)
        self._free(name)

    def _free(self, name: str) -> None:
        if not self._unread[name] and name not in self.keep:
            self.values.pop(name, None)


def affordable(graph: Graph, megabytes: float) -> int:
    """How many inputs can be walked at once with their live values within this memory; at least 16."""
    last = {i: n for n, o in enumerate(graph.ops) for i in o.inputs}
    live, peak = {graph.ops[0].name: graph.ops[0].size}, 1
    for n, o in enumerate(graph.ops):
        live[o.name] = o.size
        peak = max(peak, sum(live.values()))
        live = {name: size for name, size in live.items() if last.get(name, -1) > n}
    return max(16, int(megabytes * 1e6 / (4 * peak)))
