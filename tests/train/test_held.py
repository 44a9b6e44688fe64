"""Zeros of pruned kernels and fixed-point numbers come through training, which makes good what they cost."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from chipfit.core.fixed_point import on_grid, stored_as
from chipfit.train.held import rounded


@given(st.tuples(st.integers(0, 4), st.integers(1, 10)), st.integers(0, 99))
def test_it_rounds_as_edits_do(bits: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = (2 * rng.normal(size=(3, 2, 3, 3))).astype(np.float32)
    factor = np.array([0.5, -1.7, 0.0])
    tensor = torch.from_numpy(weight)
    np.testing.assert_array_equal(rounded(tensor, *bits).numpy(), on_grid(weight, *bits).astype(np.float32))
    got = rounded(tensor, *bits, torch.from_numpy(factor)).numpy()
    np.testing.assert_array_equal(got, stored_as(weight, factor, *bits).astype(np.float32))
