"""Fine-tunes the designs of all budgets in the time that is left.

A short complete schedule for all, a long one for the best of each budget. Schedules are never cut short: a candidate
stopped in mid-schedule is misjudged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from chipfit.core.edits import to_plain
from chipfit.core.graph import Network
from chipfit.core.types import Plain
from chipfit.nets.build import build
from chipfit.nets.zoo import Entry
from chipfit.recipes.designs import Designed, Plan
from chipfit.recipes.state import Run
from chipfit.train.distill import teach
from chipfit.train.jobs import Done, Job, run_jobs, seconds_per_step
from chipfit.train.loop import Schedule, Views, accuracy

FIRST_SHARE = 0.3
"""Of the training time, for the short schedules that choose among a budget's designs."""

DEFAULT_EPOCHS = 6.0
"""Length of the long schedule where neither --time nor --epochs says otherwise."""

BATCH = 128


@dataclass(frozen=True, slots=True)
class Tuned:
    """A design after training, with what its row in the report needs."""

    name: str
    role: str
    model: str
    budget: str
    network: Network
    edits: Plain
    choices: dict[str, str]
    predicted_ms: float | None
    damage: float


def refine(run: Run, plans: Sequence[Plan], teacher: Entry) -> list[Tuned]:
    """The designs that go on to be measured: per budget the best candidate and the baselines, trained.

    Without training, or without a second to do it in, all designs as they were repaired.
    """
    everyone = [(plan, d) for plan in plans for d in plan.designs]
    if not everyone or not run.settings.train or run.settings.epochs == 0:
        return [_tuned(plan, d, d.network) for plan, d in everyone]
    budget = _Budget.plan(run, everyone)
    if budget.long_steps < 20:
        run.progress("fine-tune", "no time for it: closed-form repair only")
        return [_tuned(plan, d, d.network) for plan, d in everyone]
    run.progress("fine-tune", f"{teacher.name} teaches")
    views = teach(build(teacher.network), run.dataset, _views(run, budget))
    survivors, trained = _first_round(run, plans, budget, views)
    return _second_round(run, survivors, trained, budget, views)


def _views(run: Run, budget: _Budget) -> int:
    """As many stored views as there will be epochs: more would be taught and never seen."""
    epochs = budget.long_steps * BATCH / max(1, len(run.dataset.train))
    return int(np.clip(round(epochs), 1, 4))


@dataclass(frozen=True, slots=True)
class _Budget:
    """Steps of the short and of the long schedule."""

    short_steps: int
    long_steps: int

    @classmethod
    def plan(cls, run: Run, everyone: Sequence[tuple[Plan, Designed]]) -> _Budget:
        """From the time that is left and the measured seconds of a step.

        Remembered, so that a resumed run trains as long as it would have.
        """
        stored = cast(list[int] | None, run.store.fact("training steps"))
        if stored is not None:
            return cls(*stored)
        per_epoch = max(1, len(run.dataset.train) // BATCH)
        if run.settings.epochs is not None or math.isinf(run.deadline.left()):
            steps = max(1, round((run.settings.epochs or DEFAULT_EPOCHS) * per_epoch))
            made = cls(max(1, round(FIRST_SHARE * steps)), steps)
        else:
            made = cls._from_time(run, everyone)
        run.store.set_fact("training steps", [made.short_steps, made.long_steps])
        return made

    @classmethod
    def _from_time(cls, run: Run, everyone: Sequence[tuple[Plan, Designed]]) -> _Budget:
        cost = [seconds_per_step(d.network, run.dataset, None) for _, d in everyone]
        cores = os.cpu_count() or 1
        left = max(0.0, run.deadline.left() - _after(run, everyone)) * 0.9 * min(cores, len(everyone))
        candidates = [c for c, (_, d) in zip(cost, everyone, strict=True) if d.role == "candidate"]
        one_each = len(candidates) <= len({p.text for p, _ in everyone})
        short = 0.0 if one_each else FIRST_SHARE * left / max(sum(candidates), 1e-9)
        long_cost = sum(sorted(candidates)[-len({p.text for p, _ in everyone}) :])
        long_cost += sum(c for c, (_, d) in zip(cost, everyone, strict=True) if d.role == "baseline")
        longer = (1 - FIRST_SHARE * (not one_each)) * left / max(long_cost * 1.12, 1e-9)  # the rate is searched too
        return cls(int(short), int(longer))


def _after(run: Run, everyone: Sequence[tuple[Plan, Designed]]) -> float:
    """Seconds that measuring, scoring and reporting will take.

    The test part is about twice the validation part that the screening read; every design is scored on both.
    """
    images = 3 * len(run.dataset.validation)
    finals = sum(images * d.design.measured_ms / 1e3 + 2.5 for _, d in everyone)
    return 2.0 * run.phases.get("screen", 0.0) + finals + 6.0


def _schedule(steps: int, peak: float, run: Run) -> Schedule:
    return Schedule(steps=steps, peak=peak, batch=min(BATCH, len(run.dataset.train)))


def _first_round(
    run: Run, plans: Sequence[Plan], budget: _Budget, views: Views
) -> tuple[list[tuple[Plan, Designed]], dict[str, Done]]:
    """Per budget the candidate that validates best after a short schedule, and all baselines."""
    rivals = {p.text: [d for d in p.designs if d.role == "candidate"] for p in plans}
    jobs = []
    for p in plans:
        for d in rivals[p.text] if len(rivals[p.text]) > 1 and budget.short_steps >= 20 else []:
            jobs.append(Job(_key(p, d), d.network, _schedule(budget.short_steps, 0.0, run), run.settings.seed))
    done = _train(run, jobs, views, "short")
    kept: list[tuple[Plan, Designed]] = []
    for p in plans:
        scored = sorted(
            rivals[p.text], key=lambda d: -_score(run, done[_key(p, d)].network if _key(p, d) in done else d.network)
        )
        kept += [(p, d) for d in scored[:1]] + [(p, d) for d in p.designs if d.role == "baseline"]
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
    jobs = []
    for p, d in survivors:
        first = short.get(_key(p, d))
        steps = budget.long_steps + (budget.short_steps if first is None and short else 0)
        network, peak = (d.network, 0.0) if first is None else (first.network, first.peak)
        jobs.append(Job(_key(p, d), network, _schedule(steps, peak, run), run.settings.seed + 1))
    done = _train(run, jobs, views, "long")
    return [_tuned(p, d, done[_key(p, d)].network) for p, d in survivors]


def _train(run: Run, jobs: Sequence[Job], views: Views, what: str) -> dict[str, Done]:
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
        run.progress("fine-tune", f"{d.name}: {d.steps} steps at peak rate {d.peak:g}, {d.cpu_s:.0f} CPU s")

    if missing:
        run.progress("fine-tune", f"{len(missing)} {what} schedules of {missing[0].schedule.steps} steps")
    for d in run_jobs(missing, run.dataset, views, deadline=run.deadline, on_done=keep):
        done[d.name] = d
    return done


def _key(p: Plan, d: Designed) -> str:
    return f"{d.name} | {p.text}"


def _tuned(p: Plan, d: Designed, network: Network) -> Tuned:
    menu, a = d.start.menu, d.design.assignment
    return Tuned(
        d.name, d.role, d.start.entry.name, p.text, network, to_plain(menu.edits(a)),
        menu.labels(a), d.design.predicted_ms, menu.total("damage", a),
    )  # fmt: skip
