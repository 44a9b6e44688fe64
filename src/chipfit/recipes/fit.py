"""HotNAS's flow on a real device: start from trained models, price and damage their menus, solve, refine, measure.

Wiring only. Every stage writes what it found to the store before the next begins and reads it from there when the run
is taken up again, so that a run killed at any moment ends in the same choice.
"""

from __future__ import annotations

import hashlib
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import cast

import numpy as np

from chipfit.compress.profile import of_names
from chipfit.core.data import Dataset
from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput, OutOfTime
from chipfit.core.metric import ACCURACY, Metric
from chipfit.core.protocols import Device
from chipfit.core.reference import Reference
from chipfit.core.task import CLASSIFICATION, check_targets, seen
from chipfit.core.types import Limit, Plain, Trial
from chipfit.core.words import number_of
from chipfit.device.accelerator.port import designing
from chipfit.evaluate.deployed import Deployer
from chipfit.evaluate.joint import JointTiming
from chipfit.evaluate.parts import check_enough
from chipfit.evaluate.screen import Screened, in_shares, reference, screen, told_reference, worth
from chipfit.evaluate.start import Start, open_start
from chipfit.evaluate.timing import Timing
from chipfit.nets.zoo import Entry
from chipfit.recipes import gos, hotnas, report_facts, time_plan
from chipfit.recipes.answer import held
from chipfit.recipes.deploy import deploy
from chipfit.recipes.designs import Plan
from chipfit.recipes.hardware import on_hardware
from chipfit.recipes.plans import made_of, planned, smaller, wanted
from chipfit.recipes.refine import TRAINED
from chipfit.recipes.settings import Progress, Settings, as_computed, budget_text
from chipfit.recipes.state import Run
from chipfit.report.view import task_fact
from chipfit.search.one_design import least
from chipfit.space.knobs import Knobs
from chipfit.store.arrays import ArrayFolder
from chipfit.store.memory import MeasurementMemory
from chipfit.store.programs import ProgramLibrary
from chipfit.store.store import Store


def fit(
    entries: Sequence[Entry],
    dataset: Dataset,
    devices: Sequence[Device],
    settings: Settings,
    store: Store,
    memory: MeasurementMemory,
    deadline: Deadline,
    progress: Progress,
    profiles: ArrayFolder | None = None,
    library: ProgramLibrary | None = None,
) -> tuple[Trial, ...]:
    """The best file for each budget, as trials with role "final" whose label `blob` names the file in the store.

    With several devices it is one network that holds the budget on all of them, a file for each format. What is known
    of a network whatever the device is looked for in `profiles` too, and kept there, programs that were good in
    `library`.

    Raises:
        Infeasible: no design of any model holds a budget; `nearest` tells what can be reached.
        BadInput: the models do not fit the data.
    """
    if any(designing(device) is not None for device in devices):
        progress = hotnas.named(progress)
    _check_shapes(entries, dataset)
    check_enough(len(dataset.train))
    began = time.monotonic()
    several = JointTiming(devices, memory) if len(devices) > 1 else None
    timing = several or Timing(devices[0], memory)
    probed_s = time.monotonic() - began
    settings, entries = as_computed(settings, entries, timing.facts)
    dataset = time_plan.scored_in_time(dataset, entries, settings, store, deadline)
    deployer = Deployer(timing, dataset, {"data": dataset.name, "chipfit": version("chipfit")})
    phases = {"probe": 0.0} | {str(n): float(s) for n, s in cast(list[tuple[str, float]], store.fact("phases") or [])}
    phases["probe"] += probed_s
    run = Run(entries, dataset, settings, store, timing, deployer, deadline, progress, phases, profiles, library)
    _record(run)
    with run.phase("screen"):
        progress("screen", f"{number_of(len(entries), 'model')}, timed and scored as files")
        began = time.monotonic()
        rows = screen(entries, run.deployer, settings.bits)
        time_plan.note_files(run, rows, time.monotonic() - began)
        _check_entries(rows, dataset)
        base = reference(rows, dataset.task.metric)
        if several is not None:
            rows, base = in_shares(several, rows, base, settings.budgets)
            _check_units(store, several)
        told = told_reference(rows, base, dataset.task.metric)
        budgets = [_fixed(store, limits, told, on_hardware(timing)) for limits in settings.budgets]
        if settings.floor is not None:  # a share of what is not there is refused before anything is searched
            store.set_fact("floor", asdict(told.against(settings.floor)))
        report_facts.write_screen(store, rows, told, budgets)
        report_facts.warn_of_chance(store, rows, dataset)
        progress("screen", f"shares are of {told.words()}")
    starts = _open(run, rows, budgets)
    _check_designs(run, rows, starts, budgets)
    smallest = wanted(settings, told, budgets, dataset.task.metric)
    with run.phase("assign"):
        plans = planned(run, budgets, starts, rows, smallest)
    filed = made_of(run, plans, base)
    if smallest is not None:
        more, made = smaller(run, smallest, [limits[0].value for limits in budgets], filed, starts, rows, base)
        plans, filed = [*plans, *more], [*filed, *made]
    with run.phase("measure"):
        finals = deploy(run, rows, plans, filed, base, smallest)
        report_facts.write_kept(store, starts, finals)
        _add_up(run, starts)
    store.finish()
    return finals


