"""Calibration inputs, few or many: never repaired and scored on the same ones, and nothing estimated on none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipfit.core.errors import BadInput
from chipfit.evaluate.parts import FEWEST, KEPT_FOR_SCORES, SCORED, SCORED_AT_LEAST, WHOLE, parts_of


@pytest.mark.parametrize("n", [WHOLE, WHOLE + 1, 60_000])
def test_with_enough_inputs_the_parts_do_not_change(n: int) -> None:
    parts = parts_of(n)
    assert parts.compensation == slice(0, 1024)
    assert (parts.damage, parts.truth, parts.confirmation) == (slice(1024, 1216), slice(1216, 1408), slice(1408, 1600))
    assert not parts.overlapping


@given(st.integers(FEWEST, 2 * WHOLE))
def test_parts_are_inside_and_scored_apart_from_compensation(n: int) -> None:
    parts = parts_of(n)
    scored = [parts.damage, parts.truth, parts.confirmation]
    assert parts.compensation.start == 0
    assert 8 <= parts.compensation.stop <= parts.damage.start
    for part in scored:
        size = part.stop - part.start
        assert part.stop <= n
        assert min(KEPT_FOR_SCORES, n // 2) <= size <= SCORED
        assert size >= min(SCORED_AT_LEAST, n - parts.compensation.stop)
    used = np.zeros(n, int)
    for part in scored:
        used[part] += 1
    assert parts.overlapping == bool((used > 1).any())
    assert parts_of(n + 1).damage.stop - parts_of(n + 1).damage.start >= parts.damage.stop - parts.damage.start - 1


@pytest.mark.parametrize("n", [0, 1, 15])
def test_too_few_are_refused_with_the_number_that_is_needed(n: int) -> None:
    with pytest.raises(BadInput, match=rf"holds {n} inputs?, and at least 16 are needed .* give more rows") as caught:
        parts_of(n)
    assert "\n" not in str(caught.value)
