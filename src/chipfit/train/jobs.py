"""Several trainings at once, each in a process: the best use of a few cores for small networks.

One network on two threads gains about 1.7x where the machine is idle, two networks on one thread each gain 2x, and
neither disturbs the other's result: a job's outcome depends on its seed, steps and threads alone.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from chipfit.core.data import Dataset, Split
from chipfit.core.deadline import Deadline
from chipfit.core.graph import Network
from chipfit.core.orphans import end_with_parent
from chipfit.core.scratch import scratch_folder
from chipfit.data.stored import read_part, write_part
from chipfit.nets import accelerator
from chipfit.nets.accelerator import here
from chipfit.nets.build import build
from chipfit.train.distill import from_arrays, to_arrays
from chipfit.train.loop import Schedule, Views, on_threads, train
from chipfit.train.memory import Pieces

RATES = (0.01, 0.03, 0.09)
"""Peak learning rates that a job tries on a short complete schedule before the long one."""

NEARLY = 1.05
"""A trial's loss within this factor of the least is as good: long schedules bear higher rates than short ones."""

TRIAL_SHARE = 0.04
"""Share of a job's steps that each rate is tried for."""


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

    `pieces` is more than 1 where a GPU's memory was too small for whole batches.
    """

    name: str
    network: Network
    peak: float
    steps: int
    cpu_s: float
    pieces: int = 1


def at_once() -> int:
    """Trainings that run beside each other: one a core, and one alone on a GPU, which they would only share."""
    return 1 if here().type == "cuda" else os.cpu_count() or 1


def run_jobs(
    jobs: Sequence[Job],
    dataset: Dataset,
    teacher: Views | None,
    *,
    workers: int | None = None,
    threads: int = 1,
    deadline: Deadline | None = None,
    on_done: Callable[[Done], None] | None = None,
) -> list[Done]:
    """Trains every job, up to one a core at once, and returns them in order; `on_done` is called as each ends.

    Each process computes on `threads` threads. The data is written to a temporary folder once and read by all. A GPU
    takes one job after the other, in this process.
    """
    if not jobs:
        return []
    if here().type == "cuda":
        return [_announced(train_job(job, dataset, teacher, deadline), on_done) for job in jobs]
    workers = min(len(jobs), workers or os.cpu_count() or 1)
    until = None if deadline is None else time.time() + min(deadline.left(), 1e9)
    with scratch_folder() as folder:
        _write(folder, dataset, teacher)
        description = _described(dataset)
        context = multiprocessing.get_context("spawn")
        # The parent is looked after before a job is unpickled, which takes the seconds that torch takes to import.
        with ProcessPoolExecutor(
            workers, mp_context=context, initializer=end_with_parent, initargs=(os.getpid(),)
        ) as pool:
            waiting: dict[Future[Done], int] = {
                pool.submit(_work, job, str(folder), description, until, threads): i for i, job in enumerate(jobs)
            }
            done: dict[int, Done] = {}
            try:
                while waiting:
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        i = waiting.pop(future)
                        done[i] = future.result()
                        if on_done is not None:
                            on_done(done[i])
            except BaseException:
                for process in list((pool._processes or {}).values()):
                    process.terminate()
                raise
    return [done[i] for i in range(len(jobs))]


def _announced(done: Done, on_done: Callable[[Done], None] | None) -> Done:
    if on_done is not None:
        on_done(done)
    return done


def _described(dataset: Dataset) -> Dataset:
    """The data set's description without its arrays and without its test part: what crosses to a training process."""
    empty = Split(np.zeros((0, *dataset.input_shape), np.uint8))
    return replace(dataset, train=empty, validation=empty, open_test=_no_test)


def _no_test() -> Split:
    raise RuntimeError("a training process never opens the test part")


def _write(folder: Path, dataset: Dataset, teacher: Views | None) -> None:
    write_part(folder, dataset.train)
    if teacher is not None:
        save_file(to_arrays(teacher), str(folder / "teacher.safetensors"))


def _work(job: Job, folder: str, description: Dataset, until: float | None, threads: int) -> Done:
    accelerator.choose("cpu")  # a GPU's jobs never come here
    torch.set_num_threads(threads)
    dataset = replace(description, train=read_part(Path(folder)))
    stored = Path(folder) / "teacher.safetensors"
    teacher = from_arrays(load_file(str(stored))) if stored.exists() else None
    deadline = None if until is None else Deadline.after(max(0.0, until - time.time()))
    return train_job(job, dataset, teacher, deadline)


def train_job(job: Job, dataset: Dataset, teacher: Views | None, deadline: Deadline | None = None) -> Done:
    """Runs one job here: finds the rate where it is not given, then trains on the complete schedule."""
    start = time.process_time()
    schedule = job.schedule
    if schedule.peak == 0:
        schedule = replace(schedule, peak=find_rate(job, dataset, teacher, deadline))
    torch.manual_seed(job.seed)
    net, pieces, rng = build(job.network), Pieces(), np.random.default_rng(job.seed)
    steps = train(net, dataset, schedule, rng, teacher=teacher, deadline=deadline, pieces=pieces)
    return Done(job.name, net.network(), schedule.peak, steps, time.process_time() - start, pieces.count)


def find_rate(job: Job, dataset: Dataset, teacher: Views | None, deadline: Deadline | None = None) -> float:
    """The highest of `RATES` whose short complete schedule ends at (nearly) the lowest training loss.

    Judged on the mean loss of the last fifth of the steps: validation accuracy would read lagging running statistics
    and prefer the lowest rate.
    """
    steps = max(24, int(TRIAL_SHARE * job.schedule.steps))
    if len(RATES) * steps > job.schedule.steps / 2:
        return RATES[1]
    losses: dict[float, float] = {}
    for rate in RATES:
        tail: list[float] = []
        short = replace(job.schedule, steps=steps, peak=rate)

        def keep(step: int, loss: float, tail: list[float] = tail) -> None:
            if step >= 0.8 * steps:
                tail.append(loss)

        rng = np.random.default_rng(job.seed)
        train(build(job.network), dataset, short, rng, teacher=teacher, deadline=deadline, on_step=keep)
        losses[rate] = float(np.mean(tail)) if tail and np.all(np.isfinite(tail)) else float("inf")
    least = min(losses.values())
    return max(r for r, loss in losses.items() if loss <= NEARLY * least) if np.isfinite(least) else RATES[0]


def seconds_per_step(
    network: Network, dataset: Dataset, teacher: Views | None, *, threads: int = 1, batch: int = 128
) -> float:
    """Seconds that one training step takes on so many threads (median of 6 after 2)."""
    marks: list[float] = []
    schedule = Schedule(steps=8, peak=1e-3, batch=min(batch, len(dataset.train)))
    rng, mark = np.random.default_rng(0), lambda *_: marks.append(time.perf_counter())
    with on_threads(threads):
        train(build(network), dataset, schedule, rng, teacher=teacher, on_step=mark)
    return float(np.median(np.diff(marks)[1:]))
