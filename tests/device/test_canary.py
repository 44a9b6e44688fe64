from __future__ import annotations

import itertools

import numpy as np

from chipfit.core.graph import Graph
from chipfit.device import canary
from chipfit.export.formats import timing_bytes


def test_canaries_are_the_same_everywhere() -> None:
    digests = [r.digest for r in canary.ladder(_write)]
    assert [r.digest for r in canary.ladder(_write)] == digests
    assert len(set(digests)) == len(digests) == 8


def _write(graph: Graph) -> bytes:
    return timing_bytes(graph, "onnx")


def test_nearest_is_by_ratio() -> None:
    scale = [1.0, 4.0, 16.0]
    assert [canary.nearest(scale, ms) for ms in (0.01, 1.9, 2.1, 7.9, 8.1, 900.0)] == [0, 0, 1, 1, 2, 2]


def test_calibration_recovers_the_scale_under_a_clock_that_drifts() -> None:
    true = [0.007 * 3**n for n in range(8)]
    clock = itertools.count()

    def pair(upper: int, lower: int) -> tuple[float, float]:
        speed = 1.0 + 0.1 * np.sin(next(clock))  # 10 % up and down: ratios of adjacent runs do not see it
        return true[upper] / true[lower], true[upper] * speed

    found = np.array(canary.calibrate(pair))
    np.testing.assert_allclose(found[1:] / found[:-1], 3.0)
    np.testing.assert_allclose(found, true, rtol=0.11)


def test_one_bad_block_does_not_bend_the_scale() -> None:
    true = [0.007 * 3**n for n in range(8)]
    calls = itertools.count()

    def pair(upper: int, lower: int) -> tuple[float, float]:
        bad = 2.0 if next(calls) % 11 == 0 else 1.0
        return bad * true[upper] / true[lower], bad * true[upper]

    np.testing.assert_allclose(canary.calibrate(pair), true)


def test_a_slow_machine_leaves_the_upper_rungs_out() -> None:
    true = [1.0 * 5**n for n in range(8)]  # 1, 5, 25, 125, ... ms
    asked: list[int] = []

    def pair(upper: int, lower: int) -> tuple[float, float]:
        asked.append(upper)
        return true[upper] / true[lower], true[upper]

    np.testing.assert_allclose(canary.calibrate(pair), true[:4])
    assert asked.count(3) == 1, "a rung that is too slow is timed once"
