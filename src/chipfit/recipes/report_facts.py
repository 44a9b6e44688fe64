"""What a fit leaves in the store for its report, in the vocabulary of `report.view`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from scipy.stats import spearmanr

from chipfit.core.data import Dataset, Targets
from chipfit.core.errors import ChipfitError
from chipfit.core.metric import ACCURACY
from chipfit.core.reference import Reference
from chipfit.core.task import Task
from chipfit.core.types import Artifact, DeviceFacts, Limit, Measurement, Plain, Trial
from chipfit.evaluate.deployed import Deployer
from chipfit.evaluate.design import slower_in_int8
from chipfit.evaluate.price import predicted, tested
from chipfit.evaluate.screen import Screened, with_score
from chipfit.evaluate.start import Start
from chipfit.evaluate.timing import Latencies
from chipfit.recipes.settings import Progress, budget_text
from chipfit.report.row import Row
from chipfit.space.edits import computed_in, drops, narrowed_to
from chipfit.space.menu import Assignment, Decision, Menu, Option
from chipfit.store.arrays import Arrays
from chipfit.store.store import Store

FEW_ROWS = 100
"""Rows of a part below which the error of an accuracy that is read off it (5 points and more) is told beforehand."""


def dataset_fact(d: Dataset) -> dict[str, Plain]:
    """The fact "dataset"."""
    notes, n = list(d.notes), len(d.validation)
    if d.labelled and n < FEW_ROWS and d.task.metric == ACCURACY:
        error = 50 / math.sqrt(n)
        notes.append(f"validation holds {n} rows: an accuracy of 50 % on them is known to ± {error:.0f} points")
    return {
        "name": d.name, "digest": d.digest(), "sizes": {"train": len(d.train), "validation": len(d.validation)},
        "input_shape": list(d.input_shape), "classes": list(d.classes), "licence": d.licence,
        "notes": notes, "mean": list(d.mean), "std": list(d.std),
        "pixels": bool(d.train.inputs.dtype == np.uint8), **({"tokens": True} if d.of_tokens else {}),
        **({"inputs": [port.told for port in d.ports]} if d.ports else {}),
    }  # fmt: skip


SAMPLES, SAMPLES_MB = 64, 4.0
"""Validation inputs that a run keeps, to verify files on which it writes later: so many, or what fits."""


def keep_samples(store: Store, d: Dataset) -> None:
    """Keeps a few validation inputs, normalised (under "samples"), evenly spread: they may be sorted by class."""
    if store.arrays("samples") is None and len(d.validation):
        each_mb = 4e-6 * d.validation.inputs[0].size
        n = max(8, min(SAMPLES, int(SAMPLES_MB / each_mb)))
        spread = np.unique(np.linspace(0, len(d.validation) - 1, n).astype(int))
        store.put_arrays("samples", {"inputs": d.normalise(d.validation.inputs[spread])})


def write_screen(store: Store, rows: Sequence[Screened], base: Reference, budgets: Sequence[tuple[Limit, ...]]) -> None:
    """Untouched models as trials (their quality on test follows at the end), the reference and the budgets.

    A run that is given other hardware has them anew, with the latencies there.
    """
    known = {_identity(t): t for t in store.trials()}
    if not all(_same_place(r.trial, known.get(_identity(r.trial))) for r in rows):
        for r in rows:
            before = known.get(_identity(r.trial))
            score = None if before is None else _on_test(before, base.metric)
            store.append(r.trial if score is None else with_score(r.trial, score))
    store.set_fact("reference", cast(Plain, base.plain()))
    store.set_fact("budgets", [budget_text(b) for b in budgets])


def _same_place(trial: Trial, before: Trial | None) -> bool:
    """True where a row is known, with a latency that was taken in the same place."""
    places = [[m.where for m in t.measurements if m.metric == "latency_ms"] for t in (trial, before) if t is not None]
    return len(places) == 2 and places[0][:1] == places[1][:1]


CHANCE = 2.0
"""Standard errors above what guessing the largest class would score, from which on a model counts as one that knows."""


def warn_of_chance(store: Store, rows: Sequence[Screened], dataset: Dataset) -> None:
    """Says which untouched models know no more of the data than one answer for all would: what they see is wrong."""
    if dataset.validation.targets is None or dataset.task.metric.own is not None:
        return
    metric, chance = dataset.task.metric, guessed(dataset.task, dataset.validation.targets)
    for name in dict.fromkeys(r.entry.name for r in rows):
        scored = [r.trial.measured(metric.name) for r in rows if r.entry.name == name and r.trial.has(metric.name)]
        best = max(scored, key=lambda m: metric.rank(m.value), default=None)
        if best is not None and metric.rank(best.value) <= metric.rank(chance) + CHANCE * (best.spread or 0.0):
            got = f"is right on {100 * best.value:.1f} % of validation"
            if metric != ACCURACY:
                got = f"has {metric.name} {metric.amount(best.value)} on validation"
            warn(
                store,
                f"{name}, untouched, {got}, no more than by guessing: does it see "
                "what it was trained on? --normalize says how its inputs were scaled (0,1 for pixels from 0 to 1)",
            )


def guessed(task: Task, targets: Targets) -> float:
    """What the best single answer to all inputs would score: the largest class, or the mean.

    Not asked of labels, where one answer for all may be a good one; there it is the worst possible score.
    """
    metric = task.metric
    if task.of_classes and metric == ACCURACY:
        counted = targets[targets >= 0]
        return float(np.bincount(counted.ravel()).max() / counted.size)
    if task.divergence != "squared":
        return 0.0
    scored = task.scored()
    scored.add(np.broadcast_to(targets.mean(0), targets.shape), targets)
    return scored.result()[0]


def warn(store: Store, *lines: str) -> None:
    """Adds to what a reader must know, each line once."""
    told = cast(list[str], store.fact("warnings") or [])
    store.set_fact("warnings", list(dict.fromkeys([*told, *lines])))


def write_untrained(store: Store, trials: Sequence[Trial]) -> None:
    """Says which schedules were cut, and which baselines got no training and so are no rivals."""
    for t in trials:
        if (steps := Row.of(t).steps) is None or steps[0] >= steps[1]:
            continue
        name, budget = t.labels["name"], t.labels["budget"]
        if t.labels["role"] == "candidate" and not name.startswith("ours"):
            warn(store, f"{name}, under {budget}: it got none of {steps[1]} steps, and is not shown as a rival")
        else:
            warn(
                store,
                f"{name}, under {budget}: its training was shortened, as a whole, to {steps[0]} of {steps[1]} steps",
            )


def write_menus(store: Store, starts: Sequence[Start], timing: Latencies) -> None:
    """Decisions, what could not be touched, and how well the cost tables foretold whole networks."""
    store.set_fact("decisions", {s.entry.name: decisions_fact(s.menu) for s in starts})
    facts = cast(dict[str, Any], store.fact("dataset"))
    known = [line for line in facts["notes"] if not line.startswith("damage of ")]
    store.set_fact("dataset", {**facts, "notes": [*known, *(s.sureness for s in starts)]})
    store.set_fact("untouched", [[s.entry.name, layer, why] for s in starts for layer, why in s.offer.untouched])
    if not tested(timing):
        return  # what the tables say is what the device says: nothing that was measured tells how good they are
    predicted = [p for s in starts for q in s.pricings for p in q.predicted]
    measured = [m for s in starts for q in s.pricings for m in q.measured]
    if len(measured) > 2:
        p, m = np.array(predicted), np.array(measured)
        store.set_fact("table", {
            "predicted": predicted, "measured": measured, "mape": float(np.mean(np.abs(p - m) / m)),
            "spearman": float(spearmanr(p, m).statistic),
        })  # fmt: skip


def write_device(store: Store, facts: DeviceFacts) -> None:
    """What the report says of the device."""
    block = {str(bits): step for bits, step in facts.channel_block.items()}
    store.set_fact("device", cast(Plain, {**asdict(facts), "channel_block": block}))


def decisions_fact(menu: Menu) -> list[Plain]:
    """Name, kind and options of each decision."""
    return [[d.name, d.kind, _options(d)] for d in menu.decisions]


def _options(decision: Decision) -> list[Plain]:
    """The label of each option, and the share that it leaves of a decision's channels, bits or block: 1 as it is."""
    return [[option.label, _left(decision, option)] for option in decision.options]


