"""Streams of tokens turned so that their first channels are those that count (`space.streams`).

With p_1, p_2, ... the principal axes of what layer norms make of a stream (of d - 1 dimensions, as a norm takes the mean
off) and h_1, h_2, ... Helmert's contrasts,

    h_j = (1, ..., 1, -j, 0, ...) / sqrt(j (j + 1))        with j ones,

all that is written into the stream is multiplied by Q = sum_j h_j p_j', which the norms do not notice: Q keeps lengths,
and takes off the mean. What reads a norm is multiplied by Q' behind it, having taken over its scale and shift.

Why contrasts: h_j ends at channel j + 1, and before it is constant over channels. If the first k channels are kept, of
the axes j >= k nothing is left but a constant, which the norm's own mean takes off: what it sees is exactly the stream's
projection onto the k - 1 axes of most variance, without any other operator. Its length is that of d channels, so that it
answers sqrt(k / d) times as large, which the repair of statistics sees. Slicing after rotation is Ashkboos et al. 2024
(SliceGPT, 2401.15024), who need root-mean-square norms and a rotation in each block.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from chipfit.compress.forward import Walk, affordable, batch, placed
from chipfit.core.graph import Graph, Network, Weights
from chipfit.space.streams import Stream, streams

Matrix = NDArray[np.float64]

ENOUGH_INPUTS = 64

MEMORY_MB = 500.0

SAME = 1e-3
"""Answers of the turned network may differ from the original's by so much, as a share of the largest: rounding."""


@torch.inference_mode()
def turned(network: Network, inputs: NDArray[np.float32]) -> Weights:
    """The arrays of a network that are others once its streams are turned; none where it has none.

    `inputs` are some normalised, unlabelled ones.
    """
    found = streams(network.graph)
    if not found:
        return {}
    x = batch(inputs[: min(ENOUGH_INPUTS, affordable(network.graph, MEMORY_MB))])
    moments, answers = _moments(network, x, {norm for s in found for norm in s.norms})
    made: Weights = {}
    for s in found:
        _turn(network, s, _rotation(network, s, moments), made)
    _, changed = _moments(Network(network.graph, {**network.weights, **made}), x, set())
    return made if float((changed - answers).abs().max()) <= SAME * float(answers.abs().max()) else {}


def contrasts(d: int) -> Matrix:
    """(d, d - 1) Helmert's contrasts, orthonormal columns of mean 0; column j - 1 ends at row j.

    >>> np.round(contrasts(3), 2).tolist()
    [[0.71, 0.41], [-0.71, 0.41], [0.0, -0.82]]
    """
    j = np.arange(1, d)
    upper: Matrix = np.triu(np.ones((d, d - 1)))
    upper[j, j - 1] = -j
    return upper / np.sqrt(j * (j + 1))


def _rotation(network: Network, stream: Stream, moments: dict[str, Matrix]) -> Matrix:
    """(d, d) Q of a stream: from its channels to turned ones."""
    d = stream.width
    whole = np.zeros((d, d))
    for norm in stream.norms:
        gain, shift = _affine(network, norm)
        # second moments of the norm without its scale and shift
        mean, second = moments[norm][0], moments[norm][1:]
        centred = second - np.outer(mean, shift) - np.outer(shift, mean) + np.outer(shift, shift)
        safe = np.where(np.abs(gain) > 1e-6, gain, np.inf)
        whole += centred / np.outer(safe, safe)
    h = contrasts(d)
    values, vectors = np.linalg.eigh(h.T @ whole @ h)
    axes = h @ vectors[:, np.argsort(-values)]
    return h @ axes.T


def _turn(network: Network, stream: Stream, q: Matrix, made: Weights) -> None:
    """Puts the turned arrays of all that touches a stream into `made`."""
    graph = network.graph
    for scale, writer in stream.scales:
        gain = _copy(network, made, graph, scale, "scale")
        for role in graph.roles(graph[writer]):
            array = _copy(network, made, graph, writer, role)
            array *= gain.reshape(-1, *(1,) * (array.ndim - 1))
        gain[:] = 1.0
    for writer in stream.writers:
        by_row = graph[writer].kind == "embedding"
        for role in graph.roles(graph[writer]):
            array = _copy(network, made, graph, writer, role)
            array[:] = array @ q.T if by_row else np.tensordot(q, array.astype(np.float64), 1)
    for name, axis in stream.constants:
        for role in graph.roles(graph[name]):
            array = _copy(network, made, graph, name, role)
            array[:] = np.moveaxis(np.tensordot(array.astype(np.float64), q, (axis, 1)), -1, axis)
    for reader, norm in stream.readers:
        gain, shift = _affine(network, norm)
        weight = _copy(network, made, graph, reader, "weight")
        if graph[reader]["bias"]:
            bias = _copy(network, made, graph, reader, "bias")
            bias += weight.astype(np.float64) @ shift
        weight[:] = (weight * gain) @ q.T
    for norm in stream.norms:
        for role, value in (("weight", 1.0), ("bias", 0.0)):
            if graph[norm][role]:
                _copy(network, made, graph, norm, role)[:] = value


def _affine(network: Network, norm: str) -> tuple[Matrix, Matrix]:
    """Scale and shift (d,) of a norm."""
    o = network.graph[norm]
    d = o.shape[-1]
    gain = network.weights[o.array("weight")].astype(np.float64) if o["weight"] else np.ones(d)
    shift = network.weights[o.array("bias")].astype(np.float64) if o["bias"] else np.zeros(d)
    return gain, shift


def _copy(network: Network, made: Weights, graph: Graph, op: str, role: str) -> NDArray[np.float32]:
    """An operator's array in `made`, where it is a copy."""
    name = graph[op].array(role)
    return made.setdefault(name, network.weights[name].copy())


def _moments(network: Network, x: torch.Tensor, norms: set[str]) -> tuple[dict[str, Matrix], torch.Tensor]:
    """(1 + d, d) mean and second moments of what each of these norms makes, and the network's answers."""
    walk = Walk(network.graph, placed(network.weights), {network.graph.ops[0].name: x})
    found: dict[str, Matrix] = {}
    for o in network.graph.ops[1:]:
        value = walk.step(o)
        if o.name in norms:
            rows = value.flatten(0, -2).double()
            found[o.name] = torch.cat([rows.mean(0, keepdim=True), rows.T @ rows / len(rows)]).numpy(force=True)
    return found, walk.values[network.graph.output]
