"""Streams of tokens turned so that their first channels are those that count (`space.streams`).

With p_1, p_2, ... the principal axes of what layer norms make of a stream (d - 1 of them, as norms take off the mean),
h_1, h_2, ... Helmert's contrasts, and h_0 = p_0 the constant,

    Q = sum_j h_j p_j'        h_j = (1, ..., 1, -j, 0, ...) / sqrt(j (j + 1))        with j ones,

all that is written into the stream is multiplied by Q, which the norms do not notice: it keeps lengths and the mean.
What reads a norm is multiplied by Q' behind it, and takes over its scale, and its shift where there is a bias for it.

Why contrasts: h_j ends at channel j + 1, and before it is constant over channels. If the first k channels are kept, of
the axes j >= k nothing is left but a constant, which the norm's own mean takes off: without any other operator it sees
exactly the stream's projection onto the k - 1 axes of most variance. Its length is that of d channels, so that it
answers sqrt(k / d) times as large, which the repair of statistics sees. Root-mean-square norms take off no mean: there
the h_j are unit vectors. Slicing after rotation is Ashkboos et al. 2024 (SliceGPT, 2401.15024), who make layer norms
root-mean-square ones and rotate in each block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chipfit.compress.turning import Matrix, Seen, seen
from chipfit.core.graph import Network, Weights
from chipfit.space.streams import Stream, streams

LEAST_SCALE = 1e-6
"""Scales of a norm below which nothing comes through."""


def turned(network: Network, inputs: NDArray[np.float32]) -> Weights:
    """The arrays of a network that are others once its streams are turned; none where it has none.

    `inputs` are some normalised, unlabelled ones.
    """
    those = streams(network.graph)
    if not those:
        return {}
    found = seen(network, inputs, {norm for s in those for norm in s.norms})
    made: Weights = {}
    for s in those:
        turning = _Turning(network, s, _rotation(network, s, found), made)
        turning.writers()
        turning.readers()
    return found.if_same(made)


def contrasts(d: int) -> Matrix:
    """(d, d - 1) Helmert's contrasts, orthonormal columns of mean 0; column j - 1 ends at row j.

    >>> np.round(contrasts(3), 2).tolist()
    [[0.71, 0.41], [-0.71, 0.41], [0.0, -0.82]]
    """
    j = np.arange(1, d)
    upper: Matrix = np.triu(np.ones((d, d - 1)))
    upper[j, j - 1] = -j
    upper /= np.sqrt(j * (j + 1))
    return upper


def _rotation(network: Network, stream: Stream, found: Seen) -> Matrix:
    """(d, d) orthogonal Q of a stream: from its channels to turned ones."""
    d = stream.width
    whole = np.zeros((d, d))
    for norm in stream.norms:
        scale, shift = _affine(network, norm)
        # of the norm without its scale and shift
        across = np.outer(found.means[norm], shift)
        plain, behind = found.moments[norm] - across - across.T + np.outer(shift, shift), _inverse(scale)
        whole += plain * np.outer(behind, behind)
    h = contrasts(d) if stream.centred else np.eye(d)
    values, vectors = np.linalg.eigh(h.T @ whole @ h)
    q: Matrix = h @ (h @ vectors[:, np.argsort(-values)]).T
    return q + 1 / d if stream.centred else q


@dataclass(frozen=True, slots=True)
class _Turning:
    """Puts into `made` the arrays that a stream, multiplied by `q`, asks for."""

    network: Network
    stream: Stream
    q: Matrix
    made: Weights

    def writers(self) -> None:
        """What is written into the stream: layers, which take over the scales behind them, and constants."""
        for scale, writer in self.stream.scales:
            factors = self._own(scale, "scale")
            for array in self._all(writer):
                array *= factors.reshape(-1, *(1,) * (array.ndim - 1))
            factors[:] = 1.0
        for writer in self.stream.writers:
            axis = -1 if self.network.graph[writer].kind == "embedding" else 0
            self._turn(writer, axis)
        for name, axis in self.stream.constants:
            self._turn(name, axis)

    def _turn(self, op: str, axis: int) -> None:
        """Multiplies an operator's arrays on the axis that the channels are on."""
        for array in self._all(op):
            by_row = np.tensordot(array.astype(np.float64), self.q, (axis, 1))
            array[:] = np.moveaxis(by_row, -1, axis)

    def readers(self) -> None:
        """What reads the norms, which get no scale, and no shift where all that read them have a bias."""
        for norm in self.stream.norms:
            scale, shift = _affine(self.network, norm)
            names = [reader for reader, of in self.stream.readers if of == norm]
            biased = all(self.network.graph[name]["bias"] for name in names)
            for name in names:
                self._read(name, scale, shift if biased else None)
            self._plain(norm, np.zeros_like(shift) if biased else self.q @ (shift * _inverse(scale)))

    def _read(self, reader: str, scale: Matrix, shift: Matrix | None) -> None:
        """A layer that reads what a norm without scale makes of the turned stream."""
        weight = self._own(reader, "weight")
        if shift is not None:
            bias = self._own(reader, "bias")
            bias += weight.astype(np.float64) @ shift
        weight[:] = (weight * scale) @ self.q.T

    def _plain(self, norm: str, shift: Matrix) -> None:
        """A norm without scale, with this shift."""
        o = self.network.graph[norm]
        if o["weight"]:
            self._own(norm, "weight")[:] = 1.0
        if o["bias"]:
            self._own(norm, "bias")[:] = shift

    def _all(self, op: str) -> Iterator[NDArray[np.float32]]:
        """All arrays of an operator, to be changed."""
        return (self._own(op, role) for role in self.network.graph.roles(self.network.graph[op]))

    def _own(self, op: str, role: str) -> NDArray[np.float32]:
        """An operator's array in `made`, where it is a copy."""
        name = self.network.graph[op].array(role)
        return self.made.setdefault(name, self.network.weights[name].copy())


def _affine(network: Network, norm: str) -> tuple[Matrix, Matrix]:
    """Scale and shift (d,) of a norm."""
    o = network.graph[norm]
    d = o.shape[-1]
    scale = network.weights[o.array("weight")].astype(np.float64) if o["weight"] else np.ones(d)
    shift = network.weights[o.array("bias")].astype(np.float64) if o["bias"] else np.zeros(d)
    return scale, shift


def _inverse(scale: Matrix) -> Matrix:
    """One over a scale, zero where nothing comes through."""
    through = np.abs(scale) > LEAST_SCALE
    return np.where(through, 1 / np.where(through, scale, 1.0), 0.0)
