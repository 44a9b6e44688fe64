"""A file out of a run, and a second opinion on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from chipfit.api.inputs import opened
from chipfit.api.result import Model, Result, ending_like, open_run, written
from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.types import Artifact, Plain
from chipfit.device.registry import DEVICES
from chipfit.export.formats import FORMATS, known_format
from chipfit.recipes import master
from chipfit.report.view import RunView
from chipfit.store.store import Store

CHECKED = 8
"""Inputs that a file is verified on: the reference implementation takes about a tenth of a second for each."""
FLOAT_TOLERANCE, INT8_TOLERANCE = 1e-3, 0.05
"""Shares of the largest logit: largest error of a float file, mean error of one with int8, where codes may differ."""
_FIRST_QDQ = 19
"""Opset from which ONNX's reference implementation knows QuantizeLinear; it means the same before."""


@dataclass(frozen=True, slots=True)
class Verified:
    """How a runtime's answers agree with those of ONNX's own reference implementation for the same network.

    Errors are shares of the largest logit; `agreement` is the share of inputs given the same class.
    """

    device: str
    inputs: int
    largest_error: float
    mean_error: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written, the model it holds, and how its verification went, where one was asked for."""

    path: Path
    model: Model
    size_mb: float
    verified: Verified | None

    def plain(self) -> dict[str, Plain]:
        """The same as JSON-ready values."""
        verified: dict[str, Plain] | None = None if self.verified is None else asdict(self.verified)
        return {"path": str(self.path), "size_mb": self.size_mb, "verified": verified, "model": self.model.plain()}


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
    `out` it is RUN/export/NAME-KEY with the format's ending; a format of several files writes the others beside it.
    `verify` loads the file back into a runtime and compares its answers with what ONNX's reference implementation,
    which shares no code with either, computes.

    Raises:
        BadInput: no such run, candidate or format, or a place that cannot be written.
        ChipfitError: the file does not pass its verification; it is not written.
    """
    result = open_run(run)
    model = _chosen(result, candidate)
    kept = model.artifacts()
    with Store(result.path, read_only=True) as store:
        blob = model.blob or ""
        if to is None:
            artifact = ending_like(out or "", kept)
        else:
            format = known_format(to)
            artifact = kept[format] if format in kept else master.write(store, blob, format)
        true = kept["onnx"] if "onnx" in kept else master.write(store, blob, "onnx") if verify else artifact
    verified = _verify(artifact, true.data, result.view) if verify else None
    if out is None:
        name = "-".join(model.name.split())
        out = result.path / "export" / f"{name}-{model.key[:8]}{FORMATS[artifact.format].suffix}"
        out.parent.mkdir(exist_ok=True)
    return Exported(written(out, artifact), model, artifact.size_mb, verified)


def _chosen(result: Result, candidate: str | None) -> Model:
    if candidate is not None:
        return result.find(candidate)
    if result.best is None:
        state = "has no final model" if result.view.finished else "has no final model yet; go on with chipfit resume"
        raise BadInput(f"run {result.path} {state}")
    return result.best


def _verify(artifact: Artifact, true: bytes, run: RunView) -> Verified:
    """Compares an artifact with the same network as ONNX bytes."""
    model = onnx.load_model_from_string(true)
    onnx.checker.check_model(model)
    inputs = _inputs(model, run)
    device = _runs(artifact.format)
    with opened(device) as on:
        got = on.run(artifact, inputs)
    want = _reference(model, inputs)
    scale = max(1.0, float(np.abs(want).max()))
    error = np.abs(got - want) / scale
    agreement = float((got.argmax(1) == want.argmax(1)).mean())
    found = Verified(device, len(inputs), float(error.max()), float(error.mean()), agreement)
    low = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    worst, allowed = (found.mean_error, INT8_TOLERANCE) if low else (found.largest_error, FLOAT_TOLERANCE)
    if not worst <= allowed:
        raise ChipfitError(
            f"the file answers differently from ONNX's reference implementation: {worst:.2g} of the largest logit, "
            f"allowed {allowed:g}; this is a fault of the exporter or of the runtime"
        )
    return found


def _runs(format: str) -> str:
    """A device that runs files of a format."""
    return next(name for name, kind in DEVICES.items() if format in (kind.format, name))


def _inputs(model: onnx.ModelProto, run: RunView) -> NDArray[np.float32]:
    """(CHECKED, C, H, W) random pictures, normalised as the run's data are."""
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    pixels = np.random.default_rng(0).random((CHECKED, *shape), np.float32)
    if not run.dataset.mean:
        return pixels
    form = (1, -1) + (1,) * (len(shape) - 1)
    mean, std = (np.asarray(v, np.float32).reshape(form) for v in (run.dataset.mean, run.dataset.std))
    normalised: NDArray[np.float32] = (pixels - mean) / std
    return normalised


def _reference(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import[0].version = max(_FIRST_QDQ, copy.opset_import[0].version)
    session, name = ReferenceEvaluator(copy), model.graph.input[0].name
    rows = [cast(list[Any], session.run(None, {name: x[None]}))[0] for x in inputs]
    return np.concatenate(rows)
