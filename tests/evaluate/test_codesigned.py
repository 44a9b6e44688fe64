"""How the limit moves from one look of the joint search to the next."""

from __future__ import annotations

import pytest

from chipfit.core.types import Limit
from chipfit.evaluate.codesigned import drawn_in

LIMITS = [Limit("latency_ms", 2.0), Limit("size_mb", 1.0)]


@pytest.mark.parametrize(
    ("room", "look", "share"), [(0.9999, 0, 0.998), (0.9999, 3, 0.984), (0.8, 0, 0.8), (1.5, 2, 1.5)]
)
def test_a_miss_by_a_hair_draws_in_further_each_time(room: float, look: int, share: float) -> None:
    latency, size = drawn_in(LIMITS, room, look)
    assert latency.value == pytest.approx(share * 2.0)
    assert size == LIMITS[1]
