"""Attention heads turned onto their principal axes, so that what is given up of a head's width is what matters least.

Within a head only products of channels count: for any invertible matrix A

    q · k  =  (A q) · (A⁻ᵀ k),        P v  =  (P A⁻¹) (A v),        P: the columns of what reads the head

so that queries, keys and values may be turned without any change of what the network answers. With G the second moments
of a head's values (d, d), the bias among them, and A as follows, giving up the last channels is the best that can be
done for a rank (Eckart & Young 1936), where queries and keys meet at random:

    queries, keys:   √G_q √G_k = U S Vᵀ,    A = √S Uᵀ √G_q⁻¹,    A⁻ᵀ = √S Vᵀ √G_k⁻¹
    values:          P √G = U S Vᵀ,         A = Vᵀ √G⁻¹

Heads are as wide as one another: turned, their channels of one number are of one rank, which makes it right to give up
the same one of each. Only where between the layers and the products nothing stands but views and a scale can this be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chipfit.compress.turning import Matrix, seen
from chipfit.core.graph import Graph, Network, Op, Weights

Places = NDArray[np.intp]
"""(heads, d) rows of a layer's weight, or columns, that are the channels of each head."""

RIDGE = 1e-4
"""Of the mean square of a head's channels, added to each: a direction that is never taken has no inverse else."""

VIEWS = frozenset({"reshape", "flatten", "transpose", "slice"})


@dataclass(frozen=True, slots=True)
class Side:
    """A layer, and its rows (or columns) by head and channel."""

    layer: str
    places: Places


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sides of a product over the channels of each head; with `reads` the second one is columns of a weight."""

    first: Side
    second: Side
    reads: bool


def turned(network: Network, inputs: NDArray[np.float32]) -> Weights:
    """The arrays of a network that are others once its heads are turned; none where it has no such heads.

    `inputs` are some normalised, unlabelled ones.
    """
    graph = network.graph
    pairs = [p for p in _pairs(graph) if not {p.first.layer, p.second.layer} & graph.sharing]
    if not pairs:
        return {}
    found = seen(network, inputs, {side.layer for p in pairs for side in (p.first, p.second)})
    made: Weights = {}
    for p in pairs:
        _turn(network, p, found.moments, made)
    return found.if_same(made)


def _turn(network: Network, pair: Pair, moments: dict[str, Matrix], made: Weights) -> None:
    """Puts the turned arrays of a pair into `made`, head by head, in double precision."""
    for rows, others in zip(pair.first.places, pair.second.places, strict=True):
        g = moments[pair.first.layer][np.ix_(rows, rows)]
        if pair.reads:
            behind = _array(network, made, network.graph[pair.second.layer], "weight")
            a = _for_values(behind[:, others].astype(np.float64), g)
            behind[:, others] = behind[:, others] @ np.linalg.inv(a)
        else:
            a, b = _for_products(g, moments[pair.second.layer][np.ix_(others, others)])
            _multiply(network, made, pair.second.layer, others, b)
        _multiply(network, made, pair.first.layer, rows, a)


def _for_products(queries: Matrix, keys: Matrix) -> tuple[Matrix, Matrix]:
    """A and A⁻ᵀ of the two second moments (d, d)."""
    (root_q, inverse_q), (root_k, inverse_k) = _roots(queries), _roots(keys)
    u, s, vt = np.linalg.svd(root_q @ root_k)
    scale = np.sqrt(s)[:, None]
    return scale * (u.T @ inverse_q), scale * (vt @ inverse_k)


def _for_values(behind: Matrix, values: Matrix) -> Matrix:
    """A of the weight (O, d) that reads a head and its second moments (d, d)."""
    root, inverse = _roots(values)
    vt = np.linalg.svd(behind @ root, full_matrices=len(behind) < len(values))[2]
    found: Matrix = vt @ inverse
    return found


def _roots(moments: Matrix) -> tuple[Matrix, Matrix]:
    """√G and its inverse, a little being added to the diagonal."""
    size = len(moments)
    values, vectors = np.linalg.eigh(moments + RIDGE * (np.trace(moments) / size + 1e-12) * np.eye(size))
    roots = np.sqrt(values)
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T


def _multiply(network: Network, made: Weights, layer: str, rows: NDArray[np.intp], by: Matrix) -> None:
    """Turns some rows of a layer's weight and bias."""
    o = network.graph[layer]
    for role in network.graph.roles(o):
        array = _array(network, made, o, role)
        array[rows] = by @ array[rows].astype(np.float64)


