"""Several trainings at once, each in a process: the best use of a few cores for small networks.

One network on two threads gains about 1.7x where the machine is idle, two networks on one thread each gain 2x, and
neither disturbs the other's result: a job's outcome depends on its seed, steps and threads alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from chipfit.core.data import Dataset, Split
from chipfit.core.deadline import Deadline
from chipfit.core.errors import ChipfitError
from chipfit.core.graph import Network
from chipfit.core.scratch import scratch_folder
from chipfit.data.stored import read_part, write_part
from chipfit.nets import accelerator
from chipfit.nets.accelerator import here
from chipfit.nets.build import build
from chipfit.train.crew import TRIES, Crew
from chipfit.train.distill import from_arrays, to_arrays
from chipfit.train.loop import Schedule, Views, on_threads, train
from chipfit.train.memory import Pieces
from chipfit.train.optimiser import rates

NEARLY = 1.05
"""A trial's loss within this factor of the least is as good: long schedules bear higher rates than short ones."""

TRIAL_SHARE = 0.04
"""Share of a job's steps that each rate is tried for."""

FEW = (1000, 5000)
"""Training inputs below which the two highest rates, and below which the highest, are not tried.

[measured] ResNet-20 at 60 % of its int8 latency, accuracy on 2,000 other CIFAR pictures at rates of .01, .03 and .09:
with 700 to train on .79, .78, .74, with 1,500 .81, .81, .78; with 320 .80, .77 and, at .1, .72; with 16 .55, .48.
"""

TRIALS_AT_MOST = 0.2
"""Share of a job's time for trying all rates, where the machine is slower than was thought."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training: a network, a schedule (its `peak` 0 means "find it"), a seed."""

    name: str
    network: Network
    schedule: Schedule
    seed: int


@dataclass(frozen=True, slots=True)
class Done:
    """A finished job: the trained network, the peak rate used, steps done, CPU seconds.

    `whole` is true where its schedule came to its end, of as many steps as there was time for. `pieces` is more than 1
    where a GPU's memory was too small for whole batches.
    """

    name: str
    network: Network
    peak: float
    steps: int
    cpu_s: float
    pieces: int = 1
    whole: bool = True


def at_once() -> int:
    """Trainings that run beside each other: one a core, and one alone on a GPU, which they would only share."""
    return 1 if here().type == "cuda" else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Task:
    """What crosses to a training process: a job, where its data lies, threads, and the seconds that it has."""

    job: Job
    folder: str
    description: Dataset
    threads: int
    seconds: float


def run_jobs(
    jobs: Sequence[Job],
    dataset: Dataset,
    teacher: Views | None,
    *,
    workers: int | None = None,
    threads: int = 1,
    deadline: Deadline | None = None,
    on_done: Callable[[Done], None] | None = None,
    on_lost: Callable[[Job, str], None] | None = None,
) -> list[Done]:
    """Trains every job, up to one a core at once, and returns them in order; `on_done` is called as each ends.

    Each process computes on `threads` threads. The data is written to a temporary folder once and read by all. Where
    there are more jobs than processes, each gets a part of the time until the deadline, so that every schedule ends. A
    GPU takes one job after the other, in this process; so does a loss of the user's own, which no other process knows.

    A job whose process is killed is begun once more; one that is lost again is told to `on_lost` and left out.

    Raises:
        ChipfitError: a job was lost, and there is no `on_lost`.
    """
    if not jobs:
        return []
    until = deadline or Deadline.never()
    if here().type == "cuda" or dataset.task.own_loss is not None:
        parts = ((job, until.share(1 / (len(jobs) - n))) for n, job in enumerate(jobs))
        return [_announced(train_job(job, dataset, teacher, part), on_done) for job, part in parts]
    size = min(len(jobs), workers or os.cpu_count() or 1)
    with scratch_folder() as folder:
        _write(folder, dataset, teacher)
        made = partial(Task, folder=str(folder), description=_described(dataset), threads=threads)
        tasks = [partial(_task, made, job) for job in jobs]
        crew = Crew(tasks, size, until)
        done: dict[int, Done] = {}
        try:
            for n, state, value in crew.answers():
                if state == "failed":
                    raise RuntimeError(f"training {jobs[n].name} failed in its process:\n{value}")
                if state == "lost":
                    _lost(jobs[n], value, on_lost)
                    continue
                done[n] = value
                if on_done is not None:
                    on_done(value)
        finally:
            crew.close()
    return [done[n] for n in sorted(done)]


def _announced(done: Done, on_done: Callable[[Done], None] | None) -> Done:
    if on_done is not None:
        on_done(done)
    return done


def _task(made: Callable[..., Task], job: Job, seconds: float) -> Task:
    return made(job, seconds=seconds)


