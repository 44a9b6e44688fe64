"""An ONNX file that was not made here: open dimensions fixed, nodes named. What it computes stays the runtime's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, ValueInfoProto
from onnx.helper import tensor_dtype_to_np_dtype

from chipfit.core.errors import BadInput
from chipfit.core.types import Artifact
from chipfit.evaluate.onnx_counts import counted, inputs, subgraphs
from chipfit.nets.onnx.order import sort_nodes

Shape = tuple[int, ...]


def read(path: str, shape: Sequence[int] | None = None) -> Artifact:
    """The file with its inputs' dimensions fixed, every node named and in running order; its operators as a Graph.

    Args:
        path: of the file; weights that it keeps in files of their own are read too.
        shape: of the first input that leaves more than its batch open, with or without the batch axis. Dimensions of
            one name are equal; all others that are open become 1. Without `shape` only the batch (axis 0) may be open.

    Raises:
        BadInput: not an ONNX file, an input or output that is no tensor of numbers, a shape that is missing or wrong.
    """
    model = _loaded(path)
    for value in (*inputs(model.graph), *model.graph.output):
        _check_type(path, value)
    _fix(path, model.graph, None if shape is None else tuple(shape))
    _name_nodes(model.graph, {i.name for i in inputs(model.graph)})
    try:
        return Artifact("onnx", model.SerializeToString(), counted(model))
    except (EncodeError, ValueError) as e:
        raise BadInput(f"{path} is larger than the 2 GB that one ONNX message can hold; split it") from e


def _loaded(path: str) -> ModelProto:
    place = Path(path).expanduser()
    try:
        model = onnx.load(place)
    except OSError as e:
        raise BadInput(f"{path} cannot be read: {e.strerror or e}") from e
    except (DecodeError, onnx.checker.ValidationError) as e:
        raise BadInput(f"{path} is not a whole ONNX file: {_line(e)}") from e
    if not model.graph.node:
        raise BadInput(f"{path} holds no operators; give an ONNX model")
    sort_nodes(path, model.graph)
    return model


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_type(path: str, value: ValueInfoProto) -> None:
    """Raises BadInput for what cannot be made up or looked at: sequences, maps, texts."""
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "unknown"
        raise BadInput(f"{path}: {value.name!r} is of {kind.replace('_', ' ')}; only tensors can be fed and timed")
    if (kind := tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).kind not in "fiub":
        raise BadInput(f"{path}: {value.name!r} holds {kind}; only numbers can be fed and timed")


@dataclass(slots=True)
class _Dim:
    """One dimension of an input; a name such as "?" or "" is none, and a value below 1 says nothing."""

    proto: onnx.TensorShapeProto.Dimension

    @property
    def open(self) -> bool:
        return self.proto.dim_value < 1

    @property
    def name(self) -> str:
        return "" if self.proto.dim_param == "?" else self.proto.dim_param

    def __str__(self) -> str:
        return (self.name or "?") if self.open else str(self.proto.dim_value)


def _fix(path: str, graph: GraphProto, shape: Shape | None) -> None:
    """Gives every open dimension of the inputs a value."""
    dims = {i.name: [_Dim(d) for d in i.type.tensor_type.shape.dim] for i in inputs(graph)}
    values = {ds[0].name: 1 for ds in dims.values() if len(ds) > 1 and ds[0].open and ds[0].name}  # the batch
    if shape is not None:
        unknown = (n for n, ds in dims.items() if any(d.open and d.name not in values for d in ds[1:]))
        first = next(unknown, next((n for n, ds in dims.items() if ds), None))
        if first is None:
            raise BadInput(f"{path} has no input with dimensions; leave --input-shape out")
        _fix_to(path, first, dims[first], shape, values)
    for name, ds in dims.items():
        text = _told(ds)
        for axis, d in enumerate(ds):
            if d.open:
                known = values.get(d.name, 1 if axis == 0 or shape is not None else None)
                if known is None:
                    wanted = ",".join("N" if x.open else str(x) for x in ds[1:])
                    raise BadInput(f"{path}: input {name!r} is ({text}); say what is open: --input-shape {wanted}")
                d.proto.dim_value = known


def _fix_to(path: str, name: str, dims: Sequence[_Dim], shape: Shape, values: dict[str, int]) -> None:
    """The shape that the user gave; what its dimensions are called is noted in `values`."""
    whole = (1, *shape) if len(shape) == len(dims) - 1 else shape
    agrees = len(whole) == len(dims) and all(d.open or d.proto.dim_value == n for d, n in zip(dims, whole, strict=True))
    if not agrees:
        told = ",".join(map(str, shape))
        raise BadInput(f"{path}: input {name!r} is ({_told(dims)}), which --input-shape {told} does not fit")
    for d, n in zip(dims, whole, strict=True):
        if d.name:
            values[d.name] = n
        d.proto.dim_value = n


def _told(dims: Iterable[_Dim]) -> str:
    return ", ".join(map(str, dims))


def _name_nodes(graph: GraphProto, taken: set[str]) -> None:
    """Names each node after its first output: runtimes call what they fuse by its output or by its last node."""
    for node in graph.node:
        node.name = _unused(next((o for o in node.output if o), node.op_type), taken)
        for body in subgraphs(node):
            _name_nodes(body, taken)


def _unused(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; now it is."""
    found, n = name, 1
    while found in taken:
        n += 1
        found = f"{name}:{n}"
    taken.add(found)
    return found
