"""The network of NASFLAT: who reads whom in a network, and on which device, to one score.

Akhauri and Abdelfattah, "On Latency Predictors for Neural Architecture Search", MLSys 2024: every node carries its
operator's embedding *and the device's* ("operation-specific hardware embedding"), which gates each layer; a layer is
the mean of a dense graph flow and a graph attention; a first pass over the graph updates the embeddings for a second.

What differs unless `Shape.published`: attention sees only what a node reads (and itself), not every node; the first
pass ends in the mean over the nodes, not in the output node, which a deep network's two layers do not reach; no
embedding is overwritten. `Shape.nodes` is for spaces of one graph, such as chains, where only the position says what an
operator costs: nodes carry their position, and beside the score stands a sum of costs by position and operator, linear
in the device's embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Widths of the network; the defaults are the published ones.

    `operators` and `devices` are the numbers of embeddings, `nodes` that of positions (0: the graph alone tells
    nodes apart).
    """

    operators: int = 128
    devices: int = 128
    nodes: int = 0
    operator: int = 40
    device: int = 8
    hidden: int = 96
    width: int = 128
    update: int = 2
    body: int = 3
    head: int = 200
    dropout: float = 0.1
    published: bool = False


GAIN = 5.0
"""Of what is learnt for each position, which Adam would else move as slowly as weights that all positions share."""


class Layer(nn.Module):
    """Mean of a dense graph flow and a graph attention, both gated by the embeddings."""

    def __init__(self, n_in: int, n_out: int, n_gate: int, *, published: bool) -> None:
        super().__init__()
        self.published = published
        self.mix = nn.Linear(n_in, 2 * n_out, bias=False)
        self.gates = nn.Linear(n_gate, 2 * n_out)
        self.bias = nn.Parameter(torch.empty(n_out))
        self.attend = nn.Parameter(torch.empty(n_out))
        self.norm = nn.LayerNorm(n_out)
        for flow in (self.mix.weight[:n_out], self.bias, self.attend):
            nn.init.uniform_(flow.data, -1 / math.sqrt(n_out), 1 / math.sqrt(n_out))

    def forward(self, x: Tensor, reads: Tensor, e: Tensor) -> Tensor:
        flow, key = self.mix(x).chunk(2, -1)
        flow_gate, key_gate = torch.sigmoid(self.gates(e)).chunk(2, -1)
        score = F.leaky_relu((key * self.attend) @ key.mT / math.sqrt(key.shape[-1]))
        if self.published:
            score = score * reads  # what is not read keeps the weight exp(0)
        else:
            score = score.masked_fill((reads + torch.eye(reads.shape[-1])) == 0, -math.inf)
        attended = self.norm(key_gate * (score.softmax(-1) @ key))
        out: Tensor = (flow_gate * (reads @ flow) + flow + self.bias + attended) / 2
        return out


class Network(nn.Module):
    """Scores of networks on devices."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = s = shape
        e = s.operator + s.device
        self.operator = nn.Embedding(s.operators, s.operator)
        self.device = nn.Embedding(s.devices, s.device)
        self.first, self.other = nn.Parameter(torch.randn(e)), nn.Parameter(torch.zeros(e))
        if s.published:
            self.last = nn.Parameter(torch.randn(e))
        if s.nodes:
            self.position = nn.Parameter(torch.zeros(s.nodes, 2 * e))
            self.costs = nn.Parameter(torch.zeros(s.nodes, s.operators, s.device + 1))
        self.node = nn.Linear(e, s.hidden)
        self.update, self.body = _layers(s, s.update), _layers(s, s.body)
        self.back = _mlp(s.width, s.width, s.width, s.width)
        self.renew = _mlp(e + s.width, s.width, e)
        self.head = _mlp(s.width, s.head, s.head, s.head, 1, dropout=s.dropout)

    def forward(self, tokens: Tensor, reads: Tensor, device: Tensor) -> Tensor:
        """Scores (n,).

        `tokens` (n, V) are kinds of operators, -1 where there is no node; `reads` (n, V, V) is 1 at [i, b, a] where
        node b of network i reads node a; `device` (n, d) are embeddings, one for each network.
        """
        out: Tensor = self.head(self.features(tokens, reads, device))[:, 0]
        if self.shape.nodes:
            cost = GAIN * self.costs[torch.arange(tokens.shape[1]), tokens.clamp(min=0)].sum(1)
            out = out + cost[:, -1] + (cost[:, :-1] * device).sum(1)
        return out

    def features(self, tokens: Tensor, reads: Tensor, device: Tensor) -> Tensor:
        """(n, width): what the head sees."""
        n, v = tokens.shape
        here = (tokens >= 0).float()[:, :, None]
        e = torch.cat([self.operator(tokens.clamp(min=0)), device[:, None].expand(-1, v, -1)], -1)
        x = self.other.repeat(v, 1)
        x[0] = self.first
        if self.shape.published:
            e = torch.cat([torch.zeros_like(e[:, :1]), e[:, 1:-1], self.last.expand(n, 1, -1)], 1)
        if self.shape.nodes:
            feature, gate = (GAIN * self.position).chunk(2, -1)
            x, e = x + feature, e + gate
        x = self.node(x).expand(n, -1, -1)
        inner = here.clone()
        inner[:, 0] = 0
        h = _through(self.update, x, reads, e)
        seen = h[:, -1] if self.shape.published else _mean(h, inner)
        e = self.renew(torch.cat([e, self.back(seen)[:, None].expand(-1, v, -1)], -1))
        return _mean(_through(self.body, x, reads, e), inner)


def _layers(s: Shape, n: int) -> nn.ModuleList:
    gate = s.operator + s.device
    widths = [s.hidden] + n * [s.width]
    return nn.ModuleList(Layer(a, b, gate, published=s.published) for a, b in pairwise(widths))


def _through(layers: nn.ModuleList, x: Tensor, reads: Tensor, e: Tensor) -> Tensor:
    for i, layer in enumerate(layers):
        x = layer(F.relu(x) if i else x, reads, e)
    return x


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    return (x * weight).sum(1) / weight.sum(1)


def _mlp(*widths: int, dropout: float = 0.0) -> nn.Sequential:
    parts: list[nn.Module] = []
    for a, b in pairwise(widths):
        parts += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*parts[:-2])
