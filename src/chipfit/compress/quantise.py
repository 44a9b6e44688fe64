"""int8 in float: where tensors are clipped, and what a network answers when it is computed with 8 bits.

Activations are uint8 with one scale and zero point a tensor, weights int8 with one scale an output channel after batch
norm is folded in (Jacob et al. 2018; Krishnamoorthi 2018). Ranges minimise the squared rounding and clipping error
(Nagel et al. 2021, section 3.1), found on a histogram. The rules of what is quantised are those of the exported file:

* an int8 operator reads quantised tensors, and its output is quantised;
* what a float operator made is rounded for its int8 readers alone: float ones, such as the sum that goes around a
  layer, read it as it was made;
* nothing is quantised between an operator and a relu that alone reads it;
* operators that only move values keep the grid of what they read;
* a dense layer that no int8 operator reads has a float output, on rows as on vectors.

Biases (int32 in the file) are kept in float here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.forward import Tensors, Walk, affordable, batch, evaluate, placed
from chipfit.compress.moments import affine
from chipfit.compress.statistics import MEMORY_MB
from chipfit.core.channels import foldable, on_channels
from chipfit.core.graph import Graph, Network, Op
from chipfit.core.kinds import KINDS, named

Range = tuple[float, float]

LEVELS = 255
BINS = 2048
LOOKED_AT, FEWEST = 1e9, 16
"""Values that ranges rest on, of all tensors and inputs together (large pictures have many each); least inputs.

[measured] On one core 1e9 take 12 s. All 128 inputs of a MobileNetV2 at 224 x 224 took 44, of a ResNet-50 a minute.
"""
MOVES = named(lambda kind: bool(kind.moves))
CLAMPS = named(lambda kind: kind.clamp is not None)
FUSES = named(lambda kind: kind.hosts)
"""Kinds into which a relu vanishes."""


@torch.inference_mode()
def ranges(network: Network, inputs: NDArray[np.float32], n: int = 128) -> dict[str, Range]:
    """Operator name to the (low, high) at which its output is clipped, low <= 0 <= high; the input is among them.

    Args:
        network: as it will be exported.
        inputs: normalised, unlabelled (n, C, H, W); the first `n` of them are used, or fewer where they are large.
        n: more inputs than some 100 change little.
    """
    graph = network.graph
    in_time = max(FEWEST, int(LOOKED_AT / sum(o.size for o in graph)))
    x = batch(inputs[: min(n, in_time, affordable(graph, MEMORY_MB))])
    walk = Walk(graph, placed(network.weights), {graph.ops[0].name: x})
    norms = {layer: norm for norm, layer in foldable(graph).items()}
    found = {graph.ops[0].name: best_range(x)}
    for o in graph.ops[1:]:
        value = walk.step(o)
        if o.name not in norms:  # what is between a layer and the norm that is folded into it is nowhere in the file
            found[o.name] = best_range(value)
    return found | {layer: found[norm] for layer, norm in norms.items()}


def best_range(values: Tensor) -> Range:
    """The clipping range (low, high) around 0 with the least squared error of 256 levels.

    >>> low, high = best_range(torch.linspace(0.0, 1.0, 1000))
    >>> low == 0.0 and high > 0.99
    True
    """
    ends = torch.aminmax(values)
    least, most = min(0.0, float(ends.min)), max(0.0, float(ends.max))
    if most - least < 1e-12:
        return least, most
    counts = torch.histc(values.float(), BINS, least, most).double().cpu().numpy()
    centres = least + (np.arange(BINS) + 0.5) * (most - least) / BINS
    shrink = np.linspace(1.0, 0.2, 41)
    high = min(shrink, key=lambda a: _error(centres, counts, least, a * most)) * most
    low = min(shrink, key=lambda a: _error(centres, counts, a * least, high)) * least
    return float(low), float(high)


def _error(x: NDArray[np.float64], counts: NDArray[np.float64], low: float, high: float) -> float:
    step = max((high - low) / LEVELS, 1e-30)
    rounded = np.clip(np.rint((x - low) / step), 0, LEVELS) * step + low
    # within a level the error is uniform, which the bin centres alone would miss where bins are coarse
    return float(np.sum(counts * (x - rounded) ** 2) + counts.sum() * step**2 / 12)


def on_grid(x: Tensor, low: float, high: float) -> Tensor:
    """The values rounded to the 256 levels that hold low..high and 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-30:
        return torch.zeros_like(x)
    step = (high - low) / LEVELS
    zero = round(-low / step)
    return (torch.clamp(torch.round(x / step) + zero, 0, LEVELS) - zero) * step


def rounded_weight(weight: Tensor, reduce_range: bool = False) -> Tensor:
    """The weight (O, ...) rounded to int8, or with `reduce_range` to 7 bits, with one scale for each output channel."""
    top = 63 if reduce_range else 127
    scale = weight.abs().flatten(1).amax(1) / top
    scale = torch.where(scale == 0, 1.0, scale).view(-1, *(1,) * (weight.ndim - 1))
    return torch.round(weight / scale) * scale


@dataclass(frozen=True, slots=True)
class Plan:
    """How a graph computes in int8: which batch norms are folded into which layers, and what is rounded, and where.

    Of what is rounded, `apart` are values that only int8 operators read so; to others they are what was computed.
    """

    folded: Mapping[str, str]
    rounds: Mapping[str, Range]
    apart: frozenset[str] = frozenset()


