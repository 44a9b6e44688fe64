"""Groups of large networks are offered fewer widths, so that the tables over them stay small; small ones all."""

from __future__ import annotations

import pytest

from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS, resnet
from chipfit.space.coarse_widths import FEWEST, most_widths
from chipfit.space.offer import offer

BLOCK = {32: 8, 8: 8}


@pytest.mark.parametrize("name", list(BUILDERS))
def test_networks_of_the_zoo_are_offered_every_width(name: str) -> None:
    assert most_widths(trace(BUILDERS[name](), (1, 28, 28)).graph, BLOCK) is None


def test_wide_groups_are_offered_as_many_widths_as_tables_may_hold() -> None:
    graph = trace(resnet(1, width=64), (1, 28, 28)).graph
    assert most_widths(graph, BLOCK) is None
    few = most_widths(graph, BLOCK, most_cells=600)
    assert few is not None
    assert few >= FEWEST
    sizes = [len(d.options) for d in offer(graph, BLOCK, widths=few, depth=False).menu.decisions if d.kind == "width"]
    assert max(sizes) == few
    assert most_widths(graph, BLOCK, most_cells=1) == FEWEST
