"""A runtime known from 20 timings: do files fitted to it take what was predicted, when they are measured there at last?

    python benchmarks/predicted_device.py [--quick] [--here] [--json] [--full]

ONNX Runtime, OpenVINO and LiteRT of this machine are the sources, timed on variants of four models of the zoo; the
target, ncnn, is timed on 20 of those, drawn at random. Then `chipfit.fit` works for `predicted:NAME`
under seven budgets for each model (those that it cannot hold are left out), post-training only, and never sees the
target. Each file that it ends with is measured there: is that within the stated 90 % interval, and within the budget,
which the interval's upper end held?
"""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from harness import Target, arguments, at_least, finish, table

import chipfit
from chipfit.api import predict
from chipfit.api.config import Config
from chipfit.api.result import Model
from chipfit.core.errors import Infeasible
from chipfit.device.registry import open_device
from chipfit.export.formats import timing_bytes

SOURCES = "onnxruntime,openvino,litert"
TARGETS = {"ncnn": "ncnn", "torch": "safetensors"}
"""Devices that are foretold, and their formats."""

MODELS = ("resnet20", "resnet8", "vgg6", "mobilenetv2")
BUDGETS = ("80%", "70%", "60%", "50%", "40%", "30%", "20%")
NETWORKS, SAMPLES = 160, 20
QUICK = (("resnet8",), ("65%", "40%"), 24)
HERE = (("resnet8", "vgg6"), ("70%", "50%", "30%"), 48)
"""Models, budgets, networks timed on the sources."""
SHARE = 0.85

FOLDER = Path(tempfile.gettempdir()) / "chipfit-bench" / "predicted-device"
"""Tables, predictors and runs, so that what was interrupted goes on."""


def say(phase: str, detail: str) -> None:
    print(f"  {phase}: {detail}", flush=True)


@cache
def fitted(target: str, models: tuple[str, ...], networks: int) -> predict.Fit:
    """The predictor of the target: sources timed, samples chosen and timed, fitted."""
    names = [f"zoo:fashion-mnist/{m}" for m in models]
    sources, few = FOLDER / f"sources-{networks}.npz", FOLDER / f"{target}-{networks}.csv"
    asked = {"models": names, "device": SOURCES, "bits": (32,)}
    predict.measure(Config.of(asked), networks, [], sources, say)
    predict.measure(Config.of({"device": target, "bits": (32,)}), SAMPLES, [str(sources)], few, say)
    made = predict.fit([str(sources)], str(few), target, format=TARGETS[target])
    like = ", ".join(f"{s.device} {s.spearman:.3f} (at least {s.least:.3f})" for s in made.sources)
    error, half = 100 * made.left_out_error, 100 * made.half_width
    print(f"  {target}: left-out error {error:.1f} %, half-width {half:.0f} %, {like}")
    return made


@cache
def finals(target: str, model: str, budgets: tuple[str, ...], count: int) -> dict[str, Model]:
    """Budget to the file that a fit for the predicted target ends with; without the tightest where none holds them."""
    if not budgets:
        return {}
    out = FOLDER / f"{target}-{model}-{count}-{len(budgets)}"
    try:
        result = chipfit.fit(
            f"zoo:fashion-mnist/{model}", data="fashion-mnist", device=f"predicted:{target}", budgets=list(budgets),
            train=False, baselines=False, bits=(32,), time="3m", out=out, progress=say,
        )  # fmt: skip
    except Infeasible as e:
        print(f"  {model}: {e}")
        return finals(target, model, budgets[:-1], count)
    order = [b.text for b in result.view.budgets]
    return {budgets[order.index(m.budget)]: m for m in result.finals}


def case(target: str, model: str, budget: str, budgets: tuple[str, ...], count: int) -> dict[str, Any]:
    """One file: what was predicted, what it takes."""
    found = finals(target, model, budgets, count).get(budget)
    if found is None or found.interval_ms is None or found.latency_ms is None:
        return {"infeasible": True}
    with closing(open_device(target, timing_bytes)) as device:
        (measured,) = device.measure([found.artifacts()[device.format]], "final")
    low, high = found.interval_ms
    limit_ms = float(found.budget.rpartition(" ")[2])
    return {
        "limit_ms": limit_ms, "predicted_ms": found.latency_ms, "low_ms": low, "high_ms": high,
        "measured_ms": measured.value, "inside": bool(low <= measured.value <= high),
        "holds": bool(measured.value <= limit_ms * 1.005), "macs": found.macs, "accuracy": found.accuracy,
    }  # fmt: skip


def scored(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Shares and errors of the cases that ended in a file."""
    ratio = np.array([r["measured_ms"] / r["predicted_ms"] for r in rows])
    width = np.array([(r["high_ms"] / r["low_ms"]) ** 0.5 - 1 for r in rows])
    return {
        "inside": float(np.mean([r["inside"] for r in rows])), "holds": float(np.mean([r["holds"] for r in rows])),
        "median_error": float(np.median(np.abs(ratio - 1))), "bias": float(np.median(ratio) - 1),
        "worst": float(np.max(np.abs(ratio - 1))), "half_width": float(np.median(width)),
    }  # fmt: skip


def main() -> None:
    """Runs what is asked for, prints the table and the targets."""
    options = arguments(__doc__ or "")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        os.environ[name] = str(FOLDER / name.lower())
    rows = options.rows("predicted_device")
    models, budgets, networks = options.pick(quick=QUICK, here=HERE, whole=(MODELS, BUDGETS, NETWORKS))
    targets: list[Target] = []
    for target in options.pick(quick=("ncnn",), here=("ncnn",), whole=tuple(TARGETS)):

        def predictor(target: str = target) -> dict[str, Any]:
            return {k: v for k, v in fitted(target, models, networks).plain().items() if k != "path"}

        rows.get(f"{target} predictor", predictor)
        found = []
        for model in models:
            for budget in budgets:
                fitted_first = lambda t=target, m=model, b=budget: (  # noqa: E731
                    fitted(t, models, networks) and case(t, m, b, budgets, networks)
                )
                found.append(rows.get(f"{target} {model} {budget}", fitted_first))
        cases = [r for r in found if not r.get("infeasible")]
        print()
        table(
            ["case", "limit ms", "predicted", "from", "to", "measured", "inside", "holds"],
            [(r["key"], r["limit_ms"], r["predicted_ms"], r["low_ms"], r["high_ms"], r["measured_ms"], r["inside"],
              r["holds"]) for r in cases],
        )  # fmt: skip
        score = scored(cases)
        print(f"\n{target}, {len(cases)} files: " + ", ".join(f"{k} {v:.3f}" for k, v in score.items()))
        targets += [
            at_least(f"inside {target}", score["inside"], SHARE),
            at_least(f"cases {target}", len(cases), options.pick(quick=2, here=4, whole=20)),
        ]
    finish("predicted_device", rows, targets, options)


if __name__ == "__main__":
    main()