def _check_units(store: Store, timing: JointTiming) -> None:
    """A joint run keeps to one kind of latency budget: its rows are in units of that."""
    unit = "shares of references" if len(set(timing.factors)) > 1 else "milliseconds"
    if (store.fact("latencies in") or unit) != unit:
        raise BadInput(f"run {store.path} has its latencies in {store.fact('latencies in')}; give another --out")
    store.set_fact("latencies in", unit)


def forget(store: Store, *, training: bool) -> None:
    """Opens a run for another pass, under another budget or time: what was measured and profiled is kept.

    With `training` the fine-tunes are forgotten too, so that they are done anew at another length.
    """
    facts: dict[str, Plain] = {"finished": False, "training steps": None, "phases": [], "warnings": None}
    if training:
        facts |= {name: None for name in store.facts() if name.startswith(TRAINED)}
    for name, value in facts.items():
        store.set_fact(name, value)


def idle(store: Store) -> bool:
    """True for a run that holds nothing worth keeping, so that a corrected command may take its directory.

    That is one that ended in an error before any file was chosen, or that was stopped before anything was trained.
    """
    if store.finished or store.trials(role="final"):
        return False
    if store.fact(FAILED) is not None:
        return True
    return not store.trials(role="candidate") and not any(name.startswith(TRAINED) for name in store.facts())


FAILED = "failed"
"""The fact that a run ended in an error that another command line may mend."""


def _fixed(store: Store, limits: tuple[Limit, ...], base: Reference, where: str) -> tuple[Limit, ...]:
    """The limits as when first screened (on this hardware): a run that is taken up again keeps its budgets."""
    key = f"absolute {budget_text(limits)}{where}"
    found = tuple(base.against(limit) for limit in limits)
    values = cast(list[float] | None, store.fact(key)) or [limit.value for limit in found]
    store.set_fact(key, cast(Plain, values))
    return tuple(replace(limit, value=v) for limit, v in zip(found, values, strict=True))


def _check_shapes(entries: Sequence[Entry], dataset: Dataset) -> None:
    if not entries:
        raise BadInput("no model was given; name at least one, e.g. zoo:fashion-mnist")
    for e in entries:
        if e.network.graph.input_shape != dataset.input_shape:
            raise BadInput(
                f"model {e.name!r} takes inputs of shape {e.network.graph.input_shape}, the data has "
                f"{dataset.input_shape}; give --resize H,W or another --data"
            )


