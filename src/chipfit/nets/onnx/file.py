"""Reads an ONNX file, with weights that it keeps in files of their own, and refuses what is none in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto
from onnx.external_data_helper import load_external_data_for_tensor

from chipfit.core.errors import BadInput
from chipfit.nets.onnx.order import sort_nodes

MOST_BYTES = 4 * 2**30
"""Bytes of a file and of the weights beside it together."""

MOST_NODES = 100_000
"""Nodes of a file, those of bodies not counted."""


def read(path: Path) -> ModelProto:
    """The model of a file, all its weights in it, its nodes in running order.

    Raises:
        BadInput: no such file, not a whole one, or too large; nodes in a circle; weights beside it that are missing,
            cut short or outside of its folder.
    """
    data = _bytes(path)
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as e:
        raise BadInput(f"{path} is not a whole ONNX file: {_line(e)}") from e
    if not model.graph.node:
        raise BadInput(f"{path} holds no operators; give an ONNX model")
    if len(model.graph.node) > MOST_NODES:
        raise BadInput(f"{path} holds {len(model.graph.node)} nodes, at most {MOST_NODES} are read")
    sort_nodes(str(path), model.graph)
    _bring_in(path, model, len(data))
    return model


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BadInput(f"{path} has {size / 1e9:.1f} GB, at most {MOST_BYTES / 1e9:.1f} are read")
        return path.read_bytes()
    except OSError as e:
        raise BadInput(f"{path} cannot be read: {e.strerror or e}") from e


def _bring_in(path: Path, model: ModelProto, size: int) -> None:
    """Reads the weights that are beside the file into the model.

    A place outside of the file's folder is refused: a model that was downloaded could name any file.
    """
    folder = path.resolve().parent
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        place, length = _place(path, folder, tensor)
        size += length
        if size > MOST_BYTES:
            raise BadInput(f"{path} and its weights have more than {MOST_BYTES / 1e9:.1f} GB, which are not read")
        try:
            load_external_data_for_tensor(tensor, str(folder))
        except (OSError, ValueError, onnx.checker.ValidationError) as e:
            raise BadInput(f"{path}: weights {tensor.name!r} cannot be read from {place.name}: {_line(e)}") from e
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _place(path: Path, folder: Path, tensor: TensorProto) -> tuple[Path, int]:
    """The file that a tensor's values are in, and how many bytes they are."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    where = told.get("location", "")
    place = (folder / where).resolve()
    if not where or Path(where).is_absolute() or not place.is_relative_to(folder):
        raise BadInput(f"{path}: weights {tensor.name!r} are at {where!r}, outside of the file's folder; move them")
    if not place.is_file():
        raise BadInput(f"{path}: its weights are in {where!r}, which is not beside it; copy that file there too")
    there = place.stat().st_size
    try:
        offset = int(told.get("offset", "0"))
        length = int(told.get("length", there - offset))
    except ValueError as e:
        raise BadInput(f"{path}: weights {tensor.name!r} have a place in {where!r} that is no number") from e
    if offset < 0 or length < 0 or offset + length > there:
        raise BadInput(f"{path}: {where!r} is cut short: weights {tensor.name!r} end at byte {offset + length}")
    return place, length


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor of a graph, those in attributes and bodies too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.GRAPH:
                yield from _tensors(attribute.g)


def fed(graph: GraphProto) -> list[ValueInfoProto]:
    """What a caller has to feed: files of IR 3 list their weights as inputs, too."""
    weights = {t.name for t in graph.initializer}
    return [i for i in graph.input if i.name not in weights]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
