"""A file that misses its budget in one sitting is timed again: what disturbs a timing only lengthens it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from chipfit.core.graph import Graph, op
from chipfit.core.types import Artifact, Limit, Measurement
from chipfit.recipes.deploy import steady

LIMIT = Limit("latency_ms", 1.0)


def _ms(value: float) -> Measurement:
    return Measurement("latency_ms", value, "measured", "here", "final", 0.005 * value)


@pytest.mark.parametrize(
    ("first", "later", "counts", "looks"),
    [(0.99, (), 0.99, 0), (1.004, (), 1.004, 0), (1.05, (0.98, 0.99), 0.99, 2), (1.05, (1.2, 1.1), 1.1, 2)],
)
def test_a_miss_is_timed_again_and_the_median_counts(
    first: float, later: tuple[float, ...], counts: float, looks: int
) -> None:
    asked: list[int] = []

    def latency(artifacts: object, fidelity: str, *, sitting: int) -> list[Measurement]:
        asked.append(sitting)
        return [_ms(later[sitting - 2])]

    run = cast(Any, SimpleNamespace(deployer=SimpleNamespace(latency=latency)))
    artifact = Artifact("graph", b"", Graph((op("x", "input", (), (1,)),), "x"))
    assert steady(run, artifact, _ms(first), [LIMIT]).value == counts
    assert asked == [2, 3][:looks]


def test_without_a_latency_budget_nothing_is_timed_again() -> None:
    artifact = Artifact("graph", b"", Graph((op("x", "input", (), (1,)),), "x"))
    assert steady(cast(Any, None), artifact, _ms(9.0), [Limit("size_mb", 1.0)]).value == 9.0
