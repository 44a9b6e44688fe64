"""A network as OpenVINO's intermediate representation: what its own converter makes of our ONNX file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Final

import openvino as ov
from openvino import opset13 as opset

from chipfit.core.errors import BadInput
from chipfit.core.graph import Network
from chipfit.core.scratch import scratch_folder
from chipfit.core.types import Artifact
from chipfit.export import onnx
from chipfit.export.lower import Range

RAMP: Final = 1e-30
"""Step of a bias that changes no answer, and is neither taken away nor merged, as zeros and equal values would be.

[measured] OpenVINO 2026.4 compiles dense layers that follow one another into one kernel, whose answers are garbage (1e8
times too large) where an int8 layer without bias, or with one of zeros, is read by another; with any other it is right.
"""

WRITES: Final = onnx.WRITES
"""Kinds that have a form here: those of the ONNX file that it is converted from."""


def write(
    network: Network,
    *,
    ranges: Mapping[str, Range] | None = None,
    metadata: Mapping[str, str] = {},
    reduce_range: bool = False,
) -> Artifact:
    """The network's model.xml and model.bin, together in an uncompressed zip; float32 stays float32.

    Arguments and errors as for `export.onnx.write`; BadInput also where OpenVINO does not read the ONNX file.
    """
    file = onnx.write(network, ranges=ranges, metadata=metadata, reduce_range=reduce_range, ramp=RAMP)
    try:
        model = ov.Core().read_model(file.data)
    except RuntimeError as e:
        why = next((line.strip() for line in reversed(str(e).splitlines()) if line.strip()), "it does not say why")
        raise BadInput(f"this network cannot be written as openvino: OpenVINO does not read it ({why[:160]})") from e
    _keep_casts(model)
    for key, value in metadata.items():
        model.set_rt_info(value, ["chipfit", key])
    made = io.BytesIO()
    with scratch_folder() as folder, zipfile.ZipFile(made, "w") as together:
        ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
        for part in ("model.xml", "model.bin"):
            together.write(folder / part, part)
    return Artifact("openvino", made.getvalue(), network.graph)


def _keep_casts(model: ov.Model) -> None:
    """Makes casts to whole numbers cast numbers that are whole already: sign(x) · floor(|x|), which is the same.

    [measured] OpenVINO 2026.4 moves the scale of an int8 tensor past a cast that reads it, and so rounds other numbers.
    """
    for op in model.get_ops():
        if op.get_type_name() == "Convert" and _is_real(op.input_value(0)) and not _is_real(op.output(0)):
            given = op.input_value(0)
            whole = opset.multiply(opset.sign(given), opset.floor(opset.abs(given)))
            op.input(0).replace_source_output(whole.output(0))


def _is_real(value: ov.Output) -> bool:
    return bool(value.get_element_type().is_real())
