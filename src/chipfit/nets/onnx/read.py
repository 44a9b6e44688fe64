"""An ONNX file as a network that can be edited and trained, held against the file.

The batch is the first axis of the file's one input; where the file fixes it, it is opened. Shapes of inputs that the
file leaves open are those of the data. A file of pictures (H, W, C), as TensorFlow has them, takes the data's (C, H, W)
through a transpose in front, which meets the file's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from onnx import ModelProto, TensorProto

from chipfit.core.errors import BadInput, ChipfitError
from chipfit.nets.answers import Answers
from chipfit.nets.onnx.bind import bound
from chipfit.nets.onnx.file import fed, read
from chipfit.nets.onnx.held import held
from chipfit.nets.onnx.module import OnnxModule
from chipfit.nets.onnx.plain import plain

Shape = tuple[int, ...]

WHOLE = (TensorProto.INT64, TensorProto.INT32)

TAKEN = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, *WHOLE)
"""Types of numbers that a file's input may have."""


MOST = 10**8
"""Numbers of one input."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file as it was read: its module, the shape of one input, and in words what the network is not of the file."""

    name: str
    model: ModelProto
    module: OnnxModule
    shape: Shape
    nhwc: bool
    told: str

    @property
    def whole(self) -> bool:
        """True for a file that takes whole numbers."""
        return fed(self.model.graph)[0].type.tensor_type.elem_type in WHOLE

    def held(self, answers: Answers) -> Answers:
        """The file's own answers; see `held.held`."""
        return held(self.name, self.model, self.module, answers, self.nhwc)


def load(path: Path, wanted: Shape | None) -> OnnxFile:
    """Reads a file, for inputs of the shape `wanted` where it is known.

    Raises:
        BadInput: no whole ONNX file, several inputs or outputs, or an operator that cannot be read; one line.
    """
    name = str(path)
    model = read(path)
    try:
        return _loaded(name, model, wanted)
    except ChipfitError:
        raise
    except Exception as e:  # a damaged file: it trips whatever looks at it first
        line = (str(e).strip().splitlines() or [""])[0][:160]
        raise BadInput(f"{name} is no sound ONNX file ({type(e).__name__}: {line})") from e


def _loaded(name: str, model: ModelProto, wanted: Shape | None) -> OnnxFile:
    model, told = plain(name, model)
    _check_ends(name, model)
    shape, nhwc = _shape(name, model, wanted)
    if prod(shape) > MOST:
        raise BadInput(f"{name} takes inputs of {prod(shape):.3g} numbers, at most {MOST:.0e} are read")
    module = bound(name, model, _made_for(model), nhwc=nhwc)
    file = OnnxFile(name, model, module, shape, nhwc, told)
    module.open_batch(shape, torch.int64 if file.whole else torch.float32)
    return file


def _check_ends(name: str, model: ModelProto) -> None:
    """Raises BadInput unless one tensor of numbers goes in, and one comes out."""
    inputs, outputs = fed(model.graph), list(model.graph.output)
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs[:4]) or "none"
        raise BadInput(f"{name} has {len(inputs)} inputs ({names}); one input is supported")
    if len(outputs) != 1:
        names = ", ".join(o.name for o in outputs[:4])
        raise BadInput(
            f"{name} has {len(outputs)} outputs ({names}); keep one of them: onnx.utils.extract_model(in, out, "
            f"[{inputs[0].name!r}], [{outputs[0].name if outputs else ''!r}])"
        )
    kind = inputs[0].type
    if not kind.HasField("tensor_type") or kind.tensor_type.elem_type not in TAKEN:
        what = TensorProto.DataType.Name(kind.tensor_type.elem_type) if kind.HasField("tensor_type") else "no tensor"
        raise BadInput(f"{name}: its input {inputs[0].name!r} is {what.lower()}; floats or whole numbers are supported")


def _dims(model: ModelProto) -> list[int]:
    """Sizes of the input's axes, 0 for open ones."""
    dims = fed(model.graph)[0].type.tensor_type.shape.dim
    return [d.dim_value if d.dim_value > 0 else 0 for d in dims]


def _made_for(model: ModelProto) -> int | None:
    return _dims(model)[0] or None


def _shape(name: str, model: ModelProto, wanted: Shape | None) -> tuple[Shape, bool]:
    """The shape of one input as the network is to take it, and whether the file takes its last axis first.

    Raises:
        BadInput: the file leaves it open and nobody says it, or it is another one.
    """
    dims = _dims(model)
    if len(dims) < 2:
        raise BadInput(f"{name}: its input has shape {tuple(dims)}; give a file with a batch axis and one behind it")
    own = tuple(dims[1:])
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


def _fits(own: Shape, wanted: Shape) -> bool:
    return len(own) == len(wanted) and all(n in (0, m) for n, m in zip(own, wanted, strict=True))


def _told(shape: Shape) -> str:
    return "x".join(str(n) if n else "?" for n in shape)
