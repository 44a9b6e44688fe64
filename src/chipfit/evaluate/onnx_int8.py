"""An ONNX file in int8 as ONNX Runtime quantises it: good for timing only, because no data of the user's is there.

QDQ form, activations uint8 with a scale each, weights int8 with a scale for each channel, calibrated on one standard
normal input. Time depends on the operators and not on the ranges; accuracy depends on both.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.helper import tensor_dtype_to_np_dtype
from onnxruntime import (
    GraphOptimizationLevel,
    InferenceSession,
    SessionOptions,
    quantization,
    set_default_logger_severity,
)

from chipfit.core.errors import ChipfitError
from chipfit.core.scratch import scratch_folder
from chipfit.core.types import Artifact
from chipfit.device.engines.engine import seeded
from chipfit.evaluate.onnx_counts import inputs
from chipfit.nets.onnx.plain import QUANTISED

OPSET = 13
"""The first with a scale for each channel."""


def quantised(file: Artifact, *, reduce_range: bool = False) -> Artifact:
    """The file in int8, for timing.

    Args:
        file: as `onnx_file.read` gives it.
        reduce_range: weights of 7 bits, for x86 processors without VNNI.

    Raises:
        ChipfitError: it cannot be quantised, or is already; says why in one line.
    """
    step = "it cannot be read"
    try:
        with scratch_folder() as folder, _silence():
            ready, made = folder / "ready.onnx", folder / "int8.onnx"
            model = onnx.load_from_string(file.data)
            _check_not_quantised(model)
            sample = _sample(model)
            step = f"it cannot be brought to operator set {OPSET}"
            if any(o.domain in ("", "ai.onnx") and o.version < OPSET for o in model.opset_import):
                model = onnx.version_converter.convert_version(model, OPSET)
            step = "its constants cannot be folded"
            _fold(model, ready)
            step = "it cannot be calibrated or quantised"
            quantization.quantize_static(
                ready,
                made,
                _Once(sample),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
            data = made.read_bytes()
    except ChipfitError:
        raise
    except Exception as e:  # converter, runtime and quantiser share no base class, and all speak of the file here
        lines = str(e).strip().splitlines() or [type(e).__name__]
        raise ChipfitError(f"{step}: {' '.join(lines[0].split())[:200]}") from e
    if not any(n.op_type == "QuantizeLinear" for n in onnx.load_from_string(data).graph.node):
        raise ChipfitError("it holds no operator that ONNX Runtime quantises outside an If or a Loop")
    return Artifact("onnx", data, file.graph)


def _fold(model: onnx.ModelProto, to: Path) -> None:
    """Writes the model with constants folded and batch norm fused, so that weights are weights to the quantiser.

    `quant_pre_process` does the same, but fails on models in memory (1.31: small tensors become external data).
    """
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(to)
    options.log_severity_level = 4
    InferenceSession(
        model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["ConstantSharing"],  # one bias of two layers would have one scale
    )
    # A MatMul and an Add of (1, n) have become a Gemm, whose bias the quantiser takes to be (n,).
    folded = onnx.load(to)
    biases = {n.input[2] for n in folded.graph.node if n.op_type == "Gemm" and len(n.input) > 2}
    for t in folded.graph.initializer:
        if t.name in biases and len(t.dims) == 2 and t.dims[0] == 1:
            del t.dims[0]
    onnx.save(folded, to)


class _Once(quantization.CalibrationDataReader):  # type: ignore[misc]
    """One sample, once."""

    def __init__(self, sample: dict[str, NDArray[Any]]) -> None:
        self._left: Iterator[dict[str, NDArray[Any]]] = iter([sample])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._left, None)


def _sample(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """What a device feeds."""
    rng = np.random.default_rng(0)
    made = {}
    for given in inputs(model.graph):
        kind = given.type.tensor_type
        made[given.name] = seeded(rng, [d.dim_value for d in kind.shape.dim], tensor_dtype_to_np_dtype(kind.elem_type))
    return made


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Quantiser and runtime warn of what there is nothing to do about; what fails is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    set_default_logger_severity(4)
    try:
        yield
    finally:
        set_default_logger_severity(2)
        logging.disable(before)


def _check_not_quantised(model: onnx.ModelProto) -> None:
    """Raises ChipfitError for a file in int8: rounded twice, it would be neither the file nor its int8 version."""
    if any(n.op_type in QUANTISED or n.op_type == "QuantizeLinear" for n in model.graph.node):
        raise ChipfitError("it is in int8 as it is")