def _array(network: Network, made: Weights, o: Op, role: str) -> NDArray[np.float32]:
    """A layer's array in `made`, where it is a copy."""
    name = o.array(role)
    return made.setdefault(name, network.weights[name].copy())


def _pairs(graph: Graph) -> Iterator[Pair]:
    """What can be turned: queries with keys, values with the layer behind."""
    for o in graph:
        if o.kind == "matmul":
            first, second = (_made_of(graph, name) for name in o.inputs)
            if first is not None and second is not None:
                yield from _queries_and_keys(o, first, second)
            elif second is not None:
                yield from _values(graph, o, second)


def _queries_and_keys(o: Op, first: tuple[Op, Places], second: tuple[Op, Places]) -> Iterator[Pair]:
    (queries, q), (keys, k) = first, second
    rows, others = _each(q), _each(k.swapaxes(-1, -2))
    if rows is not None and others is not None and rows.shape == others.shape:
        # windows of one picture have the same heads: each is looked at once
        heads = np.unique(np.concatenate([rows, others], 1), axis=0)
        sides = np.split(heads, 2, axis=1)
        if all(len(np.unique(side)) == side.size for side in sides):
            yield Pair(Side(queries.name, sides[0]), Side(keys.name, sides[1]), reads=False)


def _values(graph: Graph, o: Op, second: tuple[Op, Places]) -> Iterator[Pair]:
    layer, channels = second
    rows = _each(channels)
    if rows is None:
        return
    heads = np.unique(rows, axis=0)
    made = np.broadcast_to(channels[..., :1, :], o.shape)
    if len(np.unique(heads)) == heads.size and (behind := _read_by(graph, o, made)) is not None:
        reader, columns = behind
        order = np.argsort(columns)
        if np.array_equal(columns[order], np.sort(heads.ravel())):
            yield Pair(Side(layer.name, heads), Side(reader.name, order[np.searchsorted(columns[order], heads)]), True)


def _made_of(graph: Graph, name: str) -> tuple[Op, Places] | None:
    """The dense layer that a value is a view of, and which of its channels stands at each place of the value."""
    path, o = list[Op](), graph[name]
    while o.kind != "linear":
        if not _moves(o) or not _read_once(graph, o):
            return None
        path.append(o)
        o = graph[o.inputs[0]]
    if not _read_once(graph, o):
        return None
    channels = np.broadcast_to(np.arange(o.shape[-1]), o.shape)
    return o, _moved(channels, reversed(path))


def _read_once(graph: Graph, o: Op) -> bool:
    """True where each part of a value has one reader: alone, or slices that have no place in common."""
    users = [graph[u] for u in graph.users[o.name]]
    if o.name == graph.output or len(users) == 1:
        return o.name != graph.output
    if any(u.kind != "slice" for u in users) or len({u["axis"] for u in users}) != 1:
        return False
    ends = sorted((u["start"], u["stop"]) for u in users)
    return all(stop <= start for (_, stop), (start, _) in pairwise(ends))


def _read_by(graph: Graph, product: Op, channels: Places) -> tuple[Op, Places] | None:
    """The dense layer that alone reads a product through views, and the channel that each of its inputs is."""
    o = product
    while len(users := graph.users[o.name]) == 1 and o.name != graph.output:
        o = graph[users[0]]
        if o.kind == "linear":
            rows = channels.reshape(-1, channels.shape[-1])
            return (o, rows[0]) if (rows == rows[0]).all() else None
        if not _moves(o):
            return None
        channels = _moved(channels, [o])
    return None


def _moves(o: Op) -> bool:
    """True for views, and for a scale that is one for all channels."""
    return o.kind in VIEWS or (o.kind == "affine" and bool(o["single"]) and not o["shift"])


def _moved(values: Places, path: Iterable[Op]) -> Places:
    """The values as these operators leave them where they only move them."""
    for o in path:
        if o.kind == "transpose":
            values = values.transpose(o["perm"])
        elif o.kind == "slice":
            values = values[(slice(None),) * o["axis"] + (slice(o["start"], o["stop"], o["step"]),)]
        elif o.kind != "affine":
            values = values.reshape(o.shape)
    return values


def _each(channels: Places) -> Places | None:
    """(heads, d) the channels of a value (.., rows, d); None where they differ from row to row."""
    if channels.ndim < 2 or (channels != channels[..., :1, :]).any():
        return None
    return channels[..., 0, :].reshape(-1, channels.shape[-1])
