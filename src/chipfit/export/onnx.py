"""Graph and weights to ONNX bytes, directly: about a thousandth of the price of `torch.onnx.export`.

Operators with `bits == 8` are written as QDQ (`export.qdq`); everything else is float32. Each node that does an
operator's work is named like the operator of the folded graph; what was added to it is named `<operator>/<part>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, ValueInfoProto
from onnx.helper import make_tensor_value_info

from chipfit.core.channels import array_axis
from chipfit.core.graph import Graph, Network, Op
from chipfit.core.ports import ports_of
from chipfit.core.types import Artifact
from chipfit.export import opaque, ports
from chipfit.export.lower import Range, prepared
from chipfit.export.nodes import EMIT
from chipfit.export.qdq import Grid, grids, int_arrays, quantised
from chipfit.export.sheet import GELU_OPSET, OPSET, Sheet, raise_opset

IR_VERSION: Final = 9
INPUT: Final = "input"
OUTPUT: Final = "logits"
WRITES: Final = frozenset(EMIT) | {"input", "silu", "opaque"}
"""Kinds that have a form here; a silu is written as a sigmoid and a product."""


def write(
    network: Network,
    *,
    ranges: Mapping[str, Range] | None = None,
    batch: int | None = 1,
    name: str = "model",
    metadata: Mapping[str, str] = {},
    reduce_range: bool = False,
    ramp: float = 0.0,
) -> Artifact:
    """The network as an ONNX file (opset 18; 20 with gelu) with input "input" and output "logits", batch norm folded.

    A network of several inputs has each of them in the file, by its own name (`core.ports`).

    Args:
        network: graph and arrays.
        ranges: least and greatest value of each tensor, by operator name, of the graph as given or folded; needed only
            for what operators with `bits == 8` read and write.
        batch: size of the batch axis; None leaves it open, as "n".
        name: of the graph in the file.
        metadata: kept in the file's `metadata_props`.
        reduce_range: int8 weights of 7 bits, for x86 processors without VNNI.
        ramp: step of the bias 1, 2, 3, ... steps that an int8 dense layer without one gets where another reads it, for
            runtimes that want one.

    Returns:
        The file, with the graph as given.

    Raises:
        ValueError: a range that is needed is missing or no range.
    """
    lowered, known = prepared(network, ranges)
    graph = lowered.graph
    job = _Job(Sheet(), lowered, grids(graph, known), quantised(graph), reduce_range, ramp, batch)
    for o in graph:
        _emit(job, o)
    return Artifact("onnx", _model(job, name, _ends(graph, batch), metadata).SerializeToString(), network.graph)


def _ends(graph: Graph, batch: int | None) -> list[ValueInfoProto]:
    """The inputs of the file, and its output last."""
    whole = TensorProto.INT64 if graph.ops[0].get("integer") else TensorProto.FLOAT
    inputs = ports.inputs(ports_of(graph.ops[0]), OUTPUT) or [(INPUT, whole, graph.input_shape)]
    ends = [*inputs, (OUTPUT, TensorProto.FLOAT, graph[graph.output].shape)]
    rows = "n" if batch is None else batch
    return [make_tensor_value_info(name, kind, [rows, *shape]) for name, kind, shape in ends]


@dataclass(frozen=True, slots=True)
class _Job:
    """A lowered network, how its tensors are quantised, and the sheet it is written on."""

    sheet: Sheet
    network: Network
    grids: Mapping[str, Grid]
    made: Mapping[str, bool]
    reduce_range: bool
    ramp: float
    batch: int | None


def _model(job: _Job, name: str, ends: Sequence[ValueInfoProto], metadata: Mapping[str, str]) -> ModelProto:
    """The whole file of what was written on the sheet; `ends` are its inputs and its output."""
    opset = OPSET
    if any(o.kind in ("gelu", "gelu_tanh") for o in job.network.graph):
        opset = GELU_OPSET
        raise_opset(job.sheet)
    body = GraphProto(name=name, node=job.sheet.nodes, initializer=job.sheet.constants.values())
    body.input.extend(ends[:-1])
    body.output.append(ends[-1])
    return ModelProto(
        ir_version=IR_VERSION,
        producer_name="chipfit",
        opset_import=[OperatorSetIdProto(domain="", version=opset)],
        graph=body,
        metadata_props=[StringStringEntryProto(key=k, value=v) for k, v in metadata.items()],
    )


def _emit(job: _Job, o: Op) -> None:
    """Writes an operator, and the quantisation of what it makes."""
    graph, sheet, out = job.network.graph, job.sheet, _tensor(job, o.name)
    made = job.made.get(o.name)
    raw = f"{o.name}/float" if made else out
    if o.kind == "opaque":
        shapes = [graph[i].shape for i in o.inputs]
        opaque.write(sheet, o, [_read(job, o, i) for i in o.inputs], raw, shapes, job.network.weights, job.batch)
    elif port := ports.cut_out(graph, o):
        ports.row_of(sheet, port, OUTPUT, raw)
    elif o.kind != "input":
        ins = [_read(job, o, i) for i in o.inputs] + _arrays(job, o)
        if o.kind == "concat" and job.batch != 1:
            ins = [_repeated(job, o, n) if graph[o.inputs[n]].kind == "constant" else i for n, i in enumerate(ins)]
        EMIT[o.kind](sheet, o, ins, raw, graph.in_shapes(o))
    elif ports_of(o) and ports.read_whole(graph, o, made is not None):
        ports.together(sheet, ports_of(o), OUTPUT, out)
    elif o.name == graph.output:
        sheet.node("Identity", [INPUT], OUTPUT)
    if made is not None:
        _quantise(job, o, raw, out if made else f"{o.name}/int8")


def _repeated(job: _Job, o: Op, n: int) -> str:
    """A constant among the inputs of a concatenation, which has to be there for each input of the batch."""
    graph, sheet, part = job.network.graph, job.sheet, f"{o.name}/{n}"
    other = next(i for i in o.inputs if graph[i].kind != "constant")
    alone = sheet.constant(f"{o.name}/alone", np.ones(len(o.shape), np.int64))
    size = sheet.node("Shape", [_read(job, o, other)], f"{part}/size", start=0, end=1)
    shape = sheet.node("Concat", [size, alone], f"{part}/shape", axis=0)
    return sheet.node("Expand", [_read(job, o, o.inputs[n]), shape], f"{part}/repeated")


def _quantise(job: _Job, o: Op, raw: str, out: str) -> None:
    """Writes the quantised form of an operator's output, and what reads it back."""
    graph, sheet, grid = job.network.graph, job.sheet, job.grids[o.name]
    step = sheet.constant(f"{grid.name}/q/step", grid.step)
    zero = sheet.constant(f"{grid.name}/q/zero", np.uint8(grid.zero))
    whole = sheet.node("QuantizeLinear", [raw, step, zero], f"{o.name}/q")
    guarded = [_guarded(job, graph[u], o.name) for u in graph.users[o.name]]
    if not all(guarded) or o.name == graph.output:
        sheet.node("DequantizeLinear", [whole, step, zero], out, f"{o.name}/dq")
    if any(guarded):
        steps = sheet.constant(f"{o.name}/q/steps", np.full(o.shape[0], grid.step))
        zeros = sheet.constant(f"{o.name}/q/zeros", np.full(o.shape[0], grid.zero, np.uint8))
        sheet.node("DequantizeLinear", [whole, steps, zeros], f"{o.name}/guarded", axis=1)


