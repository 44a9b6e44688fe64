"""Zero-cost proxies of networks: what one batch through random weights says of them, without data or training.

They were made to rank accuracy (Abdelfattah et al. 2021) and are an encoding here, as in MultiPredict and NASFLAT: what
a few samples of a device can be regressed on beside counts and costs. Computed in float64 on one batch of standard
normal inputs; networks are those of the graphs, in float whatever their precision.

[measured] 60 mixed networks at 64 x 64, a runtime's whole family held out, 20 samples: Spearman changes by -.002 to
+.003 with them, and a network takes about a second. So no predictor asks for them by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.core.errors import BadInput
from chipfit.core.graph import ACTIVATIONS, Graph, Network
from chipfit.evaluate.latency.base import Networks
from chipfit.export.dummy import random_weights
from chipfit.nets.build import GraphModule, build

BATCH = 16
"""Inputs of one batch."""

BLOCK = "proxies"
"""What the block is called."""


def with_proxies(networks: Networks, graphs: Sequence[Graph], seed: int = 0) -> Networks:
    """The networks with a block of `PROXIES`, (n, 3), in that order.

    Raises:
        BadInput: a graph has an operator that cannot be run here.
    """
    rows = [_of(name, graph, seed) for name, graph in zip(networks.names, graphs, strict=True)]
    return replace(networks, blocks={**networks.blocks, BLOCK: np.array(rows, np.float64).reshape(len(rows), -1)})


def _of(name: str, graph: Graph, seed: int) -> list[float]:
    try:
        net = build(Network(graph, random_weights(graph, np.random.default_rng(seed)))).double()
    except KeyError as e:
        raise BadInput(f"network {name!r} has an operator {e} that cannot be run; leave its proxies out") from e
    x = torch.randn(BATCH, *graph.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return [proxy(net, x) for proxy in PROXIES.values()]


def gradient_norm(net: GraphModule, x: Tensor) -> float:
    """Logarithm of the norm of the cross-entropy's gradient, for classes that are dealt out in turn."""
    logits = net(x).flatten(1)
    loss = F.cross_entropy(logits, torch.arange(len(x)) % logits.shape[1])
    return _log(sum(float((g**2).sum()) for g in _gradients(net, loss)) ** 0.5)


def activation_kernel(net: GraphModule, x: Tensor) -> float:
    """Logarithm of the determinant of how alike inputs switch the activations (NASWOT; Mellor et al. 2021).

    The kernel is in shares of all activations, and stays above 0 where there are none.
    """
    with torch.no_grad():
        codes = [(y > 0).flatten(1).double() for o, y in net.walk(x) if o.kind in ACTIVATIONS]
    kernel = torch.eye(len(x), dtype=torch.float64) * 1e-3
    if codes:
        on = torch.cat(codes, 1)
        kernel += (on @ on.T + (1 - on) @ (1 - on).T) / on.shape[1]
    return float(torch.logdet(kernel))


def synaptic_flow(net: GraphModule, x: Tensor) -> float:
    """Logarithm of the sum of |w dR/dw|, R the sum of answers to ones under weights |w| (SynFlow; Tanaka et al. 2020).

    Batch norms do not shift or scale by what they have seen. Changes the weights: the last to be asked.
    """
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_mean"):
                tensor.zero_()
            elif name.endswith("running_var"):
                tensor.fill_(1.0)
            elif tensor.is_floating_point():
                tensor.abs_()
    flow = net(torch.ones_like(x[:1])).sum()
    parameters = list(net.parameters())
    return _log(
        sum(float((p.detach() * g).abs().sum()) for p, g in zip(parameters, _gradients(net, flow), strict=True))
    )


def _gradients(net: GraphModule, value: Tensor) -> Sequence[Tensor]:
    parameters = list(net.parameters())
    return torch.autograd.grad(value, parameters, materialize_grads=True) if parameters else ()


def _log(value: float) -> float:
    return float(np.log(max(value, 1e-300)))


PROXIES: Mapping[str, Callable[[GraphModule, Tensor], float]] = {
    "gradient norm": gradient_norm,
    "activation kernel": activation_kernel,
    "synaptic flow": synaptic_flow,
}
"""By name; each takes a network and a batch."""
