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
from chipfit.api.result import Model, Result, known_format, open_run
from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.graph import Graph, op
from chipfit.core.types import Artifact, Plain
from chipfit.report.view import RunView

CHECKED = 8
"""Inputs that a file is verified on: the reference implementation takes about a tenth of a second for each."""
FLOAT_TOLERANCE, INT8_TOLERANCE = 1e-3, 0.05
"""Shares of the largest logit: largest error of a float file, mean error of one with int8, where codes may differ."""
_FIRST_QDQ = 19
"""Opset from which ONNX's reference implementation knows QuantizeLinear; it means the same before."""


@dataclass(frozen=True, slots=True)
class Verified:
    """How the runtime's answers agree with those of ONNX's own reference implementation.

    Errors are shares of the largest logit; `agreement` is the share of inputs given the same class.
    """

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
    to: str = "onnx",
    out: str | Path | None = None,
    verify: bool = False,
) -> Exported:
    """Writes a model of a run as a file: the best one, or the candidate of this key, name or budget.

    Without `out` it is RUN/export/NAME-KEY.onnx. `verify` loads the file back and compares what the runtime answers
    with what ONNX's reference implementation, which shares no code with either, computes from it.

    Raises:
        BadInput: no such run, candidate or format, or a place that cannot be written.
        ChipfitError: the file does not pass its verification; it is not written.
    """
    known_format(to)
    result = open_run(run)
    model = _chosen(result, candidate)
    data = model.data()
    verified = _verify(data, result.view) if verify else None
    if out is None:
        name = "-".join(model.name.split())
        out = result.path / "export" / f"{name}-{model.key[:8]}.onnx"
        out.parent.mkdir(exist_ok=True)
    return Exported(model.export(out), model, len(data) / 1e6, verified)


def _chosen(result: Result, candidate: str | None) -> Model:
    if candidate is not None:
        return result.find(candidate)
    if result.best is None:
        state = "has no final model" if result.view.finished else "has no final model yet; go on with chipfit resume"
        raise BadInput(f"run {result.path} {state}")
    return result.best


def _verify(data: bytes, run: RunView) -> Verified:
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model)
    inputs = _inputs(model, run)
    got = _answers(data, inputs)
    want = _reference(model, inputs)
    scale = max(1.0, float(np.abs(want).max()))
    error = np.abs(got - want) / scale
    found = Verified(
        len(inputs), float(error.max()), float(error.mean()), float((got.argmax(1) == want.argmax(1)).mean())
    )
    low = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    worst, allowed = (found.mean_error, INT8_TOLERANCE) if low else (found.largest_error, FLOAT_TOLERANCE)
    if not worst <= allowed:
        raise ChipfitError(
            f"the file answers differently from ONNX's reference implementation: {worst:.2g} of the largest logit, "
            f"allowed {allowed:g}; this is a fault of the exporter or of the runtime"
        )
    return found


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


def _answers(data: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    shape = tuple(int(n) for n in inputs.shape[1:])
    with opened("local") as device:  # a runtime is asked about bytes; the graph is only their name
        return device.run(Artifact("onnx", data, Graph((op("input", "input", (), shape),), "input")), inputs)


def _reference(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import[0].version = max(_FIRST_QDQ, copy.opset_import[0].version)
    session, name = ReferenceEvaluator(copy), model.graph.input[0].name
    rows = [cast(list[Any], session.run(None, {name: x[None]}))[0] for x in inputs]
    return np.concatenate(rows)
