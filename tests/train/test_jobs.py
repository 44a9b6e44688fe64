"""Trainings side by side: each depends on its seed and steps alone, and finds a rate that trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.core.data import Dataset
from chipfit.data.load import load_data
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.train import jobs as module
from chipfit.train.jobs import RATES, Job, find_rate, run_jobs, train_job
from chipfit.train.loop import Schedule, accuracy
from recipes import small


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


def job(name: str, digits: Dataset, steps: int, peak: float = 0.0, seed: int = 0) -> Job:
    torch.manual_seed(0)
    return Job(name, trace(small.plain().eval(), digits.input_shape), Schedule(steps, peak, batch=64), seed)


def test_a_job_does_not_depend_on_its_neighbours(digits: Dataset) -> None:
    one, other = job("one", digits, 40, 0.05), job("other", digits, 30, 0.05, seed=1)
    ended: list[str] = []
    both = run_jobs([one, other], digits, None, workers=2, on_done=lambda d: ended.append(d.name))
    assert sorted(ended) == ["one", "other"]
    assert [d.name for d in both] == ["one", "other"]
    assert [d.steps for d in both] == [40, 30]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = train_job(one, digits, None)
    torch.set_num_threads(threads)
    for k, v in alone.network.weights.items():
        np.testing.assert_array_equal(v, both[0].network.weights[k])


def test_the_rate_that_is_found_trains(digits: Dataset) -> None:
    done = train_job(job("free", digits, 300), digits, None)
    assert done.peak in RATES
    assert accuracy(build(done.network), digits, digits.validation) > 0.8


@pytest.mark.parametrize(
    ("losses", "rate"),
    [
        ((1.0, 0.9, 1.2), RATES[1]),
        ((1.0, 1.01, 1.04), RATES[2]),  # nearly as good: the highest
        ((1.0, 1.2, 1.02), RATES[2]),
        ((np.inf, np.inf, np.inf), RATES[0]),  # nothing trains: the most careful
        ((1.0, np.nan, np.nan), RATES[0]),
    ],
)
def test_the_highest_rate_that_is_nearly_the_best(
    losses: tuple[float, ...], rate: float, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(losses)

    def trial(*_: object, on_step: object, **__: object) -> int:
        loss = next(left)
        for step in range(60):
            on_step(step, loss)  # type: ignore[operator]
        return 60

    monkeypatch.setattr(module, "train", trial)
    assert find_rate(job("free", digits, 1500), digits, None) == rate
