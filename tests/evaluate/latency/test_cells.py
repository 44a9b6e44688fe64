"""Graphs of NAS-Bench-201 cells and of chains."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from chipfit.evaluate.latency.base import Ints
from chipfit.evaluate.latency.encode import cell, chain

EDGES = np.array([(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)])


def nb201(codes: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Tokens and edges of cells of none, skip and three operators."""
    return cell(codes, EDGES, 0, np.array([False, True, False, False, False]))[:2]


def test_a_cell_without_operators_has_no_edges_and_one_of_skips_joins_input_and_output() -> None:
    tokens, edges = nb201(np.array([[0] * 6, [1] * 6]))
    assert not edges[0].any()
    assert [tuple(e) for e in np.argwhere(edges[1])] == [(0, 7)]
    assert tokens.tolist() == [[1, *[2] * 6, 0], [1, *[3] * 6, 0]]


def test_a_dead_operator_loses_its_edges_and_keeps_its_token() -> None:
    tokens, edges = nb201(np.array([[3, 0, 0, 3, 0, 0]]))  # a convolution into node 1 of the cell, which nothing reads
    assert [tuple(e) for e in np.argwhere(edges[0])] == [(0, 4), (4, 7)]
    assert tokens[0, 1] == 5


def test_341_cells_have_no_path() -> None:
    _, edges = nb201(np.array(list(itertools.product(range(5), repeat=6))))
    assert int((~edges.any((1, 2))).sum()) == 341


def test_a_chain_has_an_input_and_an_output() -> None:
    tokens, edges = chain(np.array([[4, 0, 8]]))
    assert tokens.tolist() == [[1, 6, 2, 10, 0]]
    assert [tuple(e) for e in np.argwhere(edges[0])] == [(0, 1), (1, 2), (2, 3), (3, 4)]