def _left(decision: Decision, option: Option) -> float:
    channels, bits = narrowed_to(option.edits), computed_in(option.edits)
    if drops(option.edits):
        return 0.0
    if channels is not None:
        return channels / int(decision.options[0].label)
    return 1.0 if bits is None else bits / 32


def write_additivity(store: Store, found: Arrays) -> None:
    """How well the sum of damages foretold stitched networks: their `predicted` and `true` damage."""
    predicted, true = found["predicted"], found["true"]
    if len(predicted) < 3 or np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return  # no order to compare: nothing can be taken out, or nothing does harm
    store.set_fact("additive", {
        "predicted": predicted.tolist(), "true": true.tolist(), "spearman": float(spearmanr(predicted, true).statistic),
    })  # fmt: skip


def read_test(
    store: Store,
    deployer: Deployer,
    dataset: Dataset,
    shown: Sequence[tuple[Trial, Artifact]],
    chosen: Sequence[tuple[Trial, Artifact]],
    progress: Progress,
) -> tuple[Trial, ...]:
    """Opens the test part, once, after every choice; appends every row of the report with its quality on test.

    A file that was scored before, under whatever name, is not scored again. Rows that were appended before the run was
    cut off are taken as they are.
    """
    stored = store.trials()
    name = dataset.task.metric.name
    kept = {_identity(t): t for t in stored if not dataset.labelled or _on_test(t, name)}
    scores = {t.labels["file"]: _on_test(t, name) for t in stored if "file" in t.labels and _on_test(t, name)}
    everyone = [*shown, *chosen]
    missing = [(t, a) for t, a in everyone if t.error is None and _identity(t) not in kept]
    unknown = {a.digest: a for _, a in missing if a.digest not in scores}
    if unknown and dataset.labelled:
        progress("measure", "the test part is read, once")
        store.record_test_read("the report's table")
        split = dataset.open_test()
        fact = cast(dict[str, Any], store.fact("dataset"))
        store.set_fact("dataset", {**fact, "sizes": {**fact["sizes"], "test": len(split)}})
        scores |= {digest: deployer.quality(a, split, "test") for digest, a in unknown.items()}
    last = {t.labels["budget"]: t.key for t in stored if t.labels.get("role") == "final"}
    for trial, artifact in everyone:
        again = trial.labels["role"] == "final" and last.get(trial.labels["budget"]) != trial.key
        if _identity(trial) not in kept or again:
            score = None if _on_test(trial, name) or trial.error else scores.get(artifact.digest)
            scored = trial if score is None else with_score(trial, score)
            store.append(scored)
            kept[_identity(trial)] = scored
    return tuple(kept[_identity(t)] for t, _ in chosen)


