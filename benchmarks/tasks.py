"""Tasks other than classifying pictures: five networks at half the latency of the better of fp32 and int8.

Each is fitted with `chipfit.fit` from data as a user's `my_data.py` gives them, the task being seen and not told. The
file at 50 % is scored with the task's own metric on the test part, beside the untouched network: as its user trained
it, or after a fine-tune of as many epochs with the same loss and teacher, whichever is better.

    tasks_ok   cases whose file holds the budget and is within 3 % of the metric of the original, of 5
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tasks_cases as cases
import torch
from harness import RESULTS, Options, arguments, at_least, finish, table

import chipfit
from chipfit.api.config import Config
from chipfit.api.inputs import Given, load
from chipfit.nets.build import build
from chipfit.recipes.steps import batch_of
from chipfit.train.distill import teach
from chipfit.train.jobs import Job, train_job
from chipfit.train.loop import Schedule, quality

BUDGET, WITHIN = 0.5, 0.03
HERE = Path(__file__).resolve()
WEIGHTS = RESULTS / "files" / "tasks"
"""Where what the users trained is kept; made where it is not there."""

EPOCHS = {"regression": 12, "labels": 10, "segmentation": 8, "tokens": 4, "signals": 15}


def fitted(name: str, epochs: float, out: Path) -> dict[str, Any]:
    """A case's row: the fit, and the original after an equal fine-tune."""
    weights = cases.trained(name, WEIGHTS / f"{name}.safetensors")
    cases.CASES[name].data()  # what is read once is there, and a fit under supervision does not wait for it
    source, data = f"{HERE.with_name('tasks_cases.py')}:{name}", f"{HERE.with_name('tasks_cases.py')}:{name}_data"
    result = chipfit.fit(
        source, data=data, weights=[weights], device="onnxruntime", budgets=f"{100 * BUDGET:g}%", epochs=epochs,
        baselines=False, accelerator="cpu", out=out,
    )  # fmt: skip
    best, reference = result.best, result.reference
    assert best is not None
    assert reference is not None
    came = next(m for m in result.models if m.role == "zoo")
    rank = result.view.task.metric.rank
    fine = _finetuned(source, data, weights, epochs)
    assert best.test_quality is not None
    aim = max((fine, came.test_quality or fine), key=rank)
    loss = (rank(aim) - rank(best.test_quality)) / abs(aim)
    assert best.latency_ms is not None
    assert reference.latency_ms is not None
    share = best.latency_ms / reference.latency_ms
    return {
        "task": result.view.task.name, "metric": best.metric, "original": came.test_quality, "fine_tuned": fine,
        "fitted": best.test_quality, "loss": loss, "share": share, "held": bool(best.meets_budget),
        "ok": bool(best.meets_budget) and loss <= WITHIN,
    }  # fmt: skip


def _finetuned(source: str, data: str, weights: Path, epochs: float) -> float:
    """The original's quality on test after as many epochs, with itself as teacher."""
    inputs = load(Config.of({"models": source, "data": data, "weights": str(weights), "max": "latency_ms=1"}), Given())
    (entry,), dataset = inputs.entries, inputs.dataset
    torch.set_num_threads(2)
    batch = batch_of(len(dataset.train))
    schedule = Schedule(steps=max(1, round(epochs * (len(dataset.train) // batch))), peak=0.0, batch=batch)
    done = train_job(Job("original", entry.network, schedule, 1), dataset, teach(build(entry.network), dataset, 1))
    return quality(build(done.network), dataset, dataset.open_test())


def main() -> None:
    """Fits the five, and prints what each came to."""
    options: Options = arguments(__doc__ or "")
    rows = options.rows("tasks")
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    found: dict[str, Mapping[str, Any]] = {}
    for name in cases.CASES:
        epochs = EPOCHS[name] * options.pick(quick=0.25, here=0.5, whole=1.0)
        with tempfile.TemporaryDirectory() as folder:
            try:
                found[name] = rows.get(name, lambda n=name, e=epochs, f=folder: fitted(n, e, Path(f) / "run"))
            except chipfit.ChipfitError as e:
                print(f"  {name}: {e}")
    names = ("task", "metric", "original", "fine_tuned", "fitted", "loss", "share", "ok")
    table(["case", *names], [[case, *(row[n] for n in names)] for case, row in found.items()])
    good = sum(bool(row["ok"]) for row in found.values())
    finish("tasks", rows, [at_least("tasks_ok", float(good), float(len(cases.CASES)))], options)


if __name__ == "__main__":
    main()
