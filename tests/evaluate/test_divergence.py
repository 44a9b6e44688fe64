"""How far answers are apart, for every kind of answer: in nats, by input."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.task import TASKS
from chipfit.evaluate.divergence import divergence, divergences

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_positions_count_as_so_many_inputs_whatever_axis_holds_the_classes() -> None:
    p, q = normal(4, 5, 3, 2), normal(4, 5, 3, 2)
    flat = [np.moveaxis(x, 1, -1).reshape(-1, 5) for x in (p, q)]
    want = divergences(*flat).reshape(4, 6).mean(1)
    np.testing.assert_allclose(divergences(p, q, TASKS["segmentation"]), want)
    last = [np.moveaxis(x, 1, -1) for x in (p, q)]
    np.testing.assert_allclose(divergences(*last, TASKS["tokens"]), want)


def test_labels_are_pairs_of_classes() -> None:
    p, q = normal(6, 4), normal(6, 4)
    pairs = [np.stack([np.zeros_like(x), x], -1).reshape(-1, 2) for x in (p, q)]
    want = divergences(*pairs).reshape(6, 4).sum(1)
    np.testing.assert_allclose(divergences(p, q, TASKS["multi-label"]), want, rtol=1e-6)


@pytest.mark.parametrize("name", ["regression", "image"])
def test_numbers_are_held_against_their_own_spread_in_any_unit(name: str) -> None:
    task, a = TASKS[name], normal(200, 3, 4, 4) if name == "image" else normal(200, 2)
    mean = np.broadcast_to(a.mean(0), a.shape).copy()
    assert divergence(a, mean, task) == pytest.approx(0.5, rel=1e-5), "always the mean is half a nat"
    b = a + 0.1 * normal(*a.shape)
    assert divergence(1000 * a, 1000 * b, task) == pytest.approx(divergence(a, b, task), rel=1e-4)
    assert divergence(a, a, task) == 0.0


def test_one_input_and_one_answer_for_all_have_a_scale_too() -> None:
    task = TASKS["regression"]
    for a in (np.full((1, 2), 3.0, np.float32), np.full((8, 1), 3.0, np.float32), np.zeros((8, 1), np.float32)):
        assert np.isfinite(divergences(a, a + 1, task)).all()
    assert divergences(np.arange(5, dtype=np.float32), np.zeros(5, np.float32), task).shape == (5,)
