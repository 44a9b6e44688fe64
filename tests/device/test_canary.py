from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest

from chipfit.device import canary


@pytest.mark.parametrize("bits", [32, 8])
def test_a_chain_is_a_valid_network_of_the_given_size(bits: int) -> None:
    data = canary.chain(12, 3, 5, bits)
    onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"x": np.ones((1, 12, 5, 5), np.float32)})
    assert out.shape == (1, 12, 5, 5)
    assert out.std() > 0


def test_the_int8_chain_computes_what_the_float_chain_does() -> None:
    x = np.random.default_rng(1).random((1, 12, 5, 5), np.float32)
    outs = []
    for bits in (32, 8):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # no kernel saturates
        session = onnxruntime.InferenceSession(canary.chain(12, 2, 5, bits), options, ["CPUExecutionProvider"])
        outs.append(session.run(None, {"x": x})[0])
    assert np.corrcoef(outs[0].ravel(), outs[1].ravel())[0, 1] > 0.98


def test_canaries_are_the_same_everywhere() -> None:
    digests = [r.digest for r in canary.ladder()]
    canary.ladder.cache_clear()
    assert [r.digest for r in canary.ladder()] == digests
    assert len(set(digests)) == len(digests) == 8


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