def plan(graph: Graph, known: Mapping[str, Range]) -> Plan:
    """The plan of a graph whose operators have bits, with the ranges of its values."""
    inside = foldable(graph)
    into = {layer: norm for norm, layer in inside.items()}
    bits = {o.name: o.bits for o in graph}
    bits |= {norm: bits[layer] for norm, layer in inside.items()}
    fused = {o.name: o.inputs[0] for o in graph if _vanishes(graph, o)}
    for clamp, before in fused.items():
        bits[clamp] = bits[before]
    read = {i for o in graph if bits[o.name] == 8 for i in o.inputs}
    bare = set(into) | set(fused.values())
    rounds: dict[str, Range] = {}
    apart = set[str]()
    for o in graph:
        made = bits[o.name] == 8 and o.kind != "input"
        layer = _layer_of(graph, o, inside, fused)
        dense = layer.kind == "linear"
        if o.name not in bare and ((made and not dense and o.kind not in MOVES) or o.name in read):
            rounds[o.name] = _reach(graph, o, known, rounds)
            if not made or (dense and not on_channels(layer)):
                apart.add(o.name)
    return Plan(inside, rounds, frozenset(apart))


def _layer_of(graph: Graph, o: Op, inside: Mapping[str, str], fused: Mapping[str, str]) -> Op:
    """The layer that an operator's value comes from, where a clamp or a norm is part of it; else itself."""
    while (before := fused.get(o.name) or inside.get(o.name)) is not None:
        o = graph[before]
    return o


def _reach(graph: Graph, o: Op, known: Mapping[str, Range], rounds: Mapping[str, Range]) -> Range:
    sources = [rounds[i] for i in o.inputs if i in rounds]
    if o.kind in MOVES and sources:
        return sources[0]
    if o.kind == "concat" and o.bits == 8 and len(sources) == len(o.inputs):
        return min(s[0] for s in sources), max(s[1] for s in sources)
    low, high = known[o.name]
    least, most = KINDS[o.kind].clamp or (-math.inf, math.inf)
    return max(low, least), min(high, most)


def _vanishes(graph: Graph, o: Op) -> bool:
    """True for a relu that is part of the operator before it."""
    if o.kind not in CLAMPS:
        return False
    before = graph[o.inputs[0]]
    return before.kind in FUSES and graph.users[before.name] == (o.name,) and graph.output != before.name


def folded_layer(o: Op, norm: Op | None, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Weight and bias (float32) of a layer with the batch norm behind it folded in."""
    weight, bias = weights[o.array("weight")], weights.get(o.array("bias")) if o["bias"] else None
    if norm is None:
        return weight, weight.new_zeros(len(weight)) if bias is None else bias
    f, c = affine(weights, norm)
    shift = c if bias is None else c + f * bias
    return (weight * f.view(-1, *(1,) * (weight.ndim - 1))).float(), shift.float()


@torch.inference_mode()
def fake_quantised(
    network: Network, known: Mapping[str, Range], inputs: NDArray[np.float32], *, reduce_range: bool = False
) -> NDArray[np.float32]:
    """Logits (n, classes) when operators with `bits == 8` compute in int8, for normalised inputs (n, C, H, W).

    Args:
        network: its graph's operators have bits.
        known: from `ranges`, for every operator.
        inputs: any number.
        reduce_range: weights of 7 bits, as on x86 processors without VNNI.
    """
    graph, how = network.graph, plan(network.graph, known)
    weights = quantised_weights(network, how, reduce_range)
    parts = []
    for start in range(0, len(inputs), step := min(256, affordable(graph, MEMORY_MB))):
        walk = Walk(graph, weights, {graph.ops[0].name: batch(inputs[start : start + step])})
        for o in graph.ops:
            value = walk.values[o.name] if o.kind == "input" else compute(o, how, walk)
            walk.values[o.name] = value if o.name in how.apart else _rounded(how, o.name, value)
        parts.append(walk.values[graph.output].numpy(force=True))
    return np.concatenate(parts)


def compute(o: Op, how: Plan, walk: Walk) -> Tensor:
    """The operator's value before rounding, a folded batch norm being part of its layer."""
    if o.name in how.folded:
        return walk.put(o, walk.values[o.inputs[0]])
    layer = o.having(bias=1) if o.kind in ("conv", "linear") else o
    own = {n.removeprefix(f"{o.name}/"): w for n, w in walk.weights.items() if n.startswith(f"{o.name}/")}
    inputs: Iterable[Tensor] = walk.inputs(o)
    if o.bits == 8:
        inputs = [_rounded(how, name, x) if name in how.apart else x for name, x in zip(o.inputs, inputs, strict=True)]
    return walk.put(o, evaluate(layer, own or walk.weights, *inputs))


def _rounded(how: Plan, name: str, value: Tensor) -> Tensor:
    return on_grid(value, *how.rounds[name]) if name in how.rounds else value


def quantised_weights(network: Network, how: Plan, reduce_range: bool) -> Tensors:
    """Arrays of every layer under `<operator>/<array>` as it computes, and those of batch norms that stay."""
    graph, weights = network.graph, placed(network.weights)
    norms = {layer: graph[norm] for norm, layer in how.folded.items()}
    made = dict(weights)
    for o in graph:
        if o.kind in ("conv", "linear"):
            weight, bias = folded_layer(o, norms.get(o.name), weights)
            weight = rounded_weight(weight, reduce_range) if o.bits == 8 else weight
            made |= {f"{o.name}/{o.array('weight')}": weight, f"{o.name}/{o.array('bias')}": bias}
    return made
