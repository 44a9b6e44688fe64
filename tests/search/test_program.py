from __future__ import annotations

import numpy as np
import pytest

from chipfit.search.program import Row, linearise, spread, tabulate, total
from chipfit.space.menu import Decision, Menu, Option, Term


def decision(name: str, n: int) -> Decision:
    return Decision(name, "width", tuple(Option(str(i)) for i in range(n)))


def menu(*terms: Term, sizes: tuple[int, ...] = (2, 3, 2), ties: tuple = ()) -> Menu:
    return Menu("g", tuple(decision(f"d{i}", n) for i, n in enumerate(sizes)), terms, ties)


def test_terms_on_the_same_decisions_become_one_table() -> None:
    a = np.arange(6.0).reshape(2, 3)
    m = menu(
        Term("macs", (0, 1), a),
        Term("macs", (1, 0), 10 * a.T),
        Term("macs", (), np.array(7.0)),
        Term("macs", (2,), np.array([4.0, 4.0])),
    )
    tables = tabulate(m, "macs")
    assert set(tables) == {(0, 1), ()}
    np.testing.assert_array_equal(tables[(0, 1)], 11 * a)
    assert tables[()] == 11.0
    assert spread(tables) == 55.0
    for choice in np.ndindex(2, 3, 2):
        assert total(tables, choice) == m.total("macs", choice)


def test_a_decision_that_comes_twice_takes_the_diagonal() -> None:
    """A convolution whose input and output width are one group; a boundary between one precision and itself."""
    square = np.array([[16.0, 8.0, 4.0], [8.0, 4.0, 2.0], [4.0, 2.0, 1.0]])
    tables = tabulate(menu(Term("macs", (1, 1), square)), "macs")
    np.testing.assert_array_equal(tables[(1,)], [16, 4, 1])
    cube = np.arange(12.0).reshape(2, 2, 3)
    tables = tabulate(menu(Term("macs", (2, 2, 1), cube)), "macs")
    np.testing.assert_array_equal(tables[(1, 2)], [[0, 9], [1, 10], [2, 11]])


def test_a_decision_that_makes_no_difference_is_left_out() -> None:
    table = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    assert set(tabulate(menu(Term("macs", (0, 1), table)), "macs")) == {(1,)}


def test_scale_is_the_mean_over_a_terms_decisions_and_sign_turns_it() -> None:
    m = menu(Term("damage", (0, 1), np.ones((2, 3)) + np.arange(3)), Term("damage", (), np.array(5.0)))
    tables = tabulate(m, "damage", -1.0, np.array([0.2, 0.6, 9.0]))
    np.testing.assert_allclose(tables[(1,)], [-0.4, -0.8, -1.2])
    assert tables[()] == -5.0


def test_cells_beyond_a_limit_have_no_column() -> None:
    m = menu(
        Term("latency_ms", (0, 1), np.array([[9.0, 4.0, 2.0], [3.0, 2.0, 1.0]])),
        Term("latency_ms", (2,), np.array([1.0, 0.0])),
    )
    cost = tabulate(m, "latency_ms")
    program = linearise(m, {}, [Row(cost, 3.0)])
    assert program is not None
    np.testing.assert_array_equal(program.cells[(0, 1)] >= 0, [[False, False, True], [True, True, True]])
    assert program.count == 2 + 3 + 2 + 4
    assert program.binaries == 7
    # what a limit leaves decides about single options and through ties about others
    tight = linearise(m, {}, [Row(cost, 1.0)])
    assert tight is not None
    assert [(tight.cells[(d,)] >= 0).tolist() for d in range(3)] == [[False, True], [False, False, True], [False, True]]
    tied = menu(*m.terms, ties=(((0, 1), (2, 0)),))
    assert linearise(tied, {}, [Row(cost, 1.0)]) is None
    assert linearise(m, {}, [Row(cost, 0.9)]) is None


def test_a_row_is_scaled_to_its_spread() -> None:
    m = menu(Term("latency_ms", (0,), np.array([5.0, 3.0])), Term("latency_ms", (1,), np.array([1.0, 4.0, 9.0])))
    cost = tabulate(m, "latency_ms")
    program = linearise(m, cost, [])
    assert program is not None
    row, factor, least = program.row(cost, 100.0)
    assert (factor, least) == (10.0, 4.0)
    np.testing.assert_allclose(row, [20, 0, 0, 30, 80, 0, 0])
    for choice in np.ndindex(2, 3, 2):
        assert program.cut(choice) @ row / factor + least == pytest.approx(m.total("latency_ms", choice))
        assert program.assignment(program.cut(choice)) == choice
        assert program.cut(choice).sum() == 3


def test_tables_that_share_a_pair_agree_on_it() -> None:
    rng = np.random.default_rng(0)
    m = menu(
        Term("latency_ms", (0, 1, 2), rng.random((2, 3, 2))),
        Term("latency_ms", (0, 2, 3), rng.random((2, 2, 2))),
        sizes=(2, 3, 2, 2),
    )
    cost = tabulate(m, "latency_ms")
    program = linearise(m, cost, [])
    assert program is not None
    assert (0, 2) in program.cells
    # every assignment, written as columns, keeps every equality
    for choice in np.ndindex(2, 3, 2, 2):
        x = np.zeros(program.count)
        for scope, cells in program.cells.items():
            x[cells[tuple(choice[d] for d in scope)]] = 1.0
        np.testing.assert_array_equal(program.equal.A @ x, program.equal.ub)
        row, factor, least = program.row(cost, 1.0)
        assert row @ x / factor + least == pytest.approx(m.total("latency_ms", choice))
