"""The formats a network can be written in, by name: a device names the one it takes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.graph import Graph, Network, Op
from chipfit.core.types import Artifact
from chipfit.export.dummy import dummy_ranges, random_weights
from chipfit.export.lower import Range


@dataclass(frozen=True, slots=True)
class Format:
    """One format: the end of its files' names, the module with its `write`, the package that needs, its precisions.

    `run_as` is the format that runtimes take its files for, "" for itself. With `rounds` its weights are numbers on a
    grid, and its module has `rounded`, the network with these. `plain` is what layers compute in that are not int8.
    """

    suffix: str
    module: str
    requires: str
    bits: tuple[int, ...] = (32, 8)
    run_as: str = ""
    rounds: bool = False
    plain: str = "fp32"


FORMATS: Final[Mapping[str, Format]] = {
    "onnx": Format(".onnx", "chipfit.export.onnx", "onnx"),
    "onnx-batch": Format(".onnx", "chipfit.export.batched", "onnx", run_as="onnx"),
    "onnx-fixed": Format(".onnx", "chipfit.export.fixed", "onnx", run_as="onnx", rounds=True, plain="16-bit"),
    "safetensors": Format(".safetensors", "chipfit.export.safetensors", "safetensors", (32,)),
    "ncnn": Format(".param", "chipfit.export.ncnn", "numpy", (32,)),
    "tflite": Format(".tflite", "chipfit.export.tflite", "ai_edge_litert"),
    "openvino": Format(".xml", "chipfit.export.openvino", "openvino"),
}

ALIASES: Final[Mapping[str, str]] = {"litert": "tflite"}
"""Other names that users know formats by."""


class Writer(Protocol):
    """What each format's module has as `write`, beside the kinds of operators it has a form of (`WRITES`).

    The file with batch norm folded and batch 1; `ranges` holds the least and the greatest value of each tensor by
    operator name, needed for what int8 operators read and write; `metadata` is kept in the file; `reduce_range` gives
    int8 weights 7 bits. Raises ValueError for a range that is needed and missing, or an operator without a form.
    """

    def __call__(
        self,
        network: Network,
        *,
        ranges: Mapping[str, Range] | None = None,
        metadata: Mapping[str, str] = {},
        reduce_range: bool = False,
    ) -> Artifact: ...


def plain_numbers(format: str) -> str:
    """What layers of such files compute in that are not int8, such as fp32; of several formats together fp32."""
    return FORMATS[format].plain if format in FORMATS else "fp32"


def known_format(name: str) -> str:
    """The format of that name.

    Raises:
        BadInput: there is none; says which there are.
    """
    found = ALIASES.get(name, name)
    if found not in FORMATS:
        known = [*FORMATS, *ALIASES]
        raise BadInput(f"format {name!r} is unknown{did_you_mean(name, known)}; known: {', '.join(known)}")
    return found


def run_as(format: str) -> str:
    """The format that runtimes take files of this one for."""
    known = FORMATS.get(format)
    return format if known is None else known.run_as or format


def as_written(network: Network, format: str) -> Network:
    """The network with the weights that files of a format hold."""
    known = FORMATS[format]
    if not known.rounds:
        return network
    made: Network = import_module(known.module).rounded(network)
    return made


def bundle(artifacts: Sequence[Artifact]) -> Artifact:
    """One network's artifacts of different formats as one, whose format names theirs: "onnx+tflite"."""
    if len(artifacts) == 1:
        return artifacts[0]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as together:
        for a in artifacts:
            # a fixed date, so that equal networks make equal bytes
            together.writestr(zipfile.ZipInfo(a.format), a.data)
    return Artifact("+".join(a.format for a in artifacts), made.getvalue(), artifacts[0].graph)


def unbundled(artifact: Artifact) -> dict[str, Artifact]:
    """Format -> artifact of what `bundle` put together."""
    names = artifact.format.split("+")
    if len(names) == 1:
        return {artifact.format: artifact}
    with zipfile.ZipFile(io.BytesIO(artifact.data)) as together:
        return {name: Artifact(name, together.read(name), artifact.graph) for name in names}


def files(artifact: Artifact) -> dict[str, bytes]:
    """End of the name -> bytes of each file of an artifact, the one that names the others first."""
    data = artifact.data
    if "+" in artifact.format:
        return {end: part for a in unbundled(artifact).values() for end, part in files(a).items()}
    if artifact.format == "openvino":
        with zipfile.ZipFile(io.BytesIO(data)) as together:
            return {Path(name).suffix: together.read(name) for name in together.namelist()}
    if artifact.format == "ncnn":
        end = 8 + int.from_bytes(data[:8], "little")
        return {".param": data[8:end], ".bin": data[end:]}
    return {FORMATS[artifact.format].suffix: data}


def writer(format: str) -> Writer:
    """The writer of a format.

    What it writes raises BadInput where the format cannot express a network.

    Raises:
        BadInput: a package that it needs is not installed; says the pip line.
    """
    known = FORMATS[format]
    if find_spec(known.requires) is None:
        package = known.requires.replace("_", "-")
        raise BadInput(f"{format} files need {package}, which is not installed; run: pip install {package}")
    write: Writer = import_module(known.module).write

    @wraps(write)
    def told(network: Network, **options: Any) -> Artifact:
        if strangers := unwritable(network.graph, format):
            o = strangers[0]
            raise BadInput(
                f"this network cannot be written as {format}: it has no form of operator {o.name!r} ({o.kind})"
            )
        try:
            return write(network, **options)
        except ValueError as e:  # an operator, a precision or a range that the format has no form of
            raise BadInput(f"this network cannot be written as {format}: {e}") from e

    return told


def unwritable(graph: Graph, format: str) -> tuple[Op, ...]:
    """Operators of kinds that a format has no form of; its module names those that it has."""
    writes: frozenset[str] = import_module(FORMATS[format].module).WRITES
    return tuple(o for o in graph if o.kind not in writes)


def only_float(graph: Graph, runtime: str) -> None:
    """Refuses int8 operators, for writers that have none.

    Raises:
        ValueError: an operator has 8 bits.
    """
    for o in graph:
        if o.bits == 8:
            raise ValueError(f"{runtime} has no int8 form of operator {o.name!r} ({o.kind}); ask for fp32")


def timing_artifact(graph: Graph, format: str = "onnx") -> Artifact:
    """A file of the graph with random weights and invented ranges, to runtimes like trained ones (see `dummy`)."""
    weights = random_weights(graph, np.random.default_rng(0))
    return writer(format)(Network(graph, weights), ranges=dummy_ranges(graph))


def timing_bytes(graph: Graph, format: str) -> bytes:
    """The bytes alone, as devices ask for them."""
    return timing_artifact(graph, format).data
