"""Hard splits: devices that are alike stay on one side."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.evaluate.latency.base import Tables
from chipfit.evaluate.latency.split import correlations, hard_split


@pytest.fixture
def two_families(made_tables) -> Tables:
    """Devices a0 to a3 follow one order of the networks, b0 to b3 another; a3 is half way between."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 256))
    columns = [a + 0.3 * rng.normal(size=256) for _ in range(3)] + [a + b]
    columns += [b + 0.3 * rng.normal(size=256) for _ in range(4)]
    names = tuple(f"{f}{i}" for f in "ab" for i in range(4))
    return Tables(made_tables.networks, names, np.exp(np.column_stack(columns)))


def test_families_are_parted_and_the_device_between_is_dropped(two_families):
    a, b = sorted(hard_split(two_families, 3, 3, np.random.default_rng(0)))
    assert a == ("a0", "a1", "a2")
    assert set(b) < {"b0", "b1", "b2", "b3"}


def test_missing_values_and_too_many_devices(two_families):
    values = two_families.values.copy()
    values[::3, 0] = np.nan
    rho = correlations(Tables(two_families.networks, two_families.devices, values))
    assert np.isfinite(rho).all()
    with pytest.raises(BadInput, match="5 sources and 4 targets cannot be had of 8 devices"):
        hard_split(two_families, 5, 4, np.random.default_rng(0))
    values[:, 1] = 2.0
    with pytest.raises(BadInput, match="too few different ones"):
        correlations(Tables(two_families.networks, two_families.devices, values))