def _identity(trial: Trial) -> tuple[str, ...]:
    labels = trial.labels
    return (trial.key, *(labels.get(n, "") for n in ("role", "model", "name", "budget")))


def _on_test(trial: Trial, metric: str) -> Measurement | None:
    """What it scored on the test part, if it was asked."""
    return next((m for m in trial.measurements if m.metric == metric and m.where == "test"), None)


def write_kept(store: Store, starts: Sequence[Start], finals: Sequence[Trial]) -> None:
    """The sites that the finals keep in float because int8 is slower there, as the tables have it."""
    menus, kept = {s.entry.name: s.menu for s in starts}, dict[str, str]()
    for final in finals:
        menu, choices = menus.get(final.labels["model"]), final.candidate.values.get("choices")
        of = _chosen(menu, choices) if menu is not None and isinstance(choices, Mapping) else None
        if menu is None or of is None:
            continue
        for site, more in slower_in_int8(menu, of).items():
            kept[site] = f"{final.labels['model']}: int8 would take {1e3 * more:.2g} µs longer, by the tables"
    store.set_fact("kept_fp32", [[site, why] for site, why in kept.items()])


def _chosen(menu: Menu, choices: Mapping[str, Plain]) -> Assignment | None:
    """The assignment of some choices; None where they are of another menu, or of no menu at all."""
    places = []
    for d in menu.decisions:
        labels = [o.label for o in d.options]
        if str(choices.get(d.name)) not in labels:
            return None
        places.append(labels.index(str(choices[d.name])))
    return tuple(places)


def write_profiles(
    store: Store, timing: Latencies, rows: Sequence[Screened], chosen: Sequence[tuple[Trial, Artifact]]
) -> None:
    """Time by operator of the first choice and of the model it came from, on the first device.

    A predicted device knows whole networks only, and is not asked.
    """
    if predicted(timing):
        return
    trial, after = chosen[0]
    before = next(r for r in rows if r.entry.name == trial.labels["model"] and r.trial.error is None)
    device = timing.parts(after)[0][0]
    try:
        profiles = {
            name: [[t.op, t.ms, t.bottleneck] for t in device.profile(timing.parts(artifact)[0][1])]
            for name, artifact in (("before", before.artifact), ("after", after))
        }
    except ChipfitError as e:
        warn(store, f"{device.name} could not be asked for times by operator: {e}")
        return
    store.set_fact("profile", cast(Plain, profiles))
