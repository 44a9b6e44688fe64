"""Each rung of a search is told by how well it foretold the truth."""

from __future__ import annotations

import pytest

from chipfit.evaluate.ladder import Standing, rank_correlation, standings
from chipfit.search.evolve import Ladder, Rung


def test_a_rung_is_told_by_its_order() -> None:
    ladder = Ladder(
        [Rung("valid", lambda n: None if n < 0 else 0.0), Rung("cheap", lambda n: n % 10), Rung("dear", float)]
    )
    tried = [ladder.climb(n) for n in (-1, 10, 1, 2, 13, 4)]
    told = standings(("valid", "cheap", "dear"), tried, {n: t.candidate for n, t in enumerate(tried) if n})
    assert told[0] == Standing("valid", 5, 5, 5, None)  # all alike
    assert told[1] == Standing("cheap", 5, 5, 5, pytest.approx(0.2))  # 6 pairs as in truth, 4 the other way round
    assert told[2] == Standing("dear", 5, 5, 5, pytest.approx(1))


def test_only_what_is_known_in_truth_counts() -> None:
    ladder = Ladder([Rung("cheap", float, keep=0.5), Rung("dear", lambda v: -v)])
    tried = [ladder.climb(v) for v in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]
    cheap, dear = standings(("cheap", "dear"), tried, {0: -1.0, 1: -2.0, 2: -3.0})
    assert cheap == Standing("cheap", 6, 5, 3, pytest.approx(-1))
    assert dear == Standing("dear", 5, 5, 3, pytest.approx(1))


def test_two_are_too_few_to_tell() -> None:
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 2, 3], [2, 2, 2]) is None
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
