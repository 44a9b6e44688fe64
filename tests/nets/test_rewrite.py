"""Rewrites are exact, and are left where they would not be."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.graph import Graph, Network, Op, op
from chipfit.nets.rewrite import merged_affines


def _affine(name: str, source: str, learnt: int = 0, single: int = 0, **roles: int) -> Op:
    has = {"scale": 0, "shift": 0} | roles
    return op(name, "affine", (source,), (4, 2, 2), name, learnt=learnt, single=single, **has)


def _network(*ops: Op, output: str = "") -> Network:
    graph = Graph((op("input", "input", (), (4, 2, 2)), *ops), output or ops[-1].name)
    rng = np.random.default_rng(0)
    weights = {n: rng.normal(size=s).astype(np.float32) for o in graph for n, s in graph.weight_shapes(o).items()}
    return Network(graph, weights)


def _computed(network: Network, x: np.ndarray) -> np.ndarray:
    values = {"input": x}
    for o in network.graph.ops[1:]:
        y = values[o.inputs[0]]
        if o["scale"]:
            y = y * network.weights[o.array("scale")][:, None, None]
        values[o.name] = y + network.weights[o.array("shift")][:, None, None] if o["shift"] else y
    return values[network.graph.output]


@pytest.mark.parametrize(
    ("ops", "left"),
    [
        ((_affine("a", "input", shift=1), _affine("b", "a", scale=1)), 1),
        ((_affine("a", "input", scale=1, single=1), _affine("b", "a", scale=1), _affine("c", "b", shift=1)), 1),
        ((_affine("a", "input", scale=1, learnt=1), _affine("b", "a", shift=1, learnt=1)), 1),
        ((_affine("a", "input", shift=1, learnt=1), _affine("b", "a", scale=1, learnt=1)), 2),
        ((_affine("a", "input", scale=1, learnt=1), _affine("b", "a", shift=1)), 2),
        ((_affine("a", "input", scale=1, learnt=1, single=1), _affine("b", "a", shift=1, learnt=1)), 2),
    ],
)  # fmt: skip
def test_scales_and_shifts_are_put_together(ops: tuple[Op, ...], left: int) -> None:
    before = _network(*ops)
    after = merged_affines(before)
    assert len(after.graph.ops) == 1 + left
    x = np.random.default_rng(1).normal(size=(4, 2, 2)).astype(np.float32)
    np.testing.assert_allclose(_computed(after, x), _computed(before, x), rtol=1e-5, atol=1e-6)


def test_not_where_another_reads_the_first() -> None:
    network = _network(
        _affine("a", "input", scale=1), _affine("b", "a", shift=1), op("sum", "add", ("a", "b"), (4, 2, 2))
    )
    assert merged_affines(network).graph == network.graph