def _record(run: Run) -> None:
    """What the report says of the device, the data and the versions."""
    report_facts.write_device(run.store, run.timing.facts)
    run.store.set_fact("dataset", report_facts.dataset_fact(run.dataset))
    if (task := task_fact(run.dataset.task)) is not None:
        run.store.set_fact("task", task)
    report_facts.keep_samples(run.store, run.dataset)
    run.store.set_fact("licences", {e.name: e.licence for e in run.entries} | {run.dataset.name: run.dataset.licence})
    run.store.set_fact("seed", run.settings.seed)
    names = ("chipfit", "torch", "numpy", "onnx", "onnxruntime", "scipy")
    run.store.set_fact("versions", {"python": platform.python_version(), **{n: version(n) for n in names}})


def _check_entries(rows: Sequence[Screened], dataset: Dataset) -> None:
    if not dataset.labelled:
        return
    for r in rows:
        outputs = r.artifact.graph[r.artifact.graph.output].shape
        classes = dataset.task.name == CLASSIFICATION.name
        if classes and outputs != (len(dataset.classes),):
            raise BadInput(
                f"model {r.entry.name!r} answers with {outputs}, the data has "
                f"{number_of(len(dataset.classes), 'class', 'classes')}; give a model with one output a class"
            )
        if not classes:
            assert dataset.train.targets is not None
            check_targets(dataset.task, seen(dataset.train.targets), outputs, f"data {dataset.name!r}")


def _check_designs(
    run: Run, rows: Sequence[Screened], starts: Sequence[Start], budgets: Sequence[tuple[Limit, ...]]
) -> None:
    """Without a menu, untouched files and those of earlier passes are what there is.

    Raises:
        OutOfTime: the time was too short for a menu, and none of those holds a budget.
    """
    plans = [Plan(limits, budget_text(limits), (), run.dataset.task.metric) for limits in budgets]
    if starts or any(held(plan, run.store, run.timing, rows) for plan in plans):
        return
    if entries := promising(rows, budgets, run.dataset.task.metric):
        needed = time_plan.needed_s(run, entries[0])
        raise OutOfTime(
            f"no untouched file holds {budget_text(budgets[0])}, and the time was too short to look for designs of "
            f"{entries[0].name}; give --time {math.ceil(needed / 60)}m or more"
        )


def _open(run: Run, rows: Sequence[Screened], budgets: Sequence[tuple[Limit, ...]]) -> list[Start]:
    """Menus of the promising models, the most promising first, as long as there is time.

    While no menu reaches one of the budgets there is time: one more model, if only in part, is worth more than steps.
    """
    starts: list[Start] = []
    began, until = time.monotonic(), time_plan.menus_until(run)
    for n, entry in enumerate(promising(rows, budgets, run.dataset.task.metric)):
        wanted, a_menu_s = n < run.settings.starts, (time.monotonic() - began) / max(1, n)
        if not wanted or until.left() < a_menu_s:
            reached = all(any(_reaches(s, limits) for s in starts) for limits in budgets)
            over = time_plan.measured_from(run) if starts else run.deadline  # one menu, however coarse
            if reached or over.passed():
                if wanted or not reached:
                    run.curtailed("menu", f"no time for the menu of {entry.name}")
                break
            until = time_plan.menus_until(run)
        with run.phase("profile"):
            starts.append(_opened(run, entry, until))
            if starts[-1].curtailed:
                run.curtailed("menu", starts[-1].curtailed)
            if starts[-1].unsure:
                run.progress("menu", starts[-1].sureness)
    report_facts.write_menus(run.store, starts, run.timing)
    return starts


def _reaches(start: Start, limits: Sequence[Limit]) -> bool:
    """Whether the menu's least value of each metric is within its limit."""
    metrics = start.menu.metrics
    return all(x.met(least(start.menu, x.metric)[0]) for x in limits if x.metric in metrics)


PROFILE = 3
"""Version of profiles: one of another is not taken up."""