def _guarded(job: _Job, o: Op, name: str) -> bool:
    """True where a float layer reads an int8 tensor.

    It reads it through a scale for each channel, all equal, at no cost: ONNX Runtime would quantise the weights of a
    float convolution between one scale and the next on its own (its `WeightBiasQuantization`), as one tensor.
    """
    return o.bits == 32 and o.kind in ("conv", "linear") and job.made.get(name) is True


def _tensor(job: _Job, name: str) -> str:
    """The name of an operator's output in the file."""
    graph = job.network.graph
    if name == graph.output:
        return OUTPUT
    given = ports_of(graph.ops[0])
    if name == graph.ops[0].name:
        return ports.ROW if given else INPUT
    ends = {INPUT, OUTPUT, *(p.name for p in given)}
    return f"{name}/value" if name in ends else name


def _read(job: _Job, o: Op, name: str) -> str:
    """The name under which an operator reads a tensor: its quantised form where the operator is int8."""
    if _guarded(job, o, name):
        return f"{name}/guarded"
    return f"{name}/int8" if o.bits == 8 and job.made.get(name) is False else _tensor(job, name)


def _arrays(job: _Job, o: Op) -> list[str]:
    """The names of an operator's arrays, in the order of its ONNX inputs."""
    graph, weights = job.network.graph, job.network.weights
    keys = list(graph.weight_shapes(o))
    if o.kind in ("affine", "prelu"):  # broadcast over what is behind the channels
        behind = len(o.shape) - 1 - array_axis(o)
        form = (-1, *(1,) * behind)
        arrays = {f"{k}/{behind + 1}": np.asarray(weights[k], np.float32).reshape(form) for k in keys}
        return [job.sheet.constant(name, array) for name, array in arrays.items()]
    if o.kind == "constant":  # once for all inputs
        return [job.sheet.constant(f"{o.name}/array", np.asarray(weights[keys[0]], np.float32)[None])]
    if not keys or o.bits == 32:
        return [job.sheet.constant(k, np.asarray(weights[k], np.float32)) for k in keys]
    low = int_arrays(*(weights[k] for k in keys), step=job.grids[o.inputs[0]].step, reduce_range=job.reduce_range)
    names = [_dequantised(job.sheet, f"{o.name}/weight", low.weight, low.weight_scale)]
    without = low.bias is None or not low.bias.any()
    if job.ramp and without and o.kind == "linear" and o.name != graph.output:
        ramp = job.ramp * np.arange(1, o.shape[-1] + 1)
        names.append(job.sheet.constant(f"{o.name}/bias", ramp.astype(np.float32)))
    elif low.bias is not None:
        names.append(_dequantised(job.sheet, f"{o.name}/bias", low.bias, low.bias_scale))
    return names


def _dequantised(
    sheet: Sheet, name: str, whole: NDArray[np.int8] | NDArray[np.int32], scale: NDArray[np.float32]
) -> str:
    ins = [
        sheet.constant(f"{name}/int", whole),
        sheet.constant(f"{name}/scale", scale),
        sheet.constant(f"{name}/zero", np.zeros(len(scale), whole.dtype)),
    ]
    return sheet.node("DequantizeLinear", ins, name, axis=0)
