"""Which groups there are where channels stand within one another, or are cut and put together again."""

from __future__ import annotations

import pytest

from chipfit.nets.trace import trace
from chipfit.space.groups import channel_groups
from models.products import PRODUCTS

# network -> name of each group: how many channels it has
EXPECTED: dict[str, dict[str, int]] = {}


@pytest.mark.parametrize("name", PRODUCTS)
def test_groups(name: str) -> None:
    coupling = channel_groups(trace(PRODUCTS[name](), (3, 16, 16)).graph)
    assert {g.name: g.size for g in coupling.groups} == EXPECTED[name]
