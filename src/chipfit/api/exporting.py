"""A file out of a run, and a second opinion on it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from chipfit.api.inputs import opened
from chipfit.api.result import Model, Result, ending_like, open_run, written
from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.task import CLASSIFICATION, TASKS, Task
from chipfit.core.types import Artifact, Plain
from chipfit.device.registry import DEVICES
from chipfit.export.formats import FORMATS, known_format, run_as
from chipfit.recipes import master
from chipfit.report.view import RunView
from chipfit.store.store import Store

CHECKED, LEAST_CHECKED, SECONDS = 64, 8, 30.0
"""Inputs that a file is verified on, at most and at least; the reference implementation gets so many seconds between.

It takes about a tenth of a second for a small network's input, and several for a large one's.
"""
FLOAT_TOLERANCE, INT8_TOLERANCE = 1e-3, 0.05
"""Shares of the largest answer: largest error of a float file, mean error of one with int8, where codes may differ."""
AGREEMENT = 0.95
"""Share of inputs that must be given the same class."""
FLOAT_TIE, INT8_TIE = 1e-3, 0.01
"""Classes whose logits lie closer (as a share of the largest) are a tie, of which either is right; 0.01 is one code."""
_FIRST_QDQ = 19
"""Opset from which ONNX's reference implementation knows QuantizeLinear; it means the same before."""


