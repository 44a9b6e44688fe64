"""Files that take bytes, as of pictures, read as networks that take the same whole numbers as float32.

Such a file begins with a Cast of its bytes to floats, which is the identity on floats that hold whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from torch import nn

from chipfit.core.errors import BadInput
from chipfit.core.ports import Ports, packed
from chipfit.nets.answers import Answers, Floats
from chipfit.nets.onnx.call import SHAPES, label
from chipfit.nets.onnx.file import fed
from chipfit.nets.onnx.inputs import BYTES, FLOATS, parts_of
from chipfit.nets.onnx.plain import copied
from chipfit.nets.questions import DATA, NORMAL

Range = tuple[int, int]

MOVES = frozenset({"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice"})
"""Operators that hand bytes on."""

WHOLE = 1e-3
"""Distance from a whole number up to which a value is one: pixels are scaled to 0..1 first, in float32."""


def byte_inputs(model: ModelProto) -> dict[str, Range]:
    """The inputs of a model that are bytes, and the least and the largest number of each."""
    kinds = {i.name: i.type.tensor_type.elem_type for i in fed(model.graph)}
    return {name: BYTES[kind] for name, kind in kinds.items() if kind in BYTES}


def bytes_taken(path: Path) -> Range | None:
    """The least and the largest byte of a file's only input; None where it takes something else, or cannot be read."""
    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError):
        return None  # whoever reads the whole file says why
    found = byte_inputs(model)
    return next(iter(found.values())) if len(found) == len(fed(model.graph)) == 1 else None


def check_cast(file: str, model: ModelProto) -> None:
    """Raises BadInput where an operator computes with bytes: it rounds, as those on floats do not."""
    for node in _readers(model):
        if not _is_cast(node) and node.op_type not in MOVES | SHAPES:
            raise BadInput(
                f"{file}: operator {node.op_type!r} (node {label(node)!r}) computes with the bytes that go in; "
                f"export it with a Cast of them to floats in front"
            )


def _readers(model: ModelProto) -> Iterator[NodeProto]:
    """The nodes that read bytes which go in, as they are or moved."""
    carried = set(byte_inputs(model))
    for node in model.graph.node:
        if not carried.isdisjoint(node.input):
            carried.update(node.output if node.op_type in MOVES else ())
            yield node


def _is_cast(node: NodeProto) -> bool:
    """True for a node that makes floats of numbers."""
    return node.op_type == "Cast" and any(a.name == "to" and a.i in FLOATS for a in node.attribute)


def in_floats(model: ModelProto) -> ModelProto:
    """The model with its bytes as float32, without their Cast; the model itself where it takes none."""
    names = byte_inputs(model)
    if not names:
        return model
    made = copied(model)
    _without(made.graph, [node for node in _readers(made) if _is_cast(node)])
    for given in made.graph.input:
        if given.name in names:
            given.type.tensor_type.elem_type = TensorProto.FLOAT
    return made


def _without(graph: GraphProto, casts: Sequence[NodeProto]) -> None:
    """Lets all who read a Cast read what it does; one that is an answer, or read in a branch, is left."""
    instead = {node.output[0]: node.input[0] for node in casts}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = instead.get(name, name)


def of_bytes(
    module: nn.Module, answers: Answers, ranges: Mapping[str, Range], model: ModelProto, ports: Ports
) -> Answers:
    """What a module of float32 answers to bytes, drawn, in the place of its normal questions."""
    rows = np.array([kind == NORMAL for kind in answers.kinds])
    asked, rng = answers.only(rows), np.random.default_rng(0)
    parts = parts_of(fed(model.graph), ports, asked.inputs)
    for name, (least, largest) in ranges.items():
        parts[name] = rng.integers(least, largest, parts[name].shape, endpoint=True).astype(np.float32)
    inputs = packed(ports, parts) if ports else next(iter(parts.values()))
    with torch.no_grad():
        outputs: Floats = module(torch.from_numpy(inputs)).numpy()
    return replace(asked, inputs=inputs, outputs=outputs)


def notes(answers: Answers, ranges: Mapping[str, Range], model: ModelProto, ports: Ports) -> list[str]:
    """What the network takes in the place of bytes; where the data reach it as something else, what to give."""
    return [_note(name, span, answers, model, ports) for name, span in ranges.items()]


def _note(name: str, span: Range, answers: Answers, model: ModelProto, ports: Ports) -> str:
    least, largest = span
    scaled = f"pixels with --normalize {-least / 255:.9g},{1 / 255:.9g}, or floats" if not ports else "floats"
    said = f"takes float32 of {least}..{largest} in the place of bytes{f' as {name}' if ports else ''}"
    rows = np.array([kind == DATA for kind in answers.kinds])
    if not rows.any():
        return f"{said}, so does the file that is written; give it {scaled} of this range"
    data = parts_of(fed(model.graph), ports, answers.inputs[rows])[name]
    if are_bytes(data, span):
        return f"{said}, so does the file that is written"
    return (
        f"{said}, but the data reach it as {_told(data)}; give {scaled} of {least}..{largest}, or its answers mean "
        f"nothing"
    )


def _told(data: Floats) -> str:
    return f"{data.min():.3g}..{data.max():.3g}"


def are_bytes(data: Floats, span: Range) -> bool:
    """True for whole numbers of a range, up to rounding."""
    least, largest = span
    near = np.abs(data - np.rint(data)).max(initial=0) <= WHOLE
    return bool(near and data.min(initial=least) >= least - WHOLE and data.max(initial=largest) <= largest + WHOLE)
