"""What turns gradients into steps: SGD with Nesterov momentum, or AdamW where it would leave parts of a network still.

Gradients of a layer behind a batch norm are the smaller the larger its weights, so that one rate suits all layers.
Layer norms, attention and tables of words have no such balance. A word that is in one input of a hundred has a
hundredth of the gradient, and queries and keys have far less than the dense layers: SGD moves the latter and leaves the
others as they are (Zhang et al. 2020, "Why are adaptive methods good for attention models?"). AdamW divides each
gradient by its own size (Loshchilov & Hutter 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from chipfit.core.graph import Graph

RATES = (0.01, 0.03, 0.09)
"""Peak learning rates of SGD that a job tries on a short complete schedule before the long one."""

ADAPTIVE_RATES = (3e-4, 1e-3, 3e-3)
"""The same of AdamW."""

ADAPTIVE_DECAY = 20.0
"""AdamW's decay over SGD's: it is multiplied with rates that are so much lower."""

UNBALANCED = frozenset({"embedding", "layer_norm", "rms_norm"})
"""Kinds of operators that SGD trains badly."""


def adaptive(graph: Graph) -> bool:
    """Whether a network is trained with AdamW."""
    return any(o.kind in UNBALANCED for o in graph)


def rates(graph: Graph) -> Sequence[float]:
    """Peak rates to try for a network, the lowest first."""
    return ADAPTIVE_RATES if adaptive(graph) else RATES


def optimiser_of(
    parts: list[dict[str, object]], rate: float, *, momentum: float, adaptively: bool
) -> torch.optim.Optimizer:
    """The optimiser of parameter groups, each with a decay of its own."""
    if not adaptively:
        return torch.optim.SGD(parts, lr=rate, momentum=momentum, nesterov=True)
    decaying = [{**part, "weight_decay": ADAPTIVE_DECAY * _decay(part)} for part in parts]
    return torch.optim.AdamW(decaying, lr=rate, betas=(momentum, 0.999))


def _decay(part: dict[str, object]) -> float:
    decay = part["weight_decay"]
    assert isinstance(decay, float)
    return decay


def is_adaptive(net: nn.Module) -> bool:
    """The same of a module: by the kinds of its layers, where it is no graph."""
    graph = getattr(net, "graph", None)
    if isinstance(graph, Graph):
        return adaptive(graph)
    return any(isinstance(module, nn.Embedding | nn.LayerNorm | nn.RMSNorm) for module in net.modules())
