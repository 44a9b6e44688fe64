"""Second moments of what each convolution and dense layer reads: the one statistic behind widths, bits and refits.

For a layer y = W u with u the unfolded input patch (d = C·k² values, channel-major as the weight is stored), the
squared error of any change of W is tr(ΔW H ΔWᵀ) with

    H = Uᵀ U / n + λ I,      λ = 0.01 · mean diag(Uᵀ U / n)            (Hassibi & Stork 1993; Frantar & Alistarh 2022)

U holds patches at random output pixels of unlabelled inputs: some 20·d rows are enough, a full unfolding is not
needed. Layers that share their weights share their H (the rows of both are counted).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from chipfit.compress.forward import Walk, batch, tensors
from chipfit.core.graph import Graph, Network, Op

WIDEST = 6000
"""Largest d with a full H (288 MB); wider layers keep its diagonal only."""

RIDGE = 0.01
"""λ as a share of the mean diagonal."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Output positions of a layer: for each of n inputs the same number p of random ones, (n, p) rows and columns."""

    rows: Tensor
    columns: Tensor


def consumers(graph: Graph) -> tuple[Op, ...]:
    """Layers whose inputs can be narrowed and whose weights can be solved for: ungrouped convolutions, dense layers."""
    return tuple(
        o for o in graph
        if (o.kind == "conv" and o["groups"] == 1) or (o.kind == "linear" and len(o.shape) == 1)
    )  # fmt: skip


def fan_in(graph: Graph, o: Op) -> int:
    """d: values in one patch."""
    weight = graph.weight_shapes(o)[f"{o.weights}.weight"]
    return int(np.prod(weight[1:]))


def pixels(o: Op, n: int, wanted: int, rng: np.random.Generator) -> Pixels | None:
    """Enough random positions in each of `n` outputs for `wanted` rows in all; None for a dense layer."""
    if o.kind == "linear":
        return None
    height, width = o.shape[1:]
    per_input = min(height * width, max(1, -(-wanted // n)))
    at = rng.integers(0, height * width, (n, per_input))
    return Pixels(torch.from_numpy(at // width), torch.from_numpy(at % width))


def patches(o: Op, x: Tensor, at: Pixels | None) -> Tensor:
    """(rows, d) float32 input patches of the layer at these positions, in the order of its weight's axes."""
    if at is None:
        return x
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = o["kernel"], o["stride"], o["padding"], o["dilation"]
    nhwc = F.pad(x, (pw, pw, ph, ph)).permute(0, 2, 3, 1)
    image = torch.arange(len(x))[:, None]
    taps = [
        nhwc[image, at.rows * sh + i * dh, at.columns * sw + j * dw] for i in range(kh) for j in range(kw)
    ]  # each (n, p, C)
    return torch.stack(taps, -1).flatten(0, 1).flatten(1)


def outputs(y: Tensor, at: Pixels | None) -> Tensor:
    """(rows, O) values of a layer's output at these positions."""
    if at is None:
        return y
    return y.permute(0, 2, 3, 1)[torch.arange(len(y))[:, None], at.rows, at.columns].flatten(0, 1)


def ridged(gram: NDArray[np.float64], ridge: float = RIDGE) -> NDArray[np.float64]:
    """H: the mean of UᵀU with λ on its diagonal."""
    mean = float(np.trace(gram)) / len(gram)
    return gram + (ridge * mean if mean > 0 else 1.0) * np.eye(len(gram))


def hessians(
    network: Network, inputs: NDArray[np.float32], rng: np.random.Generator, *, rows_per_column: int = 20
) -> dict[str, NDArray[np.float64]]:
    """H (d, d) by weight prefix, for every layer of `consumers`, from normalised inputs (n, C, H, W)."""
    graph, weights = network.graph, tensors(network.weights)
    wanted = {o.name: o for o in consumers(graph)}
    sums: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, int] = {}
    with torch.inference_mode():
        for start in range(0, len(inputs), 128):
            part = batch(inputs[start : start + 128])
            share = len(part) / len(inputs)
            walk = Walk(graph, weights, {graph.ops[0].name: part})
            for o in graph.ops[1:]:
                if o.name in wanted:
                    rows = int(rows_per_column * fan_in(graph, o) * share) + 1
                    u = patches(o, walk.values[o.inputs[0]], pixels(o, len(part), rows, rng))
                    gram = (u.T @ u).double().numpy()
                    sums[o.weights] = sums[o.weights] + gram if o.weights in sums else gram
                    counts[o.weights] = counts.get(o.weights, 0) + len(u)
                walk.step(o)
    return {name: ridged(total / counts[name]) for name, total in sums.items()}


def output_scale(network: Network, o: Op) -> NDArray[np.float64]:
    """(O,) factor that the batch norm behind a layer puts on its outputs; ones where none follows directly."""
    users = network.graph.users[o.name]
    norms = [network.graph[u] for u in users if network.graph[u].kind == "batch_norm"]
    size = o.shape[0] if o.kind == "conv" else o.shape[-1]
    if len(users) != 1 or not norms:
        return np.ones(size)
    w: Mapping[str, NDArray[np.float32]] = network.weights
    norm = norms[0]
    scale: NDArray[np.float64] = w[f"{norm.weights}.weight"] / np.sqrt(
        w[f"{norm.weights}.running_var"].astype(np.float64) + norm["eps"]
    )
    return scale
