"""One network fitted to three runtimes: does each budget hold, and what does a device more cost?

    python benchmarks/multi_device.py [--quick] [--here] [--json] [--full]

ResNet20 (Fashion-MNIST, from the zoo) at 40 % of the better of float and all-int8 on ONNX Runtime, OpenVINO and LiteRT,
each as `chipfit.fit_each` would, from an empty cache. Every file is timed again by a loop that knows nothing of
chipfit's protocol: blocks of runs of the file alternate with blocks of the reference.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import arguments, at_most, finish, table

import chipfit
from chipfit.api.result import Model, Result
from chipfit.core.errors import ChipfitError
from chipfit.core.graph import Graph
from chipfit.device.registry import DEVICES
from chipfit.evaluate.screen import all_int8
from chipfit.export.formats import timing_artifact
from chipfit.nets.load import load_models

RUNTIMES = ("onnxruntime", "openvino", "litert")
BUDGET = 0.4
SHARE, TIME, HERE_TIME, QUICK_TIME = "40%", "27m", "8m", "60s"
TOLERANCE = 1.02
"""A plain loop repeats to about so much."""

BLOCKS, RUNS = 15, 300


def fitted(name: str, runtimes: Sequence[str], time_: str, folder: Path, *, train: bool) -> dict[str, dict[str, Any]]:
    """Runtime to what came of its run."""
    model = f"zoo:fashion-mnist/{name}"
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    results = chipfit.fit_each(
        model, data="fashion-mnist", devices=runtimes, budgets=SHARE, time=time_, out=folder / "runs", train=train,
        baselines=False, progress=lambda phase, detail: print(f"  {phase}: {detail}", flush=True),
    )  # fmt: skip
    return {runtime: about(runtime, name, r) for runtime, r in results.items()}


def about(runtime: str, name: str, result: Result | ChipfitError) -> dict[str, Any]:
    """The row of a runtime, for the network of this name."""
    if isinstance(result, ChipfitError) or result.best is None:
        return {"error": str(result)}
    best, ms = result.best, as_it_came(result)
    reference = min(ms, key=lambda n: ms[n])
    untouched = next(m for m in result.models if m.role == "zoo")
    phases = dict(result.view.phases)
    told = np.array(result.view.latency.predicted), np.array(result.view.latency.true)  # type: ignore[union-attr]
    return {
        "reference": reference, "reference_ms": ms[reference], "ms": best.latency_ms, "predicted_ms": best.predicted_ms,
        "plain_share": plain_share(runtime, name, best, int8=reference.endswith("int8")),
        "accuracy": best.test_accuracy, "untouched": untouched.test_accuracy,
        "before_training_s": sum(phases.get(p, 0.0) for p in ("probe", "screen", "profile", "assign")),
        "train_s": phases.get("fine-tune", 0.0), "int8_gain": ms[name] / ms[f"{name} int8"],
        "int8_sites": sum(v == "int8" for v in best.choices.values()),
        "table_mape": float(np.mean(np.abs(told[0] / told[1] - 1))), "size_mb": best.size_mb,
    }  # fmt: skip


def as_it_came(result: Result) -> dict[str, float]:
    """Milliseconds of the untouched network in float and in int8."""
    rows = [m for m in result.models if m.role in ("zoo", "baseline") and not m.budget]
    return {m.name: m.latency_ms for m in rows if m.latency_ms is not None}


def plain_share(runtime: str, name: str, best: Model, *, int8: bool) -> float:
    """Time of a file over that of the untouched network, in a plain loop over the runtime's own interface."""
    (entry,) = load_models([f"zoo:fashion-mnist/{name}"])
    network = all_int8(entry.network) if int8 else entry.network
    reference = timing_artifact(network.graph, DEVICES[runtime].format).data
    steps = [STEP[runtime](data, network.graph) for data in (best.data(), reference)]
    ratios = []
    for _ in range(BLOCKS):
        mine, other = (block_ms(step) for step in steps)
        ratios.append(mine / other)
    return float(np.median(ratios))


def block_ms(step: Callable[[], object]) -> float:
    """Median milliseconds of a run, the first quarter being warm-up."""
    marks = []
    for _ in range(RUNS):
        start = time.perf_counter_ns()
        step()
        marks.append(time.perf_counter_ns() - start)
    return float(np.median(marks[RUNS // 4 :])) / 1e6


def _onnxruntime(data: bytes, graph: Graph) -> Callable[[], object]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.ones((1, *graph.input_shape), np.float32)}
    return lambda: session.run(None, feed)


def _openvino(data: bytes, graph: Graph) -> Callable[[], object]:
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(data), "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(np.ones((1, *graph.input_shape), np.float32)))
    return request.infer


def _litert(data: bytes, graph: Graph) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    c, h, w = graph.input_shape
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, h, w, c), np.float32))
    return interpreter.invoke


STEP: Mapping[str, Callable[[bytes, Graph], Callable[[], object]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "litert": _litert,
}


def main() -> None:
    """Runs what is asked for, prints the table and the targets."""
    options = arguments(__doc__ or "")
    rows = options.rows("multi_device")
    runtimes = RUNTIMES[:1] if options.quick else RUNTIMES
    if any(name not in rows.rows for name in runtimes):
        with tempfile.TemporaryDirectory(prefix="chipfit-") as folder:
            name, seconds = options.pick(
                quick=("resnet8", QUICK_TIME), here=("resnet8", HERE_TIME), whole=("resnet20", TIME)
            )
            found = fitted(name, runtimes, seconds, Path(folder), train=not options.quick)
        for name, row in found.items():
            rows.get(name, lambda row=row: row)  # type: ignore[misc]
    mine = [rows.rows[name] for name in runtimes]
    print()
    table(
        ["runtime", "reference", "ref. ms", "budget", "ms", "predicted", "plain loop", "test %", "drop",
         "before training s", "int8 gain", "int8 sites"],
        [
            (r["key"], r["reference"], r["reference_ms"], BUDGET * r["reference_ms"], r["ms"], r["predicted_ms"],
             f"{100 * r['plain_share']:.1f} %", 100 * r["accuracy"], 100 * (r["untouched"] - r["accuracy"]),
             r["before_training_s"], r["int8_gain"], r["int8_sites"])
            for r in mine if "error" not in r
        ],
    )  # fmt: skip
    good = [r for r in mine if "error" not in r]
    whole = len(good) == len(mine)
    before_s = sum(r["before_training_s"] for r in good[1:])
    errors = [abs(r["predicted_ms"] / r["ms"] - 1) for r in good if r["predicted_ms"]]
    targets = [
        at_most("over_budget", sum("error" in r or r["plain_share"] > BUDGET * TOLERANCE for r in mine), 0),
        at_most("predicted_error_median", float(np.median(errors)) if errors else None, 0.05),
        at_most("drop_max", max(100 * (r["untouched"] - r["accuracy"]) for r in good) if whole else None, 0.5),
        at_most("second_device_s", before_s if whole else None, 120, absolute=True),
    ]
    finish("multi_device", rows, targets, options)


if __name__ == "__main__":
    sys.exit(main())
