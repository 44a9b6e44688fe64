"""Which groups there are where channels stand within one another, or are cut and put together again."""

from __future__ import annotations

import pytest

from chipfit.nets.trace import trace
from chipfit.space.groups import channel_groups
from models.products import PRODUCTS

# network -> name of each group: how many channels it has
EXPECTED = {
    "ResNeXt": {"stem": 24, "reduce.0/0": 4, "reduce.0/1": 4, "grouped.0/1": 8, "squeeze": 6},
    "Csp": {"stem/0": 16, "stem/1": 16, "a.0": 24, "out.0": 24},
    "Res2": {"stem": 16, "reduce.0/0": 8, "reduce.0/1": 8, "reduce.0/2": 8, "reduce.0/3": 8, "parts.2.0": 8},
    "ShuffleUnits": {
        "stem/0": 3, "stem/1": 3, "stem/2": 6, "stem/3": 12, "units.0.0.0": 16, "units.1.0.0": 16, "units.2.0.0": 16,
    },
    # the groups that the shortcut and the shuffle tie together stand within one another, what is in them does not
    "ShuffleGroups": {"stem/1": 8, "a.0/1": 4},
    "Ghost": {"stem": 12, "a.0": 20},
    "Overlapping": {"stem/0": 2, "stem/1": 6, "stem/2": 8, "a.0/0": 4, "a.0/1": 2, "a.0/2": 2, "d.0": 12},
    "Tokens": {"stem": 16, "up": 32},
    "Multiplied": {"stem": 12, "many/1": 2, "deep": 20},
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_groups(name: str) -> None:
    coupling = channel_groups(trace(PRODUCTS[name](), (3, 16, 16)).graph)
    assert {g.name: g.size for g in coupling.groups} == EXPECTED[name]
