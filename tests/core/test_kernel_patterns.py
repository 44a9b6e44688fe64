"""Which pattern a kernel takes, and how a graph has patterns."""

from __future__ import annotations

import numpy as np

from chipfit.core.graph import op
from chipfit.core.kernel_patterns import as_number, as_places, kept, patterns_of

WINDOW = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "bias": 0}


def test_each_kernel_keeps_most_of_its_squares() -> None:
    kernels = np.array([[[[1.0, 2.0], [3.0, 0.5]], [[-3.0, 0.0], [0.0, 2.0]]]])
    cut = np.where(kept(kernels, ((0, 1), (1, 2), (0, 3))), kernels, 0.0)
    np.testing.assert_array_equal(cut, [[[[0, 2], [3, 0]], [[-3, 0], [0, 2]]]])


def test_of_equals_the_first_is_taken_and_not_their_sum() -> None:
    kernel = np.ones((1, 1, 3, 3))
    patterns = ((0, 1, 4), (4, 7, 8), (3, 4, 5))
    assert kept(kernel, patterns).ravel().nonzero()[0].tolist() == [0, 1, 4]
    assert kept(0 * kernel, patterns).ravel().nonzero()[0].tolist() == [0, 1, 4]


def test_what_is_cut_is_cut_no_more() -> None:
    patterns = ((0, 4, 5, 7), (1, 2, 3, 4), (4, 6, 7, 8))
    kernels = np.random.default_rng(0).normal(size=(20, 9, 3, 3)).astype(np.float32)
    cut = np.where(kept(kernels, patterns), kernels, np.float32(0))
    np.testing.assert_array_equal(np.where(kept(cut, patterns), cut, 0), cut)
    assert ((cut != 0).sum((2, 3)) == 4).all()


def test_a_graph_has_patterns_as_numbers() -> None:
    whole = op("a", "conv", ("x",), (4, 8, 8), "a", kernel=(3, 3), **WINDOW)
    assert patterns_of(whole) == ()
    patterns = ((0, 4), (4, 8))
    assert patterns_of(whole.having(patterns=tuple(map(as_number, patterns)))) == patterns
    assert as_places(as_number((0, 24, 48))) == (0, 24, 48)