def _lost(job: Job, how: str, on_lost: Callable[[Job, str], None] | None) -> None:
    if on_lost is None:
        raise ChipfitError(f"training {job.name} was lost {TRIES} times: {how}; is there enough memory?")
    on_lost(job, how)


def _described(dataset: Dataset) -> Dataset:
    """The data set's description without its arrays and without its test part: what crosses to a training process."""
    empty = Split(np.zeros((0, *dataset.input_shape), np.uint8))
    metric = replace(
        dataset.task.metric, own=None
    )  # a function of the user's cannot cross, and nothing is scored there
    task = replace(dataset.task, metric=metric)
    return replace(dataset, train=empty, validation=empty, open_test=_no_test, task=task)


def _no_test() -> Split:
    raise RuntimeError("a training process never opens the test part")


def _write(folder: Path, dataset: Dataset, teacher: Views | None) -> None:
    write_part(folder, dataset.train)
    if teacher is not None:
        save_file(to_arrays(teacher), str(folder / "teacher.safetensors"))


def work(task: Task, came: float) -> Done:
    """Trains a task's job in this process; its seconds count from `came`, on the monotonic clock."""
    accelerator.choose("cpu")  # a GPU's jobs never come here
    torch.set_num_threads(task.threads)
    folder = Path(task.folder)
    dataset = replace(task.description, train=read_part(folder))
    stored = folder / "teacher.safetensors"
    teacher = from_arrays(load_file(str(stored))) if stored.exists() else None
    return train_job(task.job, dataset, teacher, Deadline(came + task.seconds))


def train_job(job: Job, dataset: Dataset, teacher: Views | None, deadline: Deadline | None = None) -> Done:
    """Runs one job here: finds the rate where it is not given, then trains on the complete schedule."""
    start = time.process_time()
    schedule = job.schedule
    if schedule.peak == 0:
        schedule = replace(schedule, peak=find_rate(job, dataset, teacher, deadline))
    torch.manual_seed(job.seed)
    net, pieces, rng = build(job.network), Pieces(), np.random.default_rng(job.seed)
    made = train(net, dataset, schedule, rng, teacher=teacher, deadline=deadline, pieces=pieces)
    took = time.process_time() - start
    return Done(job.name, net.network(), schedule.peak, made.steps, took, pieces.count, made.whole)


def find_rate(job: Job, dataset: Dataset, teacher: Views | None, deadline: Deadline | None = None) -> float:
    """The highest of the network's `rates` whose short complete schedule ends at (nearly) the lowest training loss.

    Judged on the mean loss of the last fifth of the steps: validation accuracy would read lagging running statistics
    and prefer the lowest rate. Of `FEW` inputs, which high rates learn by heart, that loss tells nothing.
    """
    few = sum(len(dataset.train) < n for n in FEW)
    steps, offered = max(24, int(TRIAL_SHARE * job.schedule.steps)), rates(job.network.graph)
    offered = offered[: len(offered) - few]
    if len(offered) == 1:
        return offered[0]
    if len(offered) * steps > job.schedule.steps / 2:
        return offered[1]
    losses: dict[float, float] = {}
    until = (deadline or Deadline.never()).share(TRIALS_AT_MOST)
    for n, rate in enumerate(offered):
        tail: list[float] = []
        short = replace(job.schedule, steps=steps, peak=rate)

        def keep(step: int, loss: float, tail: list[float] = tail) -> None:
            tail.append(loss)

        rng, part = np.random.default_rng(job.seed), until.share(1 / (len(offered) - n))
        train(build(job.network), dataset, short, rng, teacher=teacher, deadline=part, on_step=keep)
        last = tail[int(np.ceil(0.8 * len(tail))) :] or tail
        losses[rate] = float(np.mean(last)) if last and np.all(np.isfinite(last)) else float("inf")
    least = min(losses.values())
    return max(r for r, loss in losses.items() if loss <= NEARLY * least) if np.isfinite(least) else offered[0]


def seconds_per_step(
    network: Network,
    dataset: Dataset,
    teacher: Views | None,
    *,
    threads: int = 1,
    batch: int = 128,
    deadline: Deadline | None = None,
) -> float:
    """Seconds that one training step takes on so many threads: the median of 6 after 2, of fewer at a deadline."""
    marks = [time.perf_counter()]
    schedule = Schedule(steps=8, peak=1e-3, batch=min(batch, len(dataset.train)))
    rng, mark = np.random.default_rng(0), lambda *_: marks.append(time.perf_counter())
    with on_threads(threads):
        train(build(network), dataset, schedule, rng, teacher=teacher, deadline=deadline, on_step=mark)
    took = np.diff(marks)
    return float(np.median(took[2:] if len(took) > 2 else took[-1:])) if len(took) else float("inf")
