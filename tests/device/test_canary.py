from __future__ import annotations

import itertools
from dataclasses import replace
from typing import get_args

import numpy as np

from chipfit.core.graph import Graph
from chipfit.device import canary
from chipfit.export.formats import timing_bytes


def test_canaries_are_the_same_everywhere() -> None:
    of = [canary.Family(canaries) for canaries in get_args(canary.Canaries)]
    digests = [r.digest for f in of for r in canary.ladder(f, _write)]
    assert [r.digest for f in of for r in canary.ladder(f, _write)] == digests
    assert len(set(digests)) == len(digests) == 8 + 8 + 6 + 7
    assert canary.ladder(canary.Family("dense", settled=True), _write) == canary.ladder(of[0], _write)


def test_families_are_told_by_what_a_network_computes() -> None:
    apart, point = canary.separable(16, 1, 7), canary.chain(16, 2, 7)
    half = Graph(tuple(replace(o, bits=8) if o.name in ("conv1", "relu1") else o for o in point), point.output)
    less = Graph(tuple(replace(o, bits=8) if o.name == "relu1" else o for o in point), point.output)
    found = {
        how: [canary.family(g, how).name for g in (point, apart, canary.chain(16, 2, 7, bits=8), half, less)]
        for how in get_args(canary.Int8)
    }
    assert found["settled"] == ["dense", "separable", "dense settled", "dense settled", "dense settled"]
    assert found["int8 canaries"] == ["dense", "separable", "int8", "int8", "dense"]


def test_separable_networks_of_large_maps_are_settled_in_any_precision() -> None:
    large, small = canary.separable(2, 1, 65), canary.separable(2, 1, 64)
    low = Graph(tuple(replace(o, bits=8) for o in large), large.output)
    for how in get_args(canary.Int8):
        assert [canary.family(g, how).name for g in (large, low)] == ["wide settled"] * 2
        assert canary.family(small, how).name == "separable"
        assert canary.family(canary.chain(2, 1, 65), how).name == "dense", "dense ones wait for no memory"


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

    found = np.array(canary.calibrate(8, pair))
    np.testing.assert_allclose(found[1:] / found[:-1], 3.0)
    np.testing.assert_allclose(found, true, rtol=0.11)


def test_another_family_is_held_against_the_scale_at_its_home() -> None:
    found = canary.calibrate(7, lambda upper, lower: (3.0, 2.5), lambda rung, own_ms: 4 * rung * own_ms)
    np.testing.assert_allclose(found, [40.0 * 3.0 ** (n - canary.HOME) for n in range(7)])


def test_one_bad_block_does_not_bend_the_scale() -> None:
    true = [0.007 * 3**n for n in range(8)]
    calls = itertools.count()

    def pair(upper: int, lower: int) -> tuple[float, float]:
        bad = 2.0 if next(calls) % 11 == 0 else 1.0
        return bad * true[upper] / true[lower], bad * true[upper]

    np.testing.assert_allclose(canary.calibrate(8, pair), true)


def test_a_slow_machine_leaves_the_upper_rungs_out() -> None:
    true = [1.0 * 5**n for n in range(8)]  # 1, 5, 25, 125, ... ms
    asked: list[int] = []

    def pair(upper: int, lower: int) -> tuple[float, float]:
        asked.append(upper)
        return true[upper] / true[lower], true[upper]

    np.testing.assert_allclose(canary.calibrate(8, pair), true[:4])
    assert asked.count(3) == 1, "a rung that is too slow is timed once"
