from __future__ import annotations

import numpy as np

from chipfit.data import digits
from chipfit.data.split import fingerprints


def test_sizes_types_and_classes() -> None:
    d = digits.load()
    test = d.open_test()
    assert (len(d.train), len(d.validation), len(test)) == (1097, 200, 500)
    assert d.input_shape == (1, 8, 8)
    assert d.train.inputs.dtype == np.uint8
    assert d.train.inputs.max() == 255
    for part in (d.train, d.validation, test):
        assert part.targets is not None
        share = np.bincount(part.targets, minlength=10) / len(part)
        assert np.abs(share - 0.1).max() < 0.02


def test_the_parts_are_disjoint_and_are_the_whole_set() -> None:
    d = digits.load()
    prints = [set(fingerprints(p)) for p in (d.train, d.validation, d.open_test())]
    assert sum(map(len, prints)) == len(prints[0] | prints[1] | prints[2]) == 1797


def test_normalised_training_pixels_have_mean_0_and_deviation_1() -> None:
    d = digits.load()
    x = d.normalise(d.train.inputs)
    assert abs(float(x.mean())) < 1e-3
    assert abs(float(x.std()) - 1) < 1e-3
