"""A teacher's stored answers: which views, and that they are its answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from chipfit.core.data import Dataset
from chipfit.data.load import load_data
from chipfit.train.distill import from_arrays, teach, to_arrays, view_list, views_for
from chipfit.train.loop import as_tensor, normaliser, shifted


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


def test_longer_schedules_see_more_views() -> None:
    counts = [views_for(e) for e in (0.2, 1.4, 1.5, 6, 8, 12, 30, 200)]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[2] == 2
    assert counts[-1] == 4


def test_views_stay_within_the_augmentation(digits: Dataset) -> None:
    for n in range(1, 5):
        views = view_list(digits, n)
        assert views[0] == (False, 0, 0)
        assert len(views) <= n
        assert all(max(abs(dy), abs(dx)) <= digits.shift for _, dy, dx in views)
        assert digits.flip or not any(flip for flip, _, _ in views)


def test_stored_answers_are_the_teachers(digits: Dataset) -> None:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))
    views = from_arrays(to_arrays(teach(teacher, digits, 2)))
    assert views.logits.shape == (len(views.shifts), len(digits.train), 10)
    for logits, view in zip(views.logits, views.shifts, strict=True):
        with torch.inference_mode():
            want = teacher(normaliser(digits)(shifted(as_tensor(digits.train)[:16], *view)))
        np.testing.assert_allclose(logits[:16].float(), want, atol=0.02 * float(want.abs().max()))
