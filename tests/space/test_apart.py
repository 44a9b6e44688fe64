"""Which groups stay out of a menu, as their widths could not be decided in tables over few decisions."""

from __future__ import annotations

from chipfit.nets.trace import trace
from chipfit.space.apart import apart
from chipfit.space.groups import channel_groups
from models.awkward import INPUT_SHAPE
from models.joined import JOINED
from models.products import PRODUCTS


def test_two_groups_on_both_sides_of_a_weight_stay_as_they_are() -> None:
    """A stream of two parts is read and made by one layer: its cost is the product of two sums."""
    graph = trace(JOINED["InBlocks"](), INPUT_SHAPE).graph
    whole, left = channel_groups(graph), apart(graph, channel_groups(graph))
    gone = {g.name for g in whole.groups} - {g.name for g in left.groups}
    assert gone == {"stem.0/0", "stem.0/1"}
    told = dict(left.frozen)
    assert told.keys() - dict(whole.frozen).keys() == {"stem.0", "out", "mixed", "third.0.0", "third.1.0"}
    assert "too many groups of channels on its sides" in told["stem.0"]


def test_groups_of_a_grouped_convolution_and_within_them_fit_one_table() -> None:
    graph = trace(PRODUCTS["ResNeXt"](), (3, 16, 16)).graph
    whole = channel_groups(graph)
    assert apart(graph, whole) is whole
