from __future__ import annotations

import math

import numpy as np
import pytest

from chipfit.device.protocol import (
    MAX_BLOCKS,
    MIN_BLOCKS,
    QUICK_ERROR,
    SESSION_ERROR,
    Block,
    decided,
    error,
    failed,
    latency,
    settled,
    spread,
)


def _block(ms: float, n: int = 9) -> Block:
    return Block(np.full(n, ms * 1e6), np.full(n, 1e6), np.full(n, ms * 1e6), 4, 1.0)


def test_a_drifting_clock_leaves_the_ratio() -> None:
    drift = np.linspace(1.0, 1.4, 50)
    block = Block(3e5 * drift, 2e5 * drift, 3e5 * drift, 3, 0.17)
    assert block.ratio == pytest.approx(1.5)
    assert block.ms == pytest.approx(0.255)


def test_adjacent_ratios_beat_the_ratio_of_medians_on_a_step() -> None:
    # The clock steps up between canary and target of pair 3 of 5: medians mix both speeds, adjacent ratios do not.
    canary = np.array([1.0, 1.0, 1.0, 1.3, 1.3])
    target = np.array([2.0, 2.0, 2.6, 2.6, 2.6])
    assert Block(target, canary, target, 0, 1.0).ratio == 2.0
    assert np.median(target) / np.median(canary) == 2.6


def test_a_pre_empted_run_does_not_count() -> None:
    target = np.array([2.0, 2.0, 900.0, 2.0, 2.0])
    assert Block(target, np.ones(5), target, 0, 1.0).ratio == 2.0


def test_spread_by_hand() -> None:
    # sd of 1, 2, 3, 4, 5 is sqrt(2.5); the median's standard error is 1.2533 times the mean's
    assert spread([1, 2, 3, 4, 5]) == pytest.approx(1.2533 * math.sqrt(2.5) / math.sqrt(5))
    assert spread([1.0]) == math.inf


def test_a_final_measurement_stops_when_it_is_sure_or_at_its_end() -> None:
    assert not settled([_block(1.0)] * (MIN_BLOCKS["final"] - 1), "final")
    assert settled([_block(1.0)] * MIN_BLOCKS["final"], "final")
    wild = [_block(1.0 + 0.1 * (n % 2)) for n in range(MAX_BLOCKS["final"])]
    assert not settled(wild[:-1], "final")
    assert settled(wild, "final")


def test_a_quick_one_stops_when_two_blocks_agree() -> None:
    assert not settled([_block(1.0)], "quick")
    assert settled([_block(1.0), _block(1.01)], "quick")
    assert not settled([_block(1.0), _block(1.1)], "quick")
    assert settled([_block(1.0), _block(1.1), _block(1.005)], "quick")
    assert settled([_block(ms) for ms in (1.0, 1.1, 1.2, 1.3)], "quick"), "four are enough, whatever they say"


def test_the_error_never_falls_below_the_process_s_own() -> None:
    assert error([_block(2.0)] * 5) == pytest.approx(SESSION_ERROR * 2.0)
    assert latency([_block(2.0)] * 2, "quick", "", 0.0).spread == pytest.approx(QUICK_ERROR * 2.0)
    assert latency([_block(2.0), _block(2.4)], "quick", "", 0.0).spread > 0.2


def test_latency_says_how_it_was_taken() -> None:
    blocks = [_block(ms) for ms in (1.0, 1.02, 0.98, 1.0, 1.01)]
    m = latency(blocks, "final", "a cpu", 2.5)
    assert (m.metric, m.value, m.provenance, m.where, m.n) == ("latency_ms", 1.0, "measured", "a cpu", 5)
    assert m.protocol == "canary-v5 final"
    assert m.spread == pytest.approx(math.hypot(spread([1.0, 1.02, 0.98, 1.0, 1.01]), SESSION_ERROR))
    assert m.details["canary"] == 4
    assert m.details["canary_ms"] == 1.0
    assert m.details["load"] == 2.5
    assert m.details["p95_ms"] >= m.details["p50_ms"] == pytest.approx(1.0)


def test_percentiles_are_on_the_scale_of_the_value() -> None:
    target = np.concatenate([np.full(90, 2e5), np.full(10, 6e5)])
    m = latency([Block(target, np.full(100, 1e5), target, 0, 0.5)] * 2, "quick", "", 0.0)
    assert m.value == pytest.approx(1.0)
    assert m.details["p95_ms"] == pytest.approx(3.0)


def test_a_failure_is_a_measurement_with_a_reason() -> None:
    m = failed("no answer within 3 s", "a cpu")
    assert math.isnan(m.value)
    assert m.protocol == "failed: no answer within 3 s"


def test_far_from_a_limit_few_blocks_do() -> None:
    blocks = [_block(ms) for ms in (1.0, 1.004, 0.996)]
    assert not decided(blocks[:2], 2.0)
    assert decided(blocks, 2.0)
    assert decided(blocks, 0.5)
    assert decided(blocks, float("inf"))
    assert not decided(blocks, 1.01)


def test_near_a_limit_blocks_are_taken_until_the_side_is_clear() -> None:
    wavering = [_block(ms) for ms in (1.0, 1.008, 0.992, 1.004, 0.996, 1.002, 0.998)]
    assert settled(wavering, "final")
    assert not decided(wavering, 1.002)
    assert decided(wavering, 1.015)
    assert decided([*wavering, *wavering, wavering[0]], 1.002), "no more than a final measurement may take"
