"""Fine-tunes the designs of all budgets in the time that is left.

A short complete schedule for all, a long one for the best of each budget. Schedules are never cut short: a candidate
stopped in mid-schedule is misjudged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from chipfit.core.edits import to_plain
from chipfit.core.graph import Network
from chipfit.core.types import Plain
from chipfit.nets.build import build
from chipfit.nets.zoo import Entry
from chipfit.recipes.designs import Designed, Plan
from chipfit.recipes.state import Run
from chipfit.train.distill import from_arrays, teach, to_arrays, view_list, views_for
from chipfit.train.jobs import Done, Job, at_once, run_jobs, seconds_per_step
from chipfit.train.loop import Schedule, Views, accuracy

FIRST_SHARE = 0.3
"""Of the training time, for the short schedules that choose among a budget's designs."""

MOST_EPOCHS = 30
"""A fine-tune is not made longer than this, whatever the time."""

DEFAULT_EPOCHS = 6.0
"""Length of the long schedule where neither --time nor --epochs says otherwise."""

TRAINED = ("short ", "long ")
"""How the facts of finished trainings begin."""

REPORT_S = 16.0
"""Seconds for what only the report wants: whether damages add up, profiles of operators, the page."""

BATCH = 128


@dataclass(frozen=True, slots=True)
class Tuned:
    """A design after training, with what its row in the report needs.

    `steps` are those of its training (done, planned), None where it had no training to do.
    """

    name: str
    role: str
    model: str
    budget: str
    network: Network
    edits: Plain
    choices: dict[str, str]
    predicted_ms: float | None
    damage: float
    steps: tuple[int, int] | None = None


def refine(run: Run, plans: Sequence[Plan], teacher: Entry) -> list[Tuned]:
    """The designs that go on to be measured: per budget the best candidate and the baselines, trained.

    Without training, or without a second to do it in, all designs as they were repaired.
    """
    everyone = [(plan, d) for plan in plans for d in plan.designs]
    if not everyone or not run.settings.train or run.settings.epochs == 0:
        return [_tuned(plan, d, d.network) for plan, d in everyone]
    budget = _Budget.plan(run, everyone)
    typical = float(np.median(list(budget.long_steps.values())))
    if typical < 20:
        run.progress("fine-tune", "no time for it: closed-form repair only")
        return [_tuned(plan, d, d.network) for plan, d in everyone]
    run.progress("fine-tune", f"{teacher.name} teaches")
    epochs = typical * BATCH / max(1, len(run.dataset.train))
    views = _taught(run, teacher, views_for(epochs))
    survivors, trained = _first_round(run, plans, budget, views)
    return _second_round(run, survivors, trained, budget, views)


def _taught(run: Run, teacher: Entry, n_views: int) -> Views:
    """The teacher's answers, which are the same whatever the device: looked for in `profiles` first."""
    name = f"answers of {teacher.network.digest()} on {run.dataset.digest()}, {view_list(run.dataset, n_views)}"
    made = run.remembered(name, lambda: to_arrays(teach(build(teacher.network), run.dataset, n_views)))
    return from_arrays(made)


