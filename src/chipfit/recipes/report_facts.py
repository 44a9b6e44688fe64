"""What a fit leaves in the store for its report, in the vocabulary of `report.view`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from scipy.stats import spearmanr

from chipfit.core.data import Dataset
from chipfit.core.errors import ChipfitError
from chipfit.core.types import Artifact, Limit, Measurement, Plain, Trial
from chipfit.evaluate.deployed import Deployer
from chipfit.evaluate.design import slower_in_int8
from chipfit.evaluate.screen import Screened, with_accuracy
from chipfit.evaluate.start import Start
from chipfit.evaluate.timing import Timing
from chipfit.recipes.settings import Progress, budget_text
from chipfit.store.arrays import Arrays
from chipfit.store.store import Store

FEW_ROWS = 100
"""Rows of a part below which the error of an accuracy that is read off it (5 points and more) is told beforehand."""


def dataset_fact(d: Dataset) -> dict[str, Plain]:
    """The fact "dataset"."""
    notes, n = list(d.notes), len(d.validation)
    if d.labelled and n < FEW_ROWS:
        error = 50 / math.sqrt(n)
        notes.append(f"validation holds {n} rows: an accuracy of 50 % on them is known to ± {error:.0f} points")
    return {
        "name": d.name, "digest": d.digest(), "sizes": {"train": len(d.train), "validation": len(d.validation)},
        "input_shape": list(d.input_shape), "classes": list(d.classes), "licence": d.licence,
        "notes": notes, "mean": list(d.mean), "std": list(d.std),
    }  # fmt: skip


def write_screen(store: Store, rows: Sequence[Screened], base: Screened, budgets: Sequence[tuple[Limit, ...]]) -> None:
    """Untouched models as trials (test accuracy follows at the end), the reference and the budgets."""
    if not store.trials(role="zoo"):
        for r in rows:
            store.append(r.trial)
    accuracy = base.trial.get("accuracy") if base.trial.has("accuracy") else None
    store.set_fact("reference", {"name": base.name, "latency_ms": base.latency_ms, "accuracy": accuracy})
    store.set_fact("budgets", [budget_text(b) for b in budgets])


def write_menus(store: Store, starts: Sequence[Start], timing: Timing) -> None:
    """Decisions, what could not be touched, and how well the cost tables foretold whole networks."""
    store.set_fact("decisions", {
        s.entry.name: [[d.name, d.kind, [[o.label, o.value] for o in d.options]] for d in s.menu.decisions]
        for s in starts
    })  # fmt: skip
    facts = cast(dict[str, Any], store.fact("dataset"))
    known = [line for line in facts["notes"] if not line.startswith("damage of ")]
    store.set_fact("dataset", {**facts, "notes": [*known, *(s.sureness for s in starts)]})
    store.set_fact("untouched", [[s.entry.name, layer, why] for s in starts for layer, why in s.offer.untouched])
    if timing.foretold:
        return  # what the tables foretell are predictions themselves: nothing that was measured tells how good they are
    predicted = [p for s in starts for q in s.pricings for p in q.predicted]
    measured = [m for s in starts for q in s.pricings for m in q.measured]
    if len(measured) > 2:
        p, m = np.array(predicted), np.array(measured)
        store.set_fact("table", {
            "predicted": predicted, "measured": measured, "mape": float(np.mean(np.abs(p - m) / m)),
            "spearman": float(spearmanr(p, m).statistic),
        })  # fmt: skip


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
    """Opens the test part, once, after every choice; appends every row of the report with its test accuracy.

    Rows that were appended before the run was cut off are taken as they are.
    """
    kept = {_identity(t): t for t in store.trials() if not dataset.labelled or _on_test(t)}
    everyone = [*shown, *chosen]
    missing = [(t, a) for t, a in everyone if _identity(t) not in kept]
    scores: dict[str, Measurement] = {}
    if missing and dataset.labelled:
        progress("measure", "the test part is read, once")
        store.record_test_read("the report's table")
        split = dataset.open_test()
        fact = cast(dict[str, Any], store.fact("dataset"))
        store.set_fact("dataset", {**fact, "sizes": {**fact["sizes"], "test": len(split)}})
        for trial, artifact in missing:
            if trial.error is None and artifact.digest not in scores:
                scores[artifact.digest] = deployer.accuracy(artifact, split, "test")
    for trial, artifact in missing:
        scored = with_accuracy(trial, scores[artifact.digest]) if artifact.digest in scores else trial
        store.append(scored)
        kept[_identity(trial)] = scored
    return tuple(kept[_identity(t)] for t, _ in chosen)


def _identity(trial: Trial) -> tuple[str, ...]:
    labels = trial.labels
    return (trial.candidate.key, *(labels.get(n, "") for n in ("role", "model", "name", "budget")))


def _on_test(trial: Trial) -> bool:
    return any(m.metric == "accuracy" and m.where == "test" for m in trial.measurements)


def write_kept(store: Store, starts: Sequence[Start], finals: Sequence[Trial]) -> None:
    """The sites that the finals keep in float because int8 is slower there, as the tables have it."""
    menus, kept = {s.entry.name: s.menu for s in starts}, dict[str, str]()
    for final in finals:
        menu, choices = menus.get(final.labels["model"]), final.candidate.values.get("choices")
        if menu is not None and isinstance(choices, Mapping) and choices:
            of = tuple([o.label for o in d.options].index(str(choices[d.name])) for d in menu.decisions)
            for d, more in slower_in_int8(menu, of):
                site = menu.decisions[d].name.removeprefix("bits:")
                kept[site] = f"{final.labels['model']}: int8 would take {1e3 * more:.2g} µs longer, by the tables"
    store.set_fact("kept_fp32", [[site, why] for site, why in kept.items()])


def write_profiles(
    store: Store, timing: Timing, rows: Sequence[Screened], chosen: Sequence[tuple[Trial, Artifact]]
) -> None:
    """Time by operator of the first choice and of the model it came from, on the first device.

    A predicted device knows whole networks only, and is not asked.
    """
    if timing.foretold:
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
        warnings = cast(list[str], store.fact("warnings") or [])
        store.set_fact("warnings", [*warnings, f"{device.name} could not be asked for times by operator: {e}"])
        return
    store.set_fact("profile", cast(Plain, profiles))
