"""How well cheap looks order candidates is told by a rank correlation."""

from __future__ import annotations

import pytest

from chipfit.evaluate.ladder import rank_correlation


def test_orders_are_told_by_kendalls_tau() -> None:
    assert rank_correlation([1, 2, 3], [10, 200, 201]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([0, 1, 2, 3, 4], [10, 1, 2, 13, 4]) == pytest.approx(0.2)  # 6 pairs alike, 4 turned round


def test_where_there_is_no_order_there_is_none() -> None:
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 2, 3], [2, 2, 2]) is None
