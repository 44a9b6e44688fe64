"""Budgets become plans, and plans files; below the budgets of `--minimize`, which nobody gave, further ones follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from chipfit.core.deadline import Deadline
from chipfit.core.errors import Infeasible, OutOfTime
from chipfit.core.metric import Metric
from chipfit.core.reference import Reference
from chipfit.core.types import Limit, Plain
from chipfit.core.words import number_of
from chipfit.evaluate.screen import Screened
from chipfit.evaluate.start import Start
from chipfit.recipes import report_facts, time_plan
from chipfit.recipes.answer import Option, held, options
from chipfit.recipes.deploy import file_all
from chipfit.recipes.designs import Plan, plan_budget, plan_fact
from chipfit.recipes.refine import refine
from chipfit.recipes.settings import Settings, budget_text
from chipfit.recipes.smallest import MOST_MORE, Smallest
from chipfit.recipes.state import Run

FILES_A_STEP = 3
"""Files that come of one budget, as a rule: trained, untrained and a baseline."""


def wanted(
    settings: Settings, told: Reference, budgets: Sequence[tuple[Limit, ...]], metric: Metric
) -> Smallest | None:
    """What is minimised, where the budgets are steps of chipfit's own: each begins with the limit on that cost."""
    if settings.minimize is None or settings.floor is None:
        return None
    return Smallest(settings.minimize, told.against(settings.floor), budgets[0][1:], metric)


def planned(
    run: Run,
    budgets: Sequence[tuple[Limit, ...]],
    starts: Sequence[Start],
    rows: Sequence[Screened],
    smallest: Smallest | None,
) -> list[Plan]:
    """The designs for each budget; steps that nobody asked for end at the first that cannot be reached.

    Raises:
        Infeasible: a budget that was asked for cannot be held.
        OutOfTime: the same, by what could be had in the time.
    """
    plans: list[Plan] = []
    until = time_plan.assigned_until(run)
    for left, limits in zip(range(len(budgets), 0, -1), budgets, strict=True):
        try:
            plans.append(_assigned(run, limits, starts, rows, until.share(1 / left)))
        except (Infeasible, OutOfTime) as e:
            if smallest is None:
                raise
            if isinstance(e, OutOfTime):
                _cut_short(run, budget_text(limits))
            else:
                run.progress("assign", f"{budget_text(limits)} cannot be reached, nor smaller ones")
            if not plans and smallest.limits:
                plans.append(_assigned(run, smallest.limits, starts, rows, until))
            break
    return plans


def _assigned(
    run: Run, limits: tuple[Limit, ...], starts: Sequence[Start], rows: Sequence[Screened], until: Deadline
) -> Plan:
    """`_plan`, told before, and after where there was no time to search, or to repair all of its designs."""
    run.progress("assign", f"{budget_text(limits)}: exact assignment over {number_of(len(starts), 'model')}")
    plan = _plan(run, limits, starts, rows, until)
    found = cast(dict[str, list[Plain]], run.store.fact(plan_fact(plan.text, run.timing)) or {}).get("designs", [])
    if plan.short:
        _cut_short(run, plan.text)
    if len(found) > len(plan.designs):
        run.curtailed("assign", f"{plan.text}: {len(plan.designs)} of {len(found)} designs repaired")
    return plan


def _cut_short(run: Run, text: str) -> None:
    """Tells, now and in what a reader must know, that there was no time to search for a design."""
    what = f"under {text} the search for designs was cut short, and what answers may be far from the best"
    run.curtailed("assign", what)
    report_facts.warn(run.store, f"{what}; give a longer --time")


def made_of(run: Run, plans: Sequence[Plan], base: Screened) -> list[Option]:
    """The designs, refined, as files that are measured."""
    with run.phase("fine-tune"):
        tuned = time_plan.in_time(run, refine(run, plans, base.entry))
    with run.phase("measure"):
        return file_all(run, tuned, plans)


def smaller(
    run: Run,
    smallest: Smallest,
    tried: Sequence[float],
    filed: Sequence[Option],
    starts: Sequence[Start],
    rows: Sequence[Screened],
    base: Screened,
) -> tuple[list[Plan], list[Option]]:
    """Further steps towards the least cost that is good enough, and their files, while there is time."""
    plans: list[Plan] = []
    made: list[Option] = []
    steps = list(tried)
    while len(steps) < len(tried) + MOST_MORE and not time_plan.trained_until(run, FILES_A_STEP).passed():
        step = smallest.next_step(options(run.store, run.timing, rows, [*filed, *made]), steps)
        if step is None:
            break
        steps.append(step)
        limits = smallest.step(step)
        try:
            with run.phase("assign"):
                plan = _assigned(run, limits, starts, rows, time_plan.assigned_until(run))
        except Infeasible:
            run.progress("assign", f"{budget_text(limits)} cannot be reached")
            continue
        except OutOfTime:
            break
        plans.append(plan)
        made += made_of(run, [plan], base)
    return plans, made


def _plan(
    run: Run, limits: tuple[Limit, ...], starts: Sequence[Start], rows: Sequence[Screened], deadline: Deadline
) -> Plan:
    """The designs for a budget; none where only a file of an earlier pass holds it.

    Raises:
        Infeasible: neither a design nor a file that was measured so far holds the budget.
        OutOfTime: the same of what could be had in the time.
    """
    try:
        plan = plan_budget(limits, starts, rows, run.timing, run.settings, run.store, deadline)
        return replace(plan, metric=run.dataset.task.metric)
    except (Infeasible, OutOfTime) as e:
        plan = Plan(limits, budget_text(limits), (), run.dataset.task.metric, isinstance(e, OutOfTime))
        if held(plan, run.store, run.timing, rows):
            return plan
        raise
