"""Fine-tunes the designs of all budgets in the time that is left.

A short complete schedule for all, a long one for the best of each budget. What the teacher's answers, the timing of
steps and the measuring of files cost is planned before; no schedule is cut: a candidate stopped in mid-schedule is
misjudged. On a machine that slows down schedules become shorter while they run (`train.pace`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Network
from chipfit.core.types import Plain
from chipfit.core.words import number_of
from chipfit.nets.build import build
from chipfit.nets.zoo import Entry
from chipfit.recipes.designs import Designed, Plan
from chipfit.recipes.state import Run
from chipfit.recipes.steps import FEWEST_STEPS, Steps, batch_of, key_of, per_epoch, planned_steps, remember, step_costs
from chipfit.recipes.teaching import taught
from chipfit.recipes.time_plan import trained_until
from chipfit.recipes.tuned import Tuned
from chipfit.space.edits import to_plain
from chipfit.train.distill import views_for
from chipfit.train.jobs import Done, Job, run_jobs
from chipfit.train.loop import Schedule, Views, quality

TRAINED = ("short ", "long ")
"""How the facts of finished trainings begin."""


def refine(run: Run, plans: Sequence[Plan], teacher: Entry) -> list[Tuned]:
    """The designs that go on to be measured: per budget the best candidate and the baselines, trained.

    Without training, or without the time for it, all designs as they were repaired.
    """
    everyone = [(plan, d) for plan in plans for d in plan.designs]
    if not everyone or not run.settings.train or run.settings.epochs == 0:
        return [_tuned(plan, d, d.network) for plan, d in everyone]
    until = trained_until(run, _files(run, everyone))
    if until.passed():
        return _untrained(run, everyone)
    costs = step_costs(run, everyone, until)
    views = taught(run, teacher, views_for(_epochs(run, planned_steps(run, everyone, costs, until))), until)
    steps = planned_steps(run, everyone, costs, until)
    if np.median(list(steps.long.values())) < FEWEST_STEPS or (views is None and not run.dataset.labelled):
        return _untrained(run, everyone)
    remember(run, steps)
    run.progress("fine-tune", f"{teacher.name} teaches" if views is not None else "labels alone teach")
    survivors, trained = _first_round(run, plans, steps, views, until)
    return _second_round(run, survivors, trained, steps, views, until)


def _untrained(run: Run, everyone: Sequence[tuple[Plan, Designed]]) -> list[Tuned]:
    run.curtailed("fine-tune", "no time for it: closed-form repair only")
    return [_tuned(plan, d, d.network) for plan, d in everyone]


def _files(run: Run, everyone: Sequence[tuple[Plan, Designed]]) -> int:
    """Files that come of these designs: finalists twice, as trained and as repaired, and the baselines."""
    baselines = sum(d.role == "baseline" for _, d in everyone)
    finals = min(len(everyone) - baselines, run.settings.finalists * len({plan.text for plan, _ in everyone}))
    return 2 * finals + baselines


def _epochs(run: Run, steps: Steps) -> float:
    """How long schedules are in the middle, which says how many views of the inputs pay."""
    return float(np.median(list(steps.long.values()))) / per_epoch(run)


def _schedule(steps: int, peak: float, run: Run) -> Schedule:
    return Schedule(steps=steps, peak=peak, batch=batch_of(len(run.dataset.train)))


def _first_round(
    run: Run, plans: Sequence[Plan], steps: Steps, views: Views | None, until: Deadline
) -> tuple[list[tuple[Plan, Designed]], dict[str, Done]]:
    """Per budget the candidates that validate best after a short schedule, and all baselines."""
    rivals = {p.text: [d for d in p.designs if d.role == "candidate"] for p in plans}
    jobs: dict[str, Job] = {}
    for p in plans:
        compared = len(rivals[p.text]) > run.settings.finalists and steps.short >= FEWEST_STEPS
        for d in rivals[p.text] if compared else []:
            jobs[key_of(d)] = Job(key_of(d), d.network, _schedule(steps.short, 0.0, run), run.settings.seed)
    done = _train(run, list(jobs.values()), views, "short", steps.short_until(until))
    scores = {k: _score(run, d.network) for k, d in done.items()}
    kept: list[tuple[Plan, Designed]] = []
    for p in plans:
        scored = sorted(rivals[p.text], key=lambda d: -scores.get(key_of(d), -math.inf))
        kept += [(p, d) for d in scored[: run.settings.finalists]]
        kept += [(p, d) for d in p.designs if d.role == "baseline"]
    return kept, done


def _score(run: Run, network: Network) -> float:
    """Quality on validation with the sign by which more is better; 0 without targets."""
    split = run.dataset.validation
    if split.targets is None:
        return 0.0
    torch.set_num_threads(os.cpu_count() or 1)
    return run.dataset.task.metric.rank(quality(build(network), run.dataset, split))


def _second_round(
    run: Run,
    survivors: Sequence[tuple[Plan, Designed]],
    short: Mapping[str, Done],
    steps: Steps,
    views: Views | None,
    until: Deadline,
) -> list[Tuned]:
    jobs: dict[str, Job] = {}
    for _, d in survivors:
        first = short.get(key_of(d))
        length = steps.long[key_of(d)] + (steps.short if first is None and short else 0)
        network, peak = (d.network, 0.0) if first is None else (first.network, first.peak)
        jobs[key_of(d)] = Job(key_of(d), network, _schedule(length, peak, run), run.settings.seed + 1)
    done = _train(run, list(jobs.values()), views, "long", until, steps.threads)
    tuned = []
    for p, d in survivors:
        if (ended := done.get(key_of(d))) is not None and ended.whole:
            spent = _steps(ended, jobs[key_of(d)], short.get(key_of(d)), steps)
            tuned.append(replace(_tuned(p, d, ended.network), steps=spent))
        elif d.role == "baseline":
            tuned.append(replace(_tuned(p, d, d.network), steps=(0, jobs[key_of(d)].schedule.steps)))
    # where training does harm, the design as it was repaired is the better one
    return tuned + [_tuned(p, d, d.network, ", untrained") for p, d in survivors if d.role == "candidate"]


def _steps(long: Done, job: Job, short: Done | None, steps: Steps) -> tuple[int, int]:
    """(done, planned) of a design's schedules together."""
    first = (short.steps, steps.short) if short is not None else (0, 0)
    return long.steps + first[0], job.schedule.steps + first[1]


