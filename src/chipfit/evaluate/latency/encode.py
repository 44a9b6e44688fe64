"""What predictors see of a network: numbers from its genes, or from its Graph alone.

Three levels of every network, from coarse to fine, each a block or two: totals ("cost"), numbers of operators by kind,
and what stands at each position. A model with few samples learns the coarse ones well and the fine ones hardly at all,
so blocks are kept apart and each model weighs them. Parts that nothing reads do not vary a block that is called "live".

The published spaces carry one-hots only (Akhauri and Abdelfattah 2024, Lee et al. 2021); counts, costs and paths are
added because a latency follows them, and they need no training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput
from chipfit.core.graph import ACTIVATIONS, ELEMENTWISE, GLOBAL_POOLS, POOLS, SOFTMAXES, Graph, Op, live
from chipfit.evaluate.latency.base import Floats, Ints, Networks

OUTPUT, INPUT, FIRST = 0, 1, 2
"""Tokens: the output, the input, and the first of the operators."""

STAGES = 6
"""Resolutions that are told apart: that of the input, halved once, twice, ...; the last also holds what has none."""

_CONVS = tuple(f"{form} {k}" for form in ("dense", "grouped", "depthwise") for k in ("1", "3", "5", "7"))
_OTHERS = ("linear", "pool", "activation", "elementwise", "other")
CLASSES = (*_CONVS, *_OTHERS)
"""Classes of operators in a Graph: convolutions by form and kernel, the rest by what they do."""


def genes(
    names: Sequence[str],
    codes: Ints,
    operators: Sequence[str],
    *,
    edges: Ints | Sequence[tuple[int, int]] | None = None,
    stages: Sequence[int] | None = None,
    costs: Mapping[str, tuple[Floats, float]] | None = None,
    totals: Mapping[str, Floats] | None = None,
) -> Networks:
    """Networks of a space in which a choice is made at each of p positions.

    Args:
        names: n names.
        codes: (n, p) index of the operator at each position.
        operators: their k names; in cells "none" and those that begin with "skip" do not compute.
        edges: where positions are edges of a cell, the (p, 2) nodes from and to which each leads; the first node is
            the cell's input, the last its output.
        stages: (p,) the stage of each position, from 0.
        costs: by name (MACs, parameters, ...) the (p, k) cost of each operator at each position and what every
            network costs beside.
        totals: by name the (n,) costs of whole networks, where no more is known of them.

    Raises:
        BadInput: a code that is no operator.
    """
    codes = np.asarray(codes, np.int64)
    n, p = codes.shape
    k = len(operators)
    for i, j in np.argwhere((codes < 0) | (codes >= k))[:1]:
        raise BadInput(f"network {names[i]!r} has operator {codes[i, j]} at position {j + 1}; there are 0 to {k - 1}")
    hot = _one_hot(codes, k)
    blocks = {"one-hot": hot.reshape(n, -1), "counts": hot.sum(1)}
    if stages is not None:
        at = np.asarray(stages)
        blocks["stage counts"] = np.hstack([hot[:, at == s].sum(1) for s in np.unique(at)])
    unit = {name: table[np.arange(p), codes] for name, (table, _) in (costs or {}).items()}
    whole = [np.log(unit[name].sum(1) + fixed) for name, (_, fixed) in (costs or {}).items()]
    whole += [np.log(total) for total in (totals or {}).values()]
    if stages is not None and unit:
        blocks["stage cost"] = np.column_stack([c[:, at == s].sum(1) for c in unit.values() for s in np.unique(at)])
    tokens, reads = chain(codes)
    if edges is not None:
        none = operators.index("none") if "none" in operators else -1
        skips = np.array([o.startswith("skip") for o in operators])
        tokens, reads, alive = cell(codes, np.asarray(edges), none, skips)
        working = np.flatnonzero(~skips & (np.arange(k) != none))
        canonical = hot * alive[:, :, None]
        blocks["live one-hot"] = canonical.reshape(n, -1)
        blocks["live counts"] = np.column_stack([canonical.sum(1), ~alive.any(1)])
        blocks["pairs"] = _pairs(hot)
        blocks["depth"] = _depth(canonical, np.asarray(edges), working)
        whole += [np.log1p(h[:, :, working].sum((1, 2))) for h in (hot, canonical)]
    if whole:
        blocks["cost"] = np.column_stack(whole)
    return Networks(tuple(names), blocks, tokens, reads)


def _one_hot(codes: Ints, k: int) -> Floats:
    """(n, p, k)."""
    return np.asarray(codes[:, :, None] == np.arange(k), np.float64)


def _pairs(hot: Floats) -> Floats:
    """Products of the one-hots of every two positions."""
    a, b = np.triu_indices(hot.shape[1], 1)
    return np.asarray(np.einsum("nai,naj->naij", hot[:, a], hot[:, b])).reshape(len(hot), -1)


def chain(codes: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Tokens (n, p + 2) and edges of networks in which each position reads the one before it."""
    n, p = codes.shape
    return _bounded(codes), np.broadcast_to(np.eye(p + 2, k=1, dtype=bool), (n, p + 2, p + 2))


