"""Search under a limit: nothing unmeasured is returned, the limit is never broken, measurements are not wasted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipfit.core.errors import BadInput
from chipfit.search.under_limit import under_limit


def knows(values, limit):
    """A predictor that is right."""
    return lambda rows, seen: (values <= limit).astype(float)


def guesses(n):
    """A predictor that knows nothing."""
    return lambda rows, seen: np.full(n, 0.5)


@given(seed=st.integers(0, 10**6), limit=st.floats(-1, 2), budget=st.integers(2, 12), share=st.floats(0, 1))
def test_never_over_the_limit_nor_the_budget_whatever_the_predictor_says(seed, limit, budget, share):
    rng = np.random.default_rng(seed)
    quality, values, wrong = rng.random((3, 30))
    asked = []

    def measure(row):
        asked.append(row)
        return float(values[row])

    chance = lambda rows, seen: share * wrong + (1 - share) * (values <= limit)  # noqa: E731
    found = under_limit(quality, measure, limit, chance, first=(3, 7), budget=budget)
    assert len(asked) == len(set(asked)) <= budget
    assert found.rows == tuple(asked)
    assert found.values == tuple(values[asked])
    assert found.nearest == asked[int(np.argmin(values[asked]))]
    holding = [row for row in asked if values[row] <= limit]
    assert found.row == max(holding, key=lambda row: quality[row], default=None)


def test_a_predictor_that_is_right_needs_one_check():
    rng = np.random.default_rng(0)
    quality, values = rng.random((2, 1000))
    found = under_limit(quality, lambda i: values[i], 0.3, knows(values, 0.3), first=(), budget=25)
    assert found.row == np.argmax(np.where(values <= 0.3, quality, -1))
    assert len(found.rows) == 1


def test_each_measurement_refits_the_predictor():
    values = np.arange(10.0)
    seen = []

    def chance(rows, measured):
        seen.append((rows.tolist(), measured.tolist()))
        return np.full(10, 0.5)

    found = under_limit(values, lambda i: values[i], 4.0, chance, first=(0, 1), budget=5)
    assert [len(rows) for rows, _ in seen] == [2, 3, 4]
    assert seen[-1] == (list(found.rows[:4]), list(found.values[:4]))


def test_a_limit_that_nothing_holds_answers_with_the_nearest():
    values = np.linspace(5, 9, 20)
    found = under_limit(values, lambda i: values[i], 4.0, guesses(20), first=(3, 1), budget=6)
    assert found.row is None
    assert found.nearest == 1
    assert len(found.rows) == 6


def test_measuring_ends_when_the_best_candidate_holds():
    quality = np.arange(10.0)
    found = under_limit(quality, lambda i: 1.0, 4.0, guesses(10), first=(2,), budget=10)
    assert found.row == 9
    assert found.rows == (2, 9)


def test_equal_qualities_are_one_prize_and_the_likelier_is_tried():
    quality, chances = np.array([1.0, 2.0, 2.0, 2.0]), np.array([1.0, 0.3, 0.6, 0.5])
    found = under_limit(quality, lambda i: 1.0, 4.0, lambda rows, seen: chances, first=(0,), budget=4)
    assert found.rows == (0, 2)


def test_the_product_of_chance_and_gain_decides():
    quality, chances = np.array([0.0, 1.0, 1.5]), np.array([1.0, 0.9, 0.3])
    found = under_limit(quality, lambda i: 1.0, 4.0, lambda rows, seen: chances, first=(0,), budget=2)
    assert found.rows == (0, 1)


def test_what_promises_less_than_it_is_worth_is_not_measured():
    quality, chances = np.array([0.0, 1.0]), np.array([1.0, 0.1])
    search = lambda worth: under_limit(  # noqa: E731
        quality, lambda i: 1.0, 4.0, lambda rows, seen: chances, first=(0,), budget=2, worth=worth
    )
    assert search(0.2).rows == (0,)
    assert search(0.05).rows == (0, 1)


def test_a_failed_measurement_is_counted_but_teaches_nothing_and_is_no_pick():
    values = np.array([1.0, 2.0, np.nan])
    seen = []
    chance = lambda rows, measured: seen.append(rows.tolist()) or np.full(3, 0.5)  # noqa: E731
    found = under_limit(np.arange(3.0), lambda i: values[i], 4.0, chance, first=(0,), budget=3)
    assert found.row == 1
    assert found.rows == (0, 2, 1)
    assert seen == [[0], [0]]


def test_bad_input_says_what_to_do():
    with pytest.raises(BadInput, match="candidate 1 has no quality"):
        under_limit(np.array([1.0, np.nan]), lambda i: 1.0, 1.0, guesses(2), first=(), budget=1)
    with pytest.raises(BadInput, match="3 first measurements exceed the budget of 2"):
        under_limit(np.ones(5), lambda i: 1.0, 1.0, guesses(5), first=(0, 1, 2), budget=2)
