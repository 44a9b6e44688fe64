"""Places of groups on axes, by hand."""

from __future__ import annotations

from chipfit.space.axes import Factor, Segment, channels_at, fixed, groups_on, kept, places_of

HEADS = Segment((Factor("", 3), Factor("heads", 2), Factor("each", 2)))
HALVES = Factor("", 3, (Segment((Factor("a", 2),)), Segment((Factor("b", 1),))))


def test_a_product_keeps_what_all_its_factors_keep() -> None:
    assert kept((HEADS,), {"heads": (1,)}) == (2, 3, 6, 7, 10, 11)
    assert kept((HEADS,), {"heads": (1,), "each": (0,)}) == (2, 6, 10)
    assert kept((*fixed(2), HEADS), {"each": (1,)}) == (0, 1, 3, 5, 7, 9, 11, 13)


def test_each_channel_stands_in_several_places() -> None:
    assert channels_at((HEADS,), "each").tolist() == [0, 1] * 6
    assert places_of((HEADS,), "heads", 2).tolist() == [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]
    assert places_of((*fixed(1), Segment((Factor("a", 2), Factor("", 2)))), "a", 2).tolist() == [[1, 2], [3, 4]]


def test_a_sum_within_a_product() -> None:
    axis = (Segment((Factor("outer", 2), HALVES)),)
    assert list(groups_on(axis)) == ["outer", "a", "b"]
    assert kept(axis, {"a": (1,)}) == (1, 2, 4, 5)
    assert kept(axis, {"outer": (1,), "b": (0,)}) == (3, 4, 5)
    assert places_of(axis, "b", 1).tolist() == [[2, 5]]