@dataclass(frozen=True, slots=True)
class Verified:
    """How a runtime's answers agree with those of ONNX's own reference implementation for the same network.

    Errors are shares of the largest answer; `agreement` is the share of inputs (of positions, of labels) given the same
    class, 1 where answers are numbers.
    """

    device: str
    inputs: int
    largest_error: float
    mean_error: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written, the model it holds, and how its verification went, where one was asked for.

    `note` says in what the file differs from the one that was measured.
    """

    path: Path
    model: Model
    size_mb: float
    verified: Verified | None
    note: str = ""

    def plain(self) -> dict[str, Plain]:
        """The same as JSON-ready values."""
        verified: dict[str, Plain] | None = None if self.verified is None else asdict(self.verified)
        told: dict[str, Plain] = {"path": str(self.path), "size_mb": self.size_mb, "note": self.note}
        return told | {"verified": verified, "model": self.model.plain()}


def export(
    run: str | Path,
    *,
    candidate: str | None = None,
    to: str | None = None,
    out: str | Path | None = None,
    verify: bool = False,
) -> Exported:
    """Writes a model of a run as a file: the best one, or the candidate of this key, name or budget.

    Without `to` it is the file that was measured (of several the one that ends like `out`, else the first). Without
    `out` it is RUN/export/NAME-KEY with the format's ending; a format of several files writes the others beside it. A
    format without int8 gets the network in float32.
    `verify` loads the file back into a runtime and compares its answers with what ONNX's reference implementation,
    which shares no code with either, computes: answers, and the class of 95 % of the inputs at least.

    Raises:
        BadInput: no such run, candidate or format, or a place that cannot be written.
        ChipfitError: the file does not pass its verification; it is not written.
    """
    result = open_run(run)
    model = _chosen(result, candidate)
    kept = model.artifacts()
    with Store(result.path, read_only=True) as store:
        made = _made(store, model, kept, to, out)
        true = made.artifact
        if verify and run_as(made.artifact.format) != "onnx":
            measured = kept.get("onnx") if not made.float32 else None
            true = measured or master.write(store, model.blob or "", "onnx", float32=made.float32)
        samples = (store.arrays("samples") or {}).get("inputs")
    verified = _verify(made.artifact, true.data, result.view, samples) if verify else None
    if out is None:
        name = "-".join(model.name.split())
        form = made.artifact.format
        kind = form.removeprefix(run_as(form)) if form not in kept else ""  # beside the measured file, not in its place
        out = result.path / "export" / f"{name}-{model.key[:8]}{kind}{FORMATS[form].suffix}"
        out.parent.mkdir(exist_ok=True)
    where = written(out, made.artifact)
    return Exported(where, model, made.artifact.size_mb, verified, _note(made))


@dataclass(frozen=True, slots=True)
class _Made:
    """A file to be written; `float32` where it is so because its format has no int8."""

    artifact: Artifact
    float32: bool = False


def _note(made: _Made) -> str:
    """In what the file differs from the one that was measured."""
    if made.float32:
        return f"{made.artifact.format} has no int8: written in float32, of which no latency was measured"
    if made.artifact.format == "onnx-batch":
        return "the batch axis is open; latency was measured of the file for one input"
    return ""


def _made(store: Store, model: Model, kept: Mapping[str, Artifact], to: str | None, out: str | Path | None) -> _Made:
    """The file that was measured, or the network behind it in another format."""
    if to is None:
        return _Made(ending_like(out or "", kept))
    format, blob = known_format(to), model.blob or ""
    if format in kept:
        return _Made(kept[format])
    float32 = master.needs_float(store, blob, format)
    return _Made(master.write(store, blob, format, float32=float32), float32)


def _chosen(result: Result, candidate: str | None) -> Model:
    if candidate is not None:
        return result.find(candidate)
    if result.best is None:
        state = "has no final model" if result.view.finished else "has no final model yet; go on with chipfit resume"
        raise BadInput(f"run {result.path} {state}")
    return result.best


def _verify(artifact: Artifact, true: bytes, run: RunView, samples: NDArray[np.float32] | None) -> Verified:
    """Compares an artifact with the same network as ONNX bytes, on inputs of the run where it kept some."""
    model = onnx.load_model_from_string(true)
    onnx.checker.check_model(model)
    device = _runs(artifact.format)
    given = _noise(model, run) if samples is None else samples[:CHECKED]
    want = _reference(model, given)
    inputs = given[: len(want)]
    with opened(device) as on:
        got = on.run(artifact, inputs)
    low = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    task = replace(TASKS.get(run.task.name, CLASSIFICATION), probabilities=run.task.probabilities)
    found = _compared(device, got, want, INT8_TIE if low else FLOAT_TIE, task)
    worst, allowed = (found.mean_error, INT8_TOLERANCE) if low else (found.largest_error, FLOAT_TOLERANCE)
    if not worst <= allowed:
        raise ChipfitError(
            f"the file answers differently from ONNX's reference implementation: {worst:.2g} of the largest answer, "
            f"allowed {allowed:g}; this is a fault of the exporter or of the runtime"
        )
    if found.agreement < AGREEMENT:
        raise ChipfitError(
            f"the file answers differently from ONNX's reference implementation: the same class in "
            f"{100 * found.agreement:.0f} % of {found.inputs} inputs, at least {100 * AGREEMENT:.0f} % are wanted; "
            "ship the file that was measured, or measure this one on its device"
        )
    return found


def _compared(
    device: str, got: NDArray[np.float32], want: NDArray[np.float32], tie: float, task: Task = CLASSIFICATION
) -> Verified:
    """Errors and agreement of answers (n, ...); a class is the same if the reference has it within a tie."""
    scale = max(1.0, float(np.abs(want).max()))
    error = np.abs(got - want) / scale
    agreement = float(_same(got, want, tie * scale, task).mean()) if np.isfinite(error).all() else 0.0
    return Verified(device, len(want), float(error.max()), float(error.mean()), agreement)


def _same(got: NDArray[np.float32], want: NDArray[np.float32], tie: float, task: Task) -> NDArray[np.bool_]:
    """Where the same class is chosen, or the same yes or no; everywhere where answers are numbers."""
    if task.divergence == "squared":
        return np.ones(1, np.bool_)
    if task.divergence == "bernoulli":
        t = task.threshold
        alike: NDArray[np.bool_] = ((got > t) == (want > t)) | (np.abs(want - t) <= tie)
        return alike
    chosen = np.take_along_axis(want, got.argmax(task.axis, keepdims=True), task.axis).squeeze(task.axis)
    near: NDArray[np.bool_] = want.max(task.axis) - chosen <= tie
    return near


def _runs(format: str) -> str:
    """A device that runs files of a format.

    Raises:
        BadInput: none does.
    """
    wanted = run_as(format)
    found = next((name for name, kind in DEVICES.items() if wanted in (kind.format, name)), None)
    if found is None:
        raise BadInput(f"nothing runs {format} files, so they cannot be verified; leave --verify out")
    return found


def _noise(model: onnx.ModelProto, run: RunView) -> NDArray[np.float32]:
    """(CHECKED, C, H, W) random pictures, normalised as the run's data are: for runs that kept no inputs."""
    kind = model.graph.input[0].type.tensor_type
    shape = [d.dim_value for d in kind.shape.dim][1:]
    if kind.elem_type != onnx.TensorProto.FLOAT:
        return np.zeros((CHECKED, *shape), np.float32)
    pixels = np.random.default_rng(0).random((CHECKED, *shape), np.float32)
    if not run.dataset.mean:
        return pixels
    form = (1, -1) + (1,) * (len(shape) - 1)
    mean, std = (np.asarray(v, np.float32).reshape(form) for v in (run.dataset.mean, run.dataset.std))
    normalised: NDArray[np.float32] = (pixels - mean) / std
    return normalised


def _reference(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Answers for the first inputs: for all of them, or for as many as there is time for."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import[0].version = max(_FIRST_QDQ, copy.opset_import[0].version)
    session, name, rows = ReferenceEvaluator(copy), model.graph.input[0].name, []
    dtype = onnx.helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    began = time.monotonic()
    for n, x in enumerate(inputs):
        if n >= LEAST_CHECKED and time.monotonic() - began > SECONDS:
            break
        rows.append(cast(list[Any], session.run(None, {name: x[None].astype(dtype, copy=False)}))[0])
    return np.concatenate(rows)
