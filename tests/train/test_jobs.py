"""Trainings side by side: each depends on its seed and steps alone, and finds a rate that trains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chipfit.core.data import Dataset
from chipfit.core.scratch import sweep_scratch
from chipfit.data.load import load_data
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.train import jobs as module
from chipfit.train.jobs import Job, find_rate, run_jobs, train_job
from chipfit.train.loop import Schedule, accuracy
from chipfit.train.optimiser import RATES
from recipes import small

PARENT = """
import numpy as np
from chipfit.core.data import Dataset, Split
from chipfit.nets.trace import trace
from chipfit.train.jobs import Job, run_jobs
from chipfit.train.loop import Schedule
from torch import nn

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    part = Split(rng.integers(0, 256, (64, 1, 8, 8), np.uint8), np.arange(64) % 2)
    data = Dataset("two", ("a", "b"), (0.5,), (0.25,), part, part, lambda: part)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    job = Job("endless", trace(net.eval(), (1, 8, 8)), Schedule(10**9, 0.01, batch=32), 0)
    run_jobs([job, job], data, None, workers=2)
"""


def children(pid: int) -> list[int]:
    """Processes that this one started, by their numbers."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(place.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(place.parent.name))
    return found


def ended(pid: int) -> bool:
    """True for a process that is gone, or that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
def test_trainings_end_with_a_parent_that_is_killed_while_they_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    give_up = time.monotonic() + 120
    with subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], env=environment) as parent:
        while len(started := children(parent.pid)) < 2:  # both trainings
            assert parent.poll() is None
            assert time.monotonic() < give_up, "no trainings were started"
            time.sleep(0.01)
        parent.send_signal(signal.SIGKILL)
    while not all(map(ended, started)):
        assert time.monotonic() < give_up, "a training outlived its parent"
        time.sleep(0.05)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    assert len(sweep_scratch()) == 1, "the data of the trainings are swept by the next command"


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
    monkeypatch.setattr(module, "FEW", (0, 0))
    assert find_rate(job("free", digits, 1500), digits, None) == rate


@pytest.mark.parametrize(("inputs", "tried"), [(20, 1), (999, 1), (1000, 2), (1400, 2)])
def test_high_rates_are_not_tried_on_few_inputs(
    inputs: int, tried: int, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def trial(net: object, data: object, schedule: Schedule, *_: object, on_step: object, **__: object) -> int:
        rates.append(schedule.peak)
        for step in range(60):
            on_step(step, 1 / schedule.peak)  # type: ignore[operator]  # the higher the better, as it looks
        return 60

    monkeypatch.setattr(module, "train", trial)
    few = replace(digits, train=digits.train.take(slice(inputs)))
    assert find_rate(job("few", digits, 1500), few, None) == RATES[tried - 1]
    assert rates == ([] if tried == 1 else list(RATES[:tried]))
