"""The best network under a limit on a new device, predictor and checks together; the published optima."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.evaluate.latency.base import Prediction, Tables
from chipfit.evaluate.latency.few_shot import FewShot
from chipfit.evaluate.latency.under_limit import best_under_limit, chance_of
from chipfit.search.under_limit import under_limit


@pytest.fixture(scope="module")
def new_device(made_tables):
    """(ready, networks, the last device's values, a quality that grows with the mean value)."""
    sources = Tables(made_tables.networks, made_tables.devices[:5], made_tables.values[:, :5])
    ready = FewShot().prepare(sources, np.random.default_rng(0))
    quality = np.log(made_tables.values).mean(1) + 0.2 * np.random.default_rng(1).normal(size=256)
    return ready, made_tables.networks, made_tables.values[:, 5], quality


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_a_device_that_was_never_seen_gets_nearly_the_best_that_holds(new_device, share):
    ready, networks, truth, quality = new_device
    limit = float(np.quantile(truth, share))
    search = lambda: best_under_limit(  # noqa: E731
        ready, networks, quality, lambda i: truth[i], limit, 20, np.random.default_rng(0)
    )
    found = search()
    assert found == search()
    assert truth[found.row] <= limit
    assert len(found.rows) <= 20
    holding = np.sort(quality[truth <= limit])
    assert quality[found.row] >= holding[-2]


def test_a_limit_below_all_networks_is_said_so(new_device):
    ready, networks, truth, quality = new_device
    found = best_under_limit(
        ready, networks, quality, lambda i: truth[i], truth.min() / 2, 15, np.random.default_rng(0)
    )
    assert found.row is None
    assert truth[found.nearest] == min(found.values)


def test_chance_agrees_with_the_interval():
    told = Prediction(np.full(3, 10.0), np.full(3, 8.0), np.full(3, 12.5))
    assert chance_of(told, 10.0) == pytest.approx([0.5] * 3)
    assert chance_of(told, 12.5) == pytest.approx([0.95] * 3)
    assert chance_of(told, 8.0) == pytest.approx([0.05] * 3)


OPTIMA = [
    ("titan_rtx_256", 18, 6787), ("titan_rtx_256", 21, 6925), ("titan_rtx_256", 25, 12574),
    ("gold_6226", 8, 5250), ("gold_6226", 11, 3540), ("gold_6226", 14, 4418),
    ("pixel2", 14, 11000), ("pixel2", 18, 10715), ("pixel2", 22, 10000),
    ("eyeriss", 5, 6925), ("eyeriss", 7, 3888), ("eyeriss", 9, 3888),
    ("fpga", 4, 6925), ("fpga", 5, 12574), ("fpga", 6, 3888),
]  # fmt: skip
"""Rows of NAS-Bench-201 of the best CIFAR-100 accuracy at HELP's limits, by brute force."""


@pytest.mark.parametrize(("device", "limit", "row"), OPTIMA)
def test_who_knows_the_device_finds_the_known_optimum_in_one_check(shared, device, limit, row):
    data = np.load(shared / "data" / "latency" / "nb201.npz")
    accuracy = data["test_acc_200ep"][:, 1].astype(float)
    values = data["latency_ms"][:, list(data["device_names"]).index(device)]
    holds = (values <= limit).astype(float)
    found = under_limit(accuracy, lambda i: values[i], limit, lambda rows, seen: holds, first=(), budget=1)
    assert found.row == row