def _bounded(codes: Ints) -> Ints:
    return np.pad(codes + FIRST, ((0, 0), (1, 1)), constant_values=((0, 0), (INPUT, OUTPUT)))


def cell(
    codes: Ints, edges: Ints, none: int, skips: NDArray[np.bool_]
) -> tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]:
    """Tokens (n, p + 2), who reads whom (n, p + 2, p + 2), and which of p operators lie on a live path (n, p).

    A node of the graph is an operator on an edge of the cell. `none` loses its edges; a skip hands its readers on to
    what it reads; then a node that the input does not reach, or that does not reach the output, loses its edges.
    """
    first, last = edges.min(), edges.max()
    ends = np.concatenate([[[-1, first]], edges, [[last, -1]]])
    n, v = len(codes), len(ends)
    whole = np.equal.outer(ends[:, 1], ends[:, 0]) & (ends[:, 1:] >= 0)
    reads = np.array(np.broadcast_to(whole, (n, v, v)))
    for node in range(1, v - 1):
        reads[codes[:, node - 1] == none, node] = False
        reads[codes[:, node - 1] == none, :, node] = False
    alive = _live(reads)[:, 1:-1]
    for node in range(1, v - 1):
        skip = skips[codes[:, node - 1]]
        reads[skip] |= reads[skip, :, node, None] & reads[skip, None, node, :]
        reads[skip, :, node] = reads[skip, node, :] = False
    on = _live(reads)
    return _bounded(codes), reads & on[:, :, None] & on[:, None, :], alive


def _live(reads: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, V) nodes on a path from the first to the last."""
    reach = reads | np.eye(reads.shape[1], dtype=bool)
    for _ in range(math.ceil(math.log2(reads.shape[1]))):  # squared: paths of twice the length
        reach = reach @ reach
    live_nodes: NDArray[np.bool_] = reach[:, 0, :] & reach[:, :, -1]
    return live_nodes


def _depth(canonical: Floats, edges: Ints, working: Ints) -> Floats:
    """(n, working + 2): most of each operator, and of all that compute, on one path; nodes where paths meet."""
    weights = np.column_stack([np.eye(canonical.shape[2])[:, working], np.isin(np.arange(canonical.shape[2]), working)])
    longest = np.full((edges.max() + 1, len(canonical), weights.shape[1]), -np.inf)
    longest[edges.min()] = 0.0
    alive: NDArray[np.bool_] = np.any(canonical, axis=2)
    for at in np.lexsort((edges[:, 0], edges[:, 1])):  # all that ends at a node before what leaves it
        a, b = edges[at]
        through = longest[a] + canonical[:, at] @ weights
        longest[b] = np.maximum(longest[b], np.where(alive[:, at, None], through, -np.inf))
    arriving = np.stack([alive[:, edges[:, 1] == b].sum(1) for b in np.unique(edges[:, 1])])
    return np.column_stack([np.maximum(longest[edges.max()], 0.0), np.maximum(arriving - 1, 0).sum(0)])


def graphs(names: Sequence[str], networks: Sequence[Graph], *, reference: Graph | None = None) -> Networks:
    """Networks of which only the Graph is known; what their output does not need is left out.

    Args:
        names: n names.
        networks: n graphs, in any space.
        reference: where the networks are variants of one network, that network: what became of each of its operators
            that have weights is a block of its own ("operators").
    """
    kept = [live(g.ops, g.output) for g in networks]
    rows = [_of_graph(g) for g in kept]
    blocks = {name: np.array([row[name] for row in rows], np.float64) for name in rows[0]}
    if reference is not None:
        blocks["operators"] = np.array([_of_variant(g, reference) for g in kept])
    return Networks(tuple(names), blocks, *_tokens(kept))


def _class(graph: Graph, o: Op) -> str:
    if o.kind == "conv":
        inputs = graph.in_shape(o)[0]
        form = "dense" if o["groups"] == 1 else "depthwise" if o["groups"] == inputs else "grouped"
        return f"{form} {min((1, 3, 5, 7), key=lambda k: abs(k - max(o['kernel'])))}"
    if o.kind == "linear" or o.kind in ("MatMul", "Gemm", "Attention"):
        return "linear"
    if o.kind in POOLS | GLOBAL_POOLS:
        return "pool"
    if o.kind in ACTIVATIONS | SOFTMAXES | {"prelu"}:
        return "activation"
    return "elementwise" if o.kind in ELEMENTWISE | {"affine"} else "other"


def _stage(graph: Graph, o: Op) -> int:
    """0 at the input's resolution, one more for each halving of its side."""
    if len(o.shape) < 3 or len(graph.input_shape) < 3 or o.shape[-1] <= 1:
        return STAGES - 1
    return min(STAGES - 1, max(0, round(math.log2(graph.input_shape[-1] / o.shape[-1]))))


