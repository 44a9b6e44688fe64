"""What fixed point can say, and that rounding to it is nearest, half up, clamped, and done once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chipfit.core.fixed_point import bounds, on_grid, stored_as

BITS = st.tuples(st.integers(0, 6), st.integers(1, 10))
VALUES = st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=20)


@given(BITS, VALUES)
def test_a_number_stays_and_a_value_goes_to_the_nearest(bits: tuple[int, int], values: list[float]) -> None:
    x = np.array(values, np.float32)
    rounded = on_grid(x, *bits)
    low, high = bounds(*bits)
    whole = rounded * 2.0 ** bits[1]
    np.testing.assert_array_equal(whole, np.rint(whole), "multiples of the step")
    assert rounded.min() >= low
    assert rounded.max() <= high
    np.testing.assert_array_equal(rounded, on_grid(rounded, *bits))
    np.testing.assert_array_equal(rounded, rounded.astype(np.float32), "single precision holds them")
    inside = (x >= low) & (x <= high)
    assert (np.abs(rounded - x)[inside] <= 0.5 * 2.0 ** -bits[1]).all()


def test_halves_go_up() -> None:
    np.testing.assert_array_equal(on_grid(np.array([0.125, -0.125, -0.375, 0.375]), 1, 2), [0.25, 0.0, -0.25, 0.5])


def test_two_bits_have_four_numbers() -> None:
    np.testing.assert_array_equal(np.unique(on_grid(np.linspace(-9, 9, 1001), 1, 1)), [-1.0, -0.5, 0.0, 0.5])


@given(st.tuples(st.integers(1, 4), st.integers(1, 12)), st.integers(0, 99))
def test_with_a_factor_it_is_the_product_that_is_a_number(bits: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    factor = rng.uniform(0.1, 3, 4) * rng.choice([-1, 1], 4)
    values = rng.normal(size=(4, 3, 2)).astype(np.float32)
    stored = stored_as(values, factor, *bits).astype(np.float32)
    product = stored * factor[:, None, None]
    np.testing.assert_allclose(product, on_grid(values * factor[:, None, None], *bits), atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(stored_as(stored, factor, *bits), stored, atol=1e-6, rtol=1e-6)


def test_rows_that_nothing_is_left_of_stay() -> None:
    values = np.array([[0.3], [0.3]])
    np.testing.assert_array_equal(stored_as(values, np.array([0.0, 1.0]), 1, 1), [[0.3], [0.5]])
