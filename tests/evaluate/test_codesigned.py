"""How the limit moves from one look of the joint search to the next."""

from __future__ import annotations

import pytest

from chipfit.core.types import Limit
from chipfit.evaluate.codesigned import MISSED, drawn_in

LIMITS = [Limit("latency_ms", 2.0), Limit("size_mb", 1.0)]


@pytest.mark.parametrize(("room", "share"), [(0.9999, MISSED), (0.8, 0.8), (1.0, 1.0), (1.5, 1.5)])
def test_a_hair_over_the_budget_draws_in_enough_for_another_network(room: float, share: float) -> None:
    latency, size = drawn_in(LIMITS, room)
    assert latency.value == pytest.approx(share * 2.0)
    assert size == LIMITS[1]
