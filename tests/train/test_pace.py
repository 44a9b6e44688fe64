"""Schedules end whole whatever the machine does meanwhile: on a simulated clock."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.data.load import load_data
from chipfit.train.loop import Schedule, train
from chipfit.train.pace import Pace
from recipes import small


def walked(planned: int, seconds: float, step_s: Callable[[int], float]) -> tuple[Pace, list[float], float]:
    """A schedule on a clock that each step moves on: its pace, the progress before each step, the time it took."""
    now = [0.0]
    pace, seen = Pace(planned, Deadline.after(seconds, clock=lambda: now[0])), []
    while not pace.ended:
        seen.append(pace.progress)
        now[0] += step_s(pace.steps)
        pace.step()
    return pace, seen, now[0]


def test_with_time_enough_it_is_the_schedule_as_planned() -> None:
    pace, seen, _ = walked(37, 1e6, lambda _: 0.1)
    assert seen == [n / 37 for n in range(37)]
    assert pace.whole


@pytest.mark.parametrize(
    "step_s",
    [
        lambda _: 0.25,  # slower than planned from the first step on
        lambda n: 0.1 if n < 300 else 0.3,  # a core becomes busy
        lambda n: 0.3 if n < 100 else 0.1,  # and free again
        lambda n: 20.0 if n == 200 else 0.1,  # all stands still for a while
        lambda n: 0.1 if n % 3 else 0.6,  # every third step is held up
        lambda n: 5.0 if n == 0 else 0.15,  # the first step prepares kernels
    ],
)
def test_a_slower_machine_shortens_the_schedule_and_never_cuts_it(step_s: Callable[[int], float]) -> None:
    pace, seen, took = walked(1000, 100.0, step_s)
    assert pace.whole
    assert took <= 100.0 + 0.6  # a step that was held up may be the last
    assert took > 90.0  # and the time is used
    assert pace.steps < 1000
    assert seen == sorted(seen)
    rates = [Schedule(1000).rate(p) for p in seen]
    assert rates[-1] < 0.02 * max(rates)  # the rate came down to its end
    assert sum(p > 0.9 for p in seen) >= 0.02 * len(seen)  # steps were averaged
    assert max(np.diff([*seen, 1.0])) < 0.15


def test_without_time_for_a_step_none_is_done() -> None:
    pace = Pace(100, Deadline.after(-1.0, clock=lambda: 0.0))
    assert pace.ended
    assert not pace.whole


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


def test_training_that_is_held_up_freezes_averages_and_ends(digits: Dataset) -> None:
    now = [0.0]
    late = Deadline.after(10.0, clock=lambda: now[0])
    frozen: list[bool] = []
    torch.manual_seed(0)
    net = small.plain()

    def step(n: int, loss: float) -> None:
        now[0] += 0.1 if n < 30 else 0.4  # 100 steps were planned
        frozen.append(not net[1].training)  # type: ignore[index]

    made = train(net, digits, Schedule(100, 0.05, batch=32), np.random.default_rng(0), deadline=late, on_step=step)
    assert made.whole
    assert 35 < made.steps < 60
    assert frozen == sorted(frozen)
    assert 0.1 < np.mean(frozen) < 0.6
    assert now[0] <= 10.4


def test_time_that_is_not_short_changes_nothing(digits: Dataset) -> None:
    weights = []
    for deadline in (None, Deadline.after(1e6)):
        torch.manual_seed(0)
        net = small.plain()
        train(net, digits, Schedule(21, 0.05, batch=32), np.random.default_rng(0), deadline=deadline)
        weights.append([p.detach().numpy() for p in net.parameters()])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
