from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.data.statistics import normalisation, pixel_statistics


def test_statistics_are_those_of_the_scaled_pixels() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (1203, 3, 5, 4), np.uint8)
    mean, std = pixel_statistics(pictures)
    scaled = pictures / 255.0
    assert mean == pytest.approx(scaled.mean(axis=(0, 2, 3)), abs=1e-4)
    assert std == pytest.approx(scaled.std(axis=(0, 2, 3)), abs=1e-4)


def test_a_channel_that_never_changes_divides_by_one() -> None:
    assert pixel_statistics(np.full((4, 1, 2, 2), 51, np.uint8)) == ((0.2,), (1.0,))


def test_floats_are_taken_as_they_come() -> None:
    (mean, std), notes = normalisation(np.ones((4, 3, 2, 2), np.float32), None)
    assert (mean, std) == ((0.0,) * 3, (1.0,) * 3)
    assert notes == ("float inputs are taken as they come, without normalisation",)


def test_what_the_user_gives_wins_and_needs_no_note() -> None:
    for inputs in (np.zeros((4, 2, 3, 3), np.uint8), np.zeros((4, 2, 3, 3), np.float32)):
        assert normalisation(inputs, ((0.5,), (0.25,))) == (((0.5, 0.5), (0.25, 0.25)), ())
    assert normalisation(np.zeros((4, 16), np.uint8), ((0.5,), (0.25,))) == (((0.5,), (0.25,)), ())


def test_statistics_of_bytes_are_refused_for_pixels() -> None:
    with pytest.raises(BadInput, match=r"has the mean 127, but pixels are scaled to 0..1 .* such as 0\.498"):
        normalisation(np.zeros((2, 1, 2, 2), np.uint8), ((127.0,), (64.0,)))
    assert normalisation(np.zeros((2, 1, 2, 2), np.float32), ((127.0,), (64.0,)))[0] == ((127.0,), (64.0,))