def _train(
    run: Run, jobs: Sequence[Job], views: Views | None, what: str, until: Deadline, threads: int = 1
) -> dict[str, Done]:
    """Trains what the store does not have yet; each result is stored as it comes in, those that are lost are told."""
    done = {job.name: found for job in jobs if (found := _stored(run, job, what)) is not None}
    missing = [job for job in jobs if job.name not in done]

    def keep(d: Done) -> None:
        run.store.put_arrays(f"{what} {d.name}", d.network.weights)
        run.store.set_fact(f"{what} {d.name}", [d.peak, d.steps, d.cpu_s, d.whole])
        _tell(run, next(job for job in jobs if job.name == d.name), d, what)

    def lost(job: Job, how: str) -> None:
        run.curtailed("fine-tune", f"the {what} training of {job.name} was lost: {how}")

    if missing:
        steps = sorted(job.schedule.steps for job in missing)
        length = str(steps[0]) if steps[0] == steps[-1] else f"{steps[0]} to {steps[-1]}"
        run.progress("fine-tune", f"{number_of(len(missing), f'{what} schedule')} of {length} steps")
    ended = run_jobs(missing, run.dataset, views, threads=threads, deadline=until, on_done=keep, on_lost=lost)
    return done | {d.name: d for d in ended}


def _stored(run: Run, job: Job, what: str) -> Done | None:
    arrays = run.store.arrays(f"{what} {job.name}")
    fact = cast(list[float] | None, run.store.fact(f"{what} {job.name}"))
    if arrays is None or fact is None:
        return None
    whole = bool(fact[3]) if len(fact) > 3 else True
    return Done(job.name, Network(job.network.graph, arrays), fact[0], int(fact[1]), fact[2], whole=whole)


def _tell(run: Run, job: Job, d: Done, what: str) -> None:
    """What a training came to: told now, and kept for the report (fact "schedules")."""
    pieces = f", batches in {d.pieces} pieces for want of GPU memory" if d.pieces > 1 else ""
    planned = job.schedule.steps
    of = f"{d.steps}" if d.steps == planned else f"{d.steps} (for want of time, of {planned} planned)"
    run.progress("fine-tune", f"{d.name}: {of} steps at peak rate {d.peak:g}, {d.cpu_s:.0f} CPU s{pieces}")
    told = cast(dict[str, Any], run.store.fact("schedules") or {})
    row = {"planned": planned, "done": d.steps, "whole": d.whole}
    run.store.set_fact("schedules", cast(Plain, {**told, f"{what} {d.name}": row}))


def _tuned(p: Plan, d: Designed, network: Network, note: str = "") -> Tuned:
    menu, a = d.start.menu, d.design.assignment
    return Tuned(
        d.name + note, d.role, d.start.entry.name, p.text, network, to_plain(menu.edits(a)),
        menu.labels(a), d.design.predicted_ms, menu.total("damage", a),
    )  # fmt: skip