def _of_graph(graph: Graph) -> dict[str, Floats]:
    """The blocks of one network. Costs enter as logarithms; those of a class also as shares of the whole."""
    count, macs, moved = (np.zeros((len(CLASSES), STAGES)) for _ in range(3))
    weights = int8 = 0.0
    depth: dict[str, int] = {}
    for o in graph:
        depth[o.name] = max((depth[i] for i in o.inputs), default=0) + (o.kind != "input")
        if o.kind in ("input", "Constant"):
            continue
        at = CLASSES.index(_class(graph, o)), _stage(graph, o)
        size = o.bits / 8
        count[at] += 1
        macs[at] += graph.macs(o)
        moved[at] += size * (o.size + sum(graph[i].size for i in o.inputs))
        weights += size * sum(math.prod(s) for s in graph.weight_shapes(o).values())
        int8 += graph.macs(o) * (o.bits == 8)
    total, traffic = max(macs.sum(), 1.0), max(moved.sum(), 1.0)
    totals = [total, 1 + weights, traffic, total / (traffic + weights), count.sum(), 1 + max(depth.values())]
    return {
        "counts": count.sum(1),
        "stage counts": np.concatenate([count[: len(_CONVS)].sum(0), count[len(_CONVS) :].sum(0)]),
        "cost": np.append(np.log(totals), int8 / total),
        "class cost": np.log1p(np.concatenate([macs.sum(1), moved.sum(1)])),
        "class share": np.concatenate([macs.sum(1) / total, moved.sum(1) / traffic]),
        "stage cost": np.concatenate([macs.sum(0) / total, moved.sum(0) / traffic]),
    }


def _of_variant(graph: Graph, reference: Graph) -> Floats:
    """Of each operator of the reference with weights: MACs and width beside the reference's, is it there, in int8."""
    found = []
    for r in reference:
        if not r.weights:
            continue
        if r.name not in graph.by_name:
            found.append((0.0, 0.0, 0.0, 0.0))
            continue
        o = graph[r.name]
        found.append((graph.macs(o) / max(reference.macs(r), 1), o.size / r.size, 1.0, float(o.bits == 8)))
    return np.array(found, np.float64).reshape(-1)


OTHER = "other"
"""What stands for kinds without a word: those of an ONNX file, and those that came after predictors were stored."""

_VOCABULARY = (
    "add", "avg_pool", "batch_norm", "concat", "conv", "flatten", "gelu", "global_pool", "hard_sigmoid", "hard_swish",
    "leaky_relu", "linear", "max_pool", "mul", "pad", "relu", "relu6", "reshape", "sigmoid", "silu", "slice", "softmax",
    "sub", "tanh", "transpose", OTHER, "affine", "prelu", "gelu_tanh", "clip", "global_max_pool", "log_softmax",
)  # fmt: skip
"""Kinds in the order of their tokens, which stored predictors know: a kind keeps its place for good."""

_TOKENS = {word: FIRST + place for place, word in enumerate(_VOCABULARY)}


def _tokens(networks: Sequence[Graph]) -> tuple[Ints, NDArray[np.bool_]]:
    """Tokens (n, V) and edges (n, V, V): operators in their order, the input first; -1 fills up."""
    v = max(len(g.ops) for g in networks)
    tokens, reads = np.full((len(networks), v), -1, np.int64), np.zeros((len(networks), v, v), bool)
    for i, g in enumerate(networks):
        place = {o.name: j for j, o in enumerate(g.ops)}
        for j, o in enumerate(g.ops):
            tokens[i, j] = INPUT if j == 0 else _TOKENS.get(o.kind, _TOKENS[OTHER])
            reads[i, [place[a] for a in o.inputs], j] = True
    return tokens, reads