@dataclass(frozen=True, slots=True)
class _Budget:
    """Steps of the short schedule, of each design's long one by its key, and threads of a long training."""

    short_steps: int
    long_steps: Mapping[str, int]
    threads: int = 1

    @classmethod
    def plan(cls, run: Run, everyone: Sequence[tuple[Plan, Designed]]) -> _Budget:
        """The epochs that were asked for, or what the time that is left and the measured seconds of a step allow.

        Remembered, so that a resumed run trains as long as it would have.
        """
        stored = cast(dict[str, Any] | None, run.store.fact("training steps"))
        jobs = {_key(d): d for _, d in everyone}
        if stored is not None and set(stored["long"]) >= set(jobs):
            return cls(stored["short"], stored["long"], stored.get("threads", 1))
        per_epoch = max(1, len(run.dataset.train) // BATCH)
        if run.settings.epochs is not None or math.isinf(run.deadline.left()):
            steps = max(1, round((run.settings.epochs or DEFAULT_EPOCHS) * per_epoch))
            made = cls(max(1, round(FIRST_SHARE * steps)), dict.fromkeys(jobs, steps))
        else:
            rivals = {_key(d) for _, d in everyone if d.role == "candidate"}
            made = cls._from_time(run, jobs, rivals, len({p.text for p, _ in everyone}), _after(run, everyone))
        fact = {"short": made.short_steps, "long": dict(made.long_steps), "threads": made.threads}
        run.store.set_fact("training steps", cast(Plain, fact))
        return made

    @classmethod
    def _from_time(
        cls, run: Run, jobs: Mapping[str, Designed], rivals: Collection[str], budgets: int, after: float
    ) -> _Budget:
        """Short schedules of equal steps, to compare; long ones of equal seconds: a cheap network sees more epochs.

        `rivals` are the keys of the candidates among the jobs.
        """
        cores = at_once()
        left = 0.9 * max(0.0, run.deadline.left() - after)
        finals = min(len(rivals), run.settings.finalists * budgets)
        last = finals + len(jobs) - len(rivals)
        alone, threads = {k: seconds_per_step(d.network, run.dataset, None) for k, d in jobs.items()}, 1
        cost = alone
        if (spare := cores // last) > 1:
            shared = {k: seconds_per_step(d.network, run.dataset, None, threads=spare) for k, d in jobs.items()}
            if sum(shared.values()) < sum(alone.values()):  # more threads only wait for each other on a busy machine
                cost, threads = shared, spare
        candidates = [alone[k] for k in rivals]
        first = FIRST_SHARE * left if len(candidates) > finals else 0.0
        seconds = (left - first) / math.ceil(last / cores) / 1.12  # the rate is searched too
        most = MOST_EPOCHS * max(1, len(run.dataset.train) // BATCH)
        long = {k: min(most, int(seconds / c)) for k, c in cost.items()}
        return cls(int(first * min(cores, len(candidates)) / max(sum(candidates), 1e-9)), long, threads)


def _after(run: Run, everyone: Sequence[tuple[Plan, Designed]]) -> float:
    """Seconds that measuring, scoring and reporting will take.

    The test part is about twice the validation part that the screening read; every design is scored on both.
    """
    images = 3 * len(run.dataset.validation)
    finals = sum(images * d.design.measured_ms / 1e3 + 2.5 for _, d in everyone)
    return 2.0 * run.phases.get("screen", 0.0) + finals + REPORT_S


def _schedule(steps: int, peak: float, run: Run) -> Schedule:
    return Schedule(steps=steps, peak=peak, batch=min(BATCH, len(run.dataset.train)))


def _first_round(
    run: Run, plans: Sequence[Plan], budget: _Budget, views: Views
) -> tuple[list[tuple[Plan, Designed]], dict[str, Done]]:
    """Per budget the candidates that validate best after a short schedule, and all baselines."""
    rivals = {p.text: [d for d in p.designs if d.role == "candidate"] for p in plans}
    jobs: dict[str, Job] = {}
    for p in plans:
        for d in rivals[p.text] if len(rivals[p.text]) > run.settings.finalists and budget.short_steps >= 20 else []:
            jobs[_key(d)] = Job(_key(d), d.network, _schedule(budget.short_steps, 0.0, run), run.settings.seed)
    done = _train(run, list(jobs.values()), views, "short")
    scores = {k: _score(run, d.network) for k, d in done.items()}
    kept: list[tuple[Plan, Designed]] = []
    for p in plans:
        scored = sorted(rivals[p.text], key=lambda d: -scores.get(_key(d), 0.0))
        kept += [(p, d) for d in scored[: run.settings.finalists]]
        kept += [(p, d) for d in p.designs if d.role == "baseline"]
    return kept, done


def _score(run: Run, network: Network) -> float:
    split = run.dataset.validation
    if split.targets is None:
        return 0.0
    torch.set_num_threads(os.cpu_count() or 1)
    return accuracy(build(network), run.dataset, split)


def _second_round(
    run: Run, survivors: Sequence[tuple[Plan, Designed]], short: dict[str, Done], budget: _Budget, views: Views
) -> list[Tuned]:
    jobs: dict[str, Job] = {}
    for _, d in survivors:
        first = short.get(_key(d))
        steps = budget.long_steps[_key(d)] + (budget.short_steps if first is None and short else 0)
        network, peak = (d.network, 0.0) if first is None else (first.network, first.peak)
        jobs[_key(d)] = Job(_key(d), network, _schedule(steps, peak, run), run.settings.seed + 1)
    done = _train(run, list(jobs.values()), views, "long", budget.threads)
    tuned = []
    for p, d in survivors:
        of = _steps(done[_key(d)], jobs[_key(d)], short.get(_key(d)), budget)
        tuned.append(replace(_tuned(p, d, done[_key(d)].network), steps=of))
    # where training does harm, the design as it was repaired is the better one
    return tuned + [_tuned(p, d, d.network, ", untrained") for p, d in survivors if d.role == "candidate"]


def _steps(long: Done, job: Job, short: Done | None, budget: _Budget) -> tuple[int, int]:
    """(done, planned) of a design's schedules together."""
    first = (short.steps, budget.short_steps) if short is not None else (0, 0)
    return long.steps + first[0], job.schedule.steps + first[1]


def _train(run: Run, jobs: Sequence[Job], views: Views, what: str, threads: int = 1) -> dict[str, Done]:
    """Trains what the store does not have yet; each result is stored as it comes in."""
    done: dict[str, Done] = {}
    for job in jobs:
        arrays = run.store.arrays(f"{what} {job.name}")
        fact = cast(list[float] | None, run.store.fact(f"{what} {job.name}"))
        if arrays is not None and fact is not None:
            done[job.name] = Done(job.name, Network(job.network.graph, arrays), fact[0], int(fact[1]), fact[2])
    missing = [job for job in jobs if job.name not in done]

    def keep(d: Done) -> None:
        run.store.put_arrays(f"{what} {d.name}", d.network.weights)
        run.store.set_fact(f"{what} {d.name}", [d.peak, d.steps, d.cpu_s])
        cut = f", batches in {d.pieces} pieces for want of GPU memory" if d.pieces > 1 else ""
        run.progress("fine-tune", f"{d.name}: {d.steps} steps at peak rate {d.peak:g}, {d.cpu_s:.0f} CPU s{cut}")

    if missing:
        steps = sorted(job.schedule.steps for job in missing)
        length = str(steps[0]) if steps[0] == steps[-1] else f"{steps[0]} to {steps[-1]}"
        run.progress("fine-tune", f"{len(missing)} {what} schedules of {length} steps")
    for d in run_jobs(missing, run.dataset, views, threads=threads, deadline=run.deadline, on_done=keep):
        done[d.name] = d
    return done


def _key(d: Designed) -> str:
    """One for each network: what serves several budgets, or is a baseline too, is trained once."""
    return f"{d.start.entry.name} {d.network.digest()[:8]}"


def _tuned(p: Plan, d: Designed, network: Network, note: str = "") -> Tuned:
    menu, a = d.start.menu, d.design.assignment
    return Tuned(
        d.name + note, d.role, d.start.entry.name, p.text, network, to_plain(menu.edits(a)),
        menu.labels(a), d.design.predicted_ms, menu.total("damage", a),
    )  # fmt: skip
