"""What goes into an ONNX file: one input, or several side by side in a row, of shapes that file and data agree on.

The batch is the first axis of every input; where the file fixes it, it is opened. Shapes of inputs that the file leaves
open are those of the data. A file of pictures (H, W, C), as TensorFlow has them, takes the data's (C, H, W) through a
transpose in front, which meets the file's own. A file of several inputs is one of rows of them (`core.ports`), in the
order of the data.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from onnx import ModelProto, TensorProto, ValueInfoProto

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.ports import Port, Ports, apart
from chipfit.nets.answers import Floats
from chipfit.nets.onnx.file import fed

Shape = tuple[int, ...]

WHOLE = (TensorProto.INT64, TensorProto.INT32)
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
BYTES: dict[int, tuple[int, int]] = {TensorProto.UINT8: (0, 255), TensorProto.INT8: (-128, 127)}
"""Types of bytes, and the least and the largest number of each."""

TAKEN = (*FLOATS, *WHOLE, *BYTES)
"""Types of numbers that a file's input may have."""


def check_inputs(name: str, model: ModelProto, given: Ports) -> None:
    """Raises BadInput unless tensors of numbers go in, one or as many as are given."""
    inputs = fed(model.graph)
    if not inputs:
        raise BadInput(f"{name} has no inputs; give a file that takes some")
    if len(inputs) == 1 and given:
        raise BadInput(f"{name} takes one input ({inputs[0].name}), the data have {len(given)}; give other data")
    for one in inputs:
        kind = one.type
        if not kind.HasField("tensor_type") or kind.tensor_type.elem_type not in TAKEN:
            tensor = kind.HasField("tensor_type")
            what = TensorProto.DataType.Name(kind.tensor_type.elem_type).lower() if tensor else "no tensor"
            raise BadInput(f"{name}: its input {one.name!r} is {what}; floats, int32, int64, uint8 and int8 are read")


def dims(given: ValueInfoProto) -> list[int]:
    """Sizes of an input's axes, 0 for open ones."""
    return [d.dim_value if d.dim_value > 0 else 0 for d in given.type.tensor_type.shape.dim]


def zeros(given: ValueInfoProto, shape: Shape) -> torch.Tensor:
    """One input of zeros."""
    return torch.zeros(1, *shape, dtype=torch.int64 if is_whole(given) else torch.float32)


def is_whole(given: ValueInfoProto) -> bool:
    """True for an input of whole numbers."""
    return given.type.tensor_type.elem_type in WHOLE


def parts_of(inputs: Sequence[ValueInfoProto], ports: Ports, x: Floats) -> dict[str, Floats]:
    """What goes into each input, by name: `x` itself where there is one, or else cut out of its rows."""
    return apart(x, {port.name: port.shape for port in ports} or {inputs[0].name: ()})


def shape_of(name: str, given: ValueInfoProto, wanted: Shape | None) -> tuple[Shape, bool]:
    """The shape of one input as the network is to take it, and whether the file takes its last axis first.

    Raises:
        BadInput: the file leaves it open and nobody says it, or it is another one.
    """
    sizes = dims(given)
    if len(sizes) < 2:
        raise BadInput(f"{name}: its input has shape {tuple(sizes)}; give a file with a batch axis and one behind it")
    own = tuple(sizes[1:])
    if wanted is None:
        if 0 in own:
            text = ",".join(str(n) if n else "N" for n in own)
            raise BadInput(f"{name} leaves the shape of its input open; say what is open: --input-shape {text}")
        return own, False
    if _fits(own, wanted):
        return wanted, False
    if len(wanted) == len(own) == 3 and _fits(own, (*wanted[1:], wanted[0])):
        return wanted, True
    if 0 in own:
        raise BadInput(f"{name} takes inputs of shape {_told(own)}, not {_told(wanted)}; give other data, or --resize")
    return own, False  # `load_models` says who gave the other one


def several(name: str, inputs: Sequence[ValueInfoProto], given: Ports) -> Ports:
    """The inputs of a file that takes several, in the order of those that are given; its own where none are.

    Raises:
        BadInput: others are given, or none are and the file leaves a shape open.
    """
    own = _ports_of(name, inputs)
    if not given:
        _check_none_open(name, own.values())
        return tuple(own.values())
    names = list(own) if all(port.name.isdecimal() for port in given) else [port.name for port in given]
    strange = next((n for n in names if n not in own), None)
    if strange is not None:
        raise BadInput(f"{name} takes no {strange!r}{did_you_mean(strange, list(own))}; it takes {', '.join(own)}")
    if len(given) != len(own):
        raise BadInput(f"{name} takes {len(own)} inputs ({', '.join(own)}), the data have {len(given)}")
    return tuple(_matched(name, own[n], port) for n, port in zip(names, given, strict=True))


def _ports_of(name: str, inputs: Sequence[ValueInfoProto]) -> dict[str, Port]:
    """Each input as the file says it, open axes as 0."""
    sizes = {i.name: tuple(dims(i)) for i in inputs}
    if len({shape[:1] for shape in sizes.values()}) > 1 or () in sizes.values():
        told = ", ".join(f"{i} ({_told(shape)})" for i, shape in sizes.items())
        raise BadInput(f"{name}: its inputs ({told}) have no first axis in common; give a file with the batch there")
    return {i.name: Port(i.name, sizes[i.name][1:], is_whole(i)) for i in inputs}


def _check_none_open(name: str, ports: Collection[Port]) -> None:
    """Raises BadInput where an axis is open; says what to write."""
    if any(0 in port.shape for port in ports):
        text = " ".join(f"--inputs {port.told.replace('=0', '=N').replace(',0', ',N')}" for port in ports)
        raise BadInput(f"{name} leaves the shapes of its inputs open; give data, or say them: {text}")


def _matched(name: str, own: Port, given: Port) -> Port:
    """The file's input, of the shape that is given."""
    if not _fits(own.shape, given.shape):
        raise BadInput(
            f"{name} takes {own.name!r} of shape {_told(own.shape)}, not {_told(given.shape)}; give other data"
        )
    if own.whole and not given.whole:
        raise BadInput(f"{name} takes whole numbers as {own.name!r}, the data have others; give integers")
    return replace(own, shape=given.shape)


def _fits(own: Shape, wanted: Shape) -> bool:
    return len(own) == len(wanted) and all(n in (0, m) for n, m in zip(own, wanted, strict=True))


def _told(shape: Shape) -> str:
    return "x".join(str(n) if n else "?" for n in shape)
