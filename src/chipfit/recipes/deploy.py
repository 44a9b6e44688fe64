"""The end of a fit: tuned networks become measured files, each budget gets its answer, and the test part is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from chipfit.core.errors import Infeasible
from chipfit.core.types import Artifact, Candidate, Limit, Measurement, Plain, Trial
from chipfit.core.words import number_of
from chipfit.evaluate.deployed import Deployed
from chipfit.evaluate.price import tested
from chipfit.evaluate.screen import Screened, sites_in_int8
from chipfit.recipes import report_facts, time_plan
from chipfit.recipes.answer import Option, answer, final, kept, options, why_untrained
from chipfit.recipes.designs import Plan
from chipfit.recipes.hardware import write_hardware
from chipfit.recipes.smallest import Smallest
from chipfit.recipes.state import Run
from chipfit.recipes.tuned import Tuned
from chipfit.report.budget import Budget
from chipfit.report.row import Row

SITTINGS = 3
"""A design that held its budget before it was trained and misses it now is timed so often; the median counts."""


def deploy(
    run: Run,
    rows: Sequence[Screened],
    plans: Sequence[Plan],
    filed: Sequence[Option],
    base: Screened,
    smallest: Smallest | None = None,
) -> tuple[Trial, ...]:
    """Each budget's answer, chosen on validation of all that were measured, the files of this pass (`filed`) included.

    The answers are timed run by run against the reference (`base`). Then the test part is read, once, for everything
    that the report shows. With `smallest` the file of least cost that is good enough is among them; a budget that
    nothing holds, which nobody gave, is passed over then.
    """
    report_facts.write_untrained(run.store, [option.trial for option in filed])
    given = options(run.store, run.timing, rows, filed)
    of_base = [(r.artifact, r.latency) for r in rows if r.entry is base.entry and r.trial.error is None]
    references = run.timing.fastest(of_base)
    chosen: list[tuple[Trial, Artifact]] = []
    answers, missed = _answered(plans, given)
    if smallest is not None:
        missed, answers = [], with_least(answers, smallest, given, rows)
        run.store.set_fact("budgets", [plan.text for plan, _ in answers])
    for plan, option in answers:
        trial, artifact = final(plan, option, run.store, run.deployer)
        ratio = run.timing.ratio(artifact, references)
        if ratio is not None:
            trial = replace(trial, measurements=(*trial.measurements, ratio))
        chosen.append((trial, artifact))
        report_facts.warn(run.store, *why_untrained(plan, option, filed))
    if missed:
        report_facts.warn(run.store, *(str(e) for e in missed))
    if not chosen:
        raise missed[0]
    shown = [(r.trial, r.artifact) for r in rows]
    shown += [(o.trial, o.artifact) for o in filed if o.artifact is not None and o.trial.labels["role"] == "baseline"]
    write_hardware(run.store, run.timing, rows, chosen)
    finals = report_facts.read_test(run.store, run.deployer, run.dataset, shown, chosen, run.progress)
    if not run.deadline.before(time_plan.PAGE_S).passed():
        report_facts.write_profiles(run.store, run.timing, rows, chosen)
    return finals


def _answered(plans: Sequence[Plan], given: Sequence[Option]) -> tuple[list[tuple[Plan, Option]], list[Infeasible]]:
    """Each budget with its answer, and why others have none."""
    answers: list[tuple[Plan, Option]] = []
    missed: list[Infeasible] = []
    for plan in plans:
        try:
            answers.append((plan, answer(plan, given)))
        except Infeasible as e:
            missed.append(e)
    return answers, missed


def with_least(
    answers: Sequence[tuple[Plan, Option]], smallest: Smallest, given: Sequence[Option], rows: Sequence[Screened]
) -> list[tuple[Plan, Option]]:
    """The answers, of which the tightest budget that it holds has the file of least cost that is good enough.

    Raises:
        Infeasible: there are none, and no file holds the user's own limits.
    """
    least = smallest.enough(given)
    if least is None and answers:
        return list(answers)
    row = Row.of(least.trial, smallest.metric) if least is not None else None
    held = [p for p, _ in answers if row is not None and Budget(p.text, p.limits, rounding=0.0).met(row)]
    if least is None or not held:
        last = smallest.last([Option(r.trial) for r in rows])
        return [*answers, (last, least or answer(last, given))]
    tightest = min(held, key=lambda plan: plan.limits[0].value)
    return [(plan, least if plan is tightest else option) for plan, option in answers]


def file_all(run: Run, tuned: Sequence[Tuned], plans: Sequence[Plan]) -> list[Option]:
    """The tuned networks as files that the store keeps, timed in one sitting and scored on validation.

    One that the runtime fails on has an error and is chosen by nobody.
    """
    budgets = {plan.text: plan.limits for plan in plans}
    run.progress("measure", f"{number_of(len(tuned), 'file')}, timed in one sitting")
    files = run.deployer.files([t.network for t in tuned])
    filed = []
    for t, file in zip(tuned, files, strict=True):
        option = Option(_row(run, t, file, budgets[t.budget], tuned), file.artifact, t.network)
        if option.trial.error is None:
            kept(option, run.store)
        run.store.append(option.trial)
        filed.append(option)
    return filed


def _row(run: Run, t: Tuned, file: Deployed, limits: Sequence[Limit], tuned: Sequence[Tuned]) -> Trial:
    if file.error is None:
        file = run.deployer.timed(file.artifact, steady(run, file.artifact, file.latency, limits))
    file = file.scored(run.deployer, run.dataset.validation, "validation")
    measurements = list(file.measurements)
    if t.predicted_ms is not None and tested(run.timing):
        measurements.append(Measurement("latency_ms", t.predicted_ms, "predicted", "cost tables"))
    if run.dataset.validation.targets is None:
        measurements.append(Measurement("damage", t.damage, "measured", "validation"))
    candidate = Candidate({"model": t.model, "edits": t.edits, "choices": cast(Plain, t.choices)})
    if file.error is not None:
        run.progress("measure", f"{t.name} of {t.model} for {t.budget} failed: {file.error}")
    return Trial(candidate, tuple(measurements), file.error, labels_of(t, file.artifact, tuned))


def labels_of(t: Tuned, artifact: Artifact, everyone: Sequence[Tuned]) -> dict[str, str]:
    """The labels of a tuned network's row; a baseline that got no step, where designs did, is no rival of theirs."""
    trained = t.steps is not None and t.steps[0] > 0
    alone = t.role == "baseline" and not trained and any(o.steps and o.steps[0] for o in everyone)
    labels = {
        "role": "candidate" if alone else t.role, "model": t.model, "budget": t.budget,
        "name": f"{t.name}, untrained" if alone else t.name, "network": t.network.digest(),
        "file": artifact.digest, "blob": artifact.digest, "format": artifact.format,
        "sites": sites_in_int8(t.network.graph),
    }  # fmt: skip
    return labels if t.steps is None else labels | {"steps": f"{t.steps[0]} of {t.steps[1]}"}


def steady(run: Run, artifact: Artifact, first: Measurement, limits: Sequence[Limit]) -> Measurement:
    """The file's latency; where it misses the budget, the median of `SITTINGS`, for what disturbs only lengthens."""
    limit = next((x for x in limits if x.metric == "latency_ms"), None)
    if limit is None or limit.held(first):
        return first
    more = [run.deployer.latency([artifact], "final", sitting=n)[0] for n in range(2, SITTINGS + 1)]
    return sorted([first, *more], key=lambda m: m.value)[SITTINGS // 2]