def _opened(run: Run, entry: Entry, until: Deadline) -> Start:
    """The entry's menu; its profile comes from the store where it is known, and goes there where it is not.

    One that there was not the time for stays in the run: others shall have a whole one.
    """
    knobs = _knobs(run, entry)
    run.progress("menu", f"{entry.name}: what may change, what it costs, what it harms")
    s, name = run.settings, _profile_name(run, entry)
    known, fact = run.recalled(name), f"inputs of {entry.name}"
    known = known if known is not None and of_names(known, entry.network.graph) else None
    n = cast(int | None, run.store.fact(fact)) if run.store.arrays(name) is not None else None
    start = open_start(
        entry,
        run.dataset,
        run.timing,
        bits=s.bits,
        keep=s.keep,
        knobs=knobs,
        programs=gos.programs(run, entry, until, known) if s.programs != "none" else {},
        seed=s.seed,
        known=known,
        most_inputs=n,
        deadline=until,
        planned_s=time_plan.menu_s(run),
        tell=lambda line: run.progress("menu", f"{entry.name}: {line}"),
    )
    if start.complete:
        run.keep(name, start.profile.to_arrays())
    else:
        run.store.set_fact(fact, len(start.inputs))
        run.store.put_arrays(name, start.profile.to_arrays())
    return start


def _knobs(run: Run, entry: Entry) -> Mapping[str, Knobs]:
    """What an accelerator's bottlenecks open for each layer; nothing on a device whose hardware is fixed."""
    device = designing(run.timing.device)
    if len(run.timing.each) > 1 or device is None:
        return {}
    run.progress("detect", hotnas.detect(run.store, entry.name, device.chosen(entry.network.graph).rows))
    return hotnas.knobs(entry.network, device, run.settings.bits)


def _profile_name(run: Run, entry: Entry) -> str:
    return f"profile {PROFILE} {entry.network.digest()} {run.dataset.digest()} seed {run.settings.seed}"


def _add_up(run: Run, starts: Sequence[Start]) -> None:
    """Whether damages of the first start add up: what another device with such a menu told stands here too."""
    until = run.deadline.before(time_plan.PAGE_S)
    if not starts or run.store.fact("additive") is not None or until.passed():
        return
    start = starts[0]
    menu = hashlib.sha256(repr([(d.name, d.options) for d in start.menu.decisions]).encode()).hexdigest()[:12]
    name = f"additivity of {_profile_name(run, start.entry)} menu {menu}"

    found = run.recalled(name)
    if found is None:
        predicted, true = start.additivity(np.random.default_rng(run.settings.seed), ADDED_UP, until)
        found = {"predicted": predicted, "true": true}
        if len(true) == ADDED_UP:
            run.keep(name, found)
    report_facts.write_additivity(run.store, found)


ADDED_UP = 40
"""Random networks that tell whether damages add up, where there is time for all."""


def promising(rows: Sequence[Screened], budgets: Sequence[tuple[Limit, ...]], metric: Metric = ACCURACY) -> list[Entry]:
    """The models worth editing, in turns the most promising one of each budget.

    What a model promises is its quality (`Metric.worth`) less what halving its latency `h` times to the budget is
    likely to cost: half a point for one halving, growing with its square. Budgets without latency ask for quality
    alone.
    """
    best: dict[str, Screened] = {}
    for r in rows:
        if r.trial.error is None and (r.entry.name not in best or r.latency_ms < best[r.entry.name].latency_ms):
            best[r.entry.name] = r

    def promise(r: Screened, budget: tuple[Limit, ...]) -> float:
        limit = next((x.value for x in budget if x.metric == "latency_ms"), math.inf)
        return worth(r.trial, metric) - COST_OF_HALVING * math.log2(max(1.0, r.latency_ms / limit)) ** 2

    orders = [sorted(best.values(), key=lambda r, b=b: -promise(r, b)) for b in budgets]  # type: ignore[misc]
    turns = dict.fromkeys(r.entry.name for turn in zip(*orders, strict=True) for r in turn)
    return [best[name].entry for name in turns]


COST_OF_HALVING = 0.005
"""Accuracy that one halving of the latency costs after a fine-tune (ResNet20 on Fashion-MNIST)."""
