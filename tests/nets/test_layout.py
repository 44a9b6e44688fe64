"""Where the batch is after views and permutations."""

from __future__ import annotations

import pytest
import torch

from chipfit.nets.rules.layout import FIRST, Layout, permuted, viewed

BATCH = 7


@pytest.mark.parametrize(
    ("layout", "before", "after", "wanted"),
    [
        (FIRST, (7, 4, 6), (28, 6), Layout(0, 1, 4)),
        (Layout(0, 1, 4), (28, 6), (7, 2, 2, 6), FIRST),
        (Layout(1), (4, 7, 6), (4, 7, 2, 3), Layout(1)),
        (Layout(1), (4, 7, 6), (28, 6), Layout(0, 4, 1)),
        (Layout(0, 4, 1), (28, 6), (2, 14, 6), Layout(1, 2, 1)),
        (FIRST, (7, 4), (1, 7, 4), Layout(1)),
        (FIRST, (7, 4), (2, 14), None),
    ],
)
def test_views_of_the_batch(layout: Layout, before, after, wanted) -> None:
    assert viewed(layout, before, after, BATCH) == wanted


def test_what_is_left_of_a_view_is_a_view_of_what_is_left() -> None:
    x = torch.arange(4 * BATCH * 6.0).reshape(4, BATCH, 6)
    y = x.reshape(4 * BATCH, 2, 3)
    place = viewed(Layout(1), tuple(x.shape), tuple(y.shape), BATCH)
    assert place == Layout(0, 4, 1)
    batch_first = x.permute(1, 0, 2)  # as the graph has it: (batch, 4, 6)
    kept = batch_first.reshape(BATCH, *place.stripped(tuple(y.shape)))
    back = kept.reshape(BATCH, 4, 2, 3).permute(1, 0, 2, 3).reshape(y.shape)
    assert torch.equal(back, y)


def test_a_permutation_that_moves_the_batch_alone_is_none() -> None:
    assert permuted(FIRST, [1, 0, 2]) == (Layout(1), (0, 1))
    assert permuted(Layout(1), [1, 2, 0]) == (FIRST, (1, 0))
    assert permuted(Layout(0, 1, 4), [0, 2, 1]) == (Layout(0, 1, 4), (0, 2, 1))


def test_constants_meet_the_axes_that_are_left() -> None:
    value = torch.rand(4, 1, 6)
    assert Layout(1).constant(value, 3).shape == (1, 4, 6)
    assert Layout(0, 1, 4).constant(torch.rand(6), 2).shape == (1, 1, 6)
    assert Layout(1).constant(torch.rand(4, 7, 6), 3) is None
