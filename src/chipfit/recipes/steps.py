"""How long a fine-tune is: the epochs that were asked for, or what the time that is left allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from chipfit.core.deadline import Deadline
from chipfit.core.types import Plain
from chipfit.recipes.designs import Designed, Plan
from chipfit.recipes.state import Run
from chipfit.train.jobs import at_once, seconds_per_step

FIRST_SHARE = 0.3
"""Of the training time, for the short schedules that choose among a budget's designs."""

MOST_EPOCHS = 30
"""A fine-tune is not made longer than this, whatever the time; but see `MOST_STEPS`."""

MOST_STEPS = 1000
"""Steps that it may have however few the inputs.

[measured] ResNet-20 on 320 CIFAR pictures gains a point from 300 to 1,200 steps.
"""

DEFAULT_EPOCHS = 6.0
"""Length of the long schedule where neither --time nor --epochs says otherwise."""

FEWEST_STEPS = 20
"""Below so many a fine-tune does more harm than good."""

PLANNED = 0.9
"""Share of the time that steps are planned for: several trainings at once are slower than one that is timed alone."""

RATE_TRIALS = 1.12
"""A training's steps with those that find its rate, over its own."""

TIMING_SHARE = 0.06
"""Of the time that is left, at most, for timing steps."""

BATCH, LEAST_BATCH = 128, 32
"""Inputs of a training step, and the fewest where there are few in all."""

WANTED_STEPS = 48
"""Of an epoch: where there are few inputs, batches are smaller. [measured] 1,500 pictures make 11 batches of 128, and
four epochs of them 44 steps, of which a cycle that rises and falls again has too few at any rate.
"""


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of the short schedule, of each design's long one by its key, and threads of a long training.

    They are what schedules are planned with: on a machine that slows down they become shorter while they run.
    """

    short: int
    long: Mapping[str, int]
    threads: int = 1

    def short_until(self, until: Deadline) -> Deadline:
        """When the short schedules have to end, so that the long ones have their part."""
        return until.share(1.2 * FIRST_SHARE)


def key_of(d: Designed) -> str:
    """One for each network: what serves several budgets, or is a baseline too, is trained once."""
    return f"{d.start.entry.name} {d.network.digest()[:8]}"


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of a training step by key: alone on one thread, and as long trainings run, on `threads` each."""

    alone: Mapping[str, float]
    long: Mapping[str, float]
    threads: int


def step_costs(run: Run, everyone: Sequence[tuple[Plan, Designed]], until: Deadline) -> Costs | None:
    """What steps take, timed; None where that is not asked for: lengths are given, or known from before."""
    if run.settings.epochs is not None or not until.limited or _remembered(run, everyone) is not None:
        return None
    jobs = {key_of(d): d for _, d in everyone}
    timing = until.share(TIMING_SHARE)
    alone = _step_s(run, jobs, 1, timing)
    _, last = _finals(run, everyone)
    if (spare := at_once() // last) > 1:
        shared = _step_s(run, jobs, spare, timing)
        if sum(shared.values()) < sum(alone.values()):  # more threads only wait for each other on a busy machine
            return Costs(alone, shared, spare)
    return Costs(alone, alone, 1)


def planned_steps(run: Run, everyone: Sequence[tuple[Plan, Designed]], costs: Costs | None, until: Deadline) -> Steps:
    """The epochs that were asked for, or what the time `until` then allows at these costs.

    As it was planned before where the run is taken up again.
    """
    if (known := _remembered(run, everyone)) is not None:
        return known
    if costs is not None:
        return _from_time(run, everyone, costs, until)
    steps = max(1, round((run.settings.epochs or DEFAULT_EPOCHS) * per_epoch(run)))
    return Steps(max(1, round(FIRST_SHARE * steps)), {key_of(d): steps for _, d in everyone})


def remember(run: Run, steps: Steps) -> None:
    """Has a run that is taken up again train as long as it would have."""
    known = cast(dict[str, Any], run.store.fact("training steps") or {})  # of designs that were trained before these
    fact = {"short": steps.short, "long": {**known.get("long", {}), **steps.long}, "threads": steps.threads}
    run.store.set_fact("training steps", cast(Plain, fact))


def _remembered(run: Run, everyone: Sequence[tuple[Plan, Designed]]) -> Steps | None:
    stored = cast(dict[str, Any] | None, run.store.fact("training steps"))
    if stored is None or not set(stored["long"]) >= {key_of(d) for _, d in everyone}:
        return None
    return Steps(stored["short"], stored["long"], stored.get("threads", 1))


def batch_of(inputs: int) -> int:
    """Inputs of a training step where there are so many in all.

    >>> [batch_of(n) for n in (20, 1500, 4000, 6000, 50_000)]
    [20, 32, 64, 64, 128]
    """
    wanted = 1 << int(math.log2(max(1, inputs / WANTED_STEPS)))
    return min(BATCH, max(LEAST_BATCH, wanted), inputs)


def per_epoch(run: Run) -> int:
    """Steps of an epoch."""
    inputs = len(run.dataset.train)
    return max(1, inputs // batch_of(inputs))


def _finals(run: Run, everyone: Sequence[tuple[Plan, Designed]]) -> tuple[int, int]:
    """Designs that are chosen for a long training, and long trainings in all, with those of the baselines."""
    rivals = {key_of(d) for _, d in everyone if d.role == "candidate"}
    finals = min(len(rivals), run.settings.finalists * len({p.text for p, _ in everyone}))
    return finals, finals + len({key_of(d) for _, d in everyone} - rivals)


def _from_time(run: Run, everyone: Sequence[tuple[Plan, Designed]], costs: Costs, until: Deadline) -> Steps:
    """Short schedules of equal steps, to compare; long ones of equal seconds: a cheap network sees more epochs."""
    beside = at_once()
    finals, last = _finals(run, everyone)
    candidates = [costs.alone[k] for k in dict.fromkeys(key_of(d) for _, d in everyone if d.role == "candidate")]
    left = PLANNED * until.left()
    first = FIRST_SHARE * left if len(candidates) > finals else 0.0
    seconds = (left - first) / math.ceil(last / beside) / RATE_TRIALS
    most = max(MOST_EPOCHS * per_epoch(run), MOST_STEPS)
    long = {k: min(most, int(seconds / c)) for k, c in costs.long.items()}
    short = int(first * min(beside, len(candidates)) / max(sum(candidates), 1e-9) / RATE_TRIALS)
    return Steps(short, long, costs.threads)


def _step_s(run: Run, jobs: Mapping[str, Designed], threads: int, until: Deadline) -> dict[str, float]:
    """Seconds of a step of each network; where there is no time to take one, by its multiply-accumulates."""
    taken: dict[str, float] = {}
    batch = batch_of(len(run.dataset.train))
    for n, (k, d) in enumerate(jobs.items()):
        part = until.share(1 / (len(jobs) - n))
        if n == 0:
            part = Deadline(max(part.at, part.clock() + 1e-3), part.clock)  # one at least
        s = seconds_per_step(d.network, run.dataset, None, threads=threads, batch=batch, deadline=part)
        if math.isfinite(s):
            taken[k] = s
    per_mac = max((s / max(1, jobs[k].network.graph.total_macs) for k, s in taken.items()), default=math.inf)
    return {k: taken.get(k, per_mac * max(1, d.network.graph.total_macs)) for k, d in jobs.items()}
