"""How each rival of the hot-start benchmark narrows a network to a budget, on the same device and rounding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch_pruning as tp
from torch import nn

from chipfit.core.data import Dataset
from chipfit.core.graph import Network
from chipfit.evaluate.screen import all_int8
from chipfit.evaluate.timing import Timing
from chipfit.nets.trace import trace
from chipfit.space.offer import LEAST_STEP
from chipfit.train.loop import as_tensor, normaliser

STEPS = 9
"""Bisections of a rival's pruning ratio."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A rival's network at the budget (or the nearest it can reach), and its quick latency in ms."""

    network: Network
    ms: float
    note: str


def faster(network: Network, timing: Timing) -> tuple[Network, float]:
    """The better of fp32 and all-int8 for this structure."""
    both = [network, all_int8(network)]
    ms = [m.value for m in timing.graphs([n.graph for n in both], "quick")]
    best = int(np.argmin(ms))
    return both[best], ms[best]


def bisected(make: Callable[[float], Network], budget_ms: float, timing: Timing) -> Reached | None:
    """The least pruning ratio whose network holds the budget as measured; None where not even the largest does."""
    low, high, best = 0.0, 1.0, None
    network, ms = faster(make(0.97), timing)
    if ms > budget_ms:
        return None
    best = Reached(network, ms, "ratio 0.97")
    for _ in range(STEPS):
        ratio = (low + high) / 2
        network, ms = faster(make(ratio), timing)
        if ms <= budget_ms:
            high, best = ratio, Reached(network, ms, f"ratio {ratio:.3f}")
        else:
            low = ratio
    return best


def pruner(
    module: nn.Module, input_shape: tuple[int, ...], dataset: Dataset, criterion: str
) -> Callable[[float], Network]:
    """DepGraph (torch-pruning), ranked globally by group L2 norm or by Taylor expansion, widths in the same steps."""
    example = torch.zeros(1, *input_shape)

    def make(ratio: float) -> Network:
        net = copy.deepcopy(module)
        importance = (
            tp.importance.GroupMagnitudeImportance(p=2) if criterion == "l2" else tp.importance.GroupTaylorImportance()
        )
        last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1:]
        pruning = tp.pruner.MetaPruner(
            net, example, importance=importance, global_pruning=True, pruning_ratio=ratio, max_pruning_ratio=0.97,
            round_to=LEAST_STEP, ignored_layers=last,
        )  # fmt: skip
        if criterion == "taylor":
            _gradients(net, dataset)
        pruning.step()
        net.zero_grad()
        return trace(net, input_shape)

    return make


def _gradients(net: nn.Module, dataset: Dataset) -> None:
    """Gradients of the loss over 1,024 training inputs, which the Taylor criterion reads."""
    rows = np.random.default_rng(0).permutation(len(dataset.train))[:1024]
    part = dataset.train.take(rows)
    assert part.targets is not None
    net.eval()
    x = normaliser(dataset)(as_tensor(part))
    for inputs, targets in zip(x.split(128), torch.from_numpy(part.targets).split(128), strict=True):
        nn.functional.cross_entropy(net(inputs), targets).backward()


def best_reaching(candidates: Sequence[tuple[str, Callable[[], Reached | None]]]) -> tuple[str, Reached] | None:
    """The first candidate (most accurate start first) that reaches the budget."""
    for name, reach in candidates:
        if (found := reach()) is not None:
            return name, found
    return None
