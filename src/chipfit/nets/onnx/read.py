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
from onnx import ModelProto, TensorProto, ValueInfoProto

from chipfit.core.errors import BadInput, ChipfitError, did_you_mean
from chipfit.nets.answers import Answers
from chipfit.nets.onnx.bind import bound
from chipfit.nets.onnx.file import fed, read
from chipfit.nets.onnx.held import apart, held
from chipfit.nets.onnx.module import OnnxModule
from chipfit.nets.onnx.plain import plain

Shape = tuple[int, ...]

WHOLE = (TensorProto.INT64, TensorProto.INT32)

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)

TAKEN = (*FLOATS, *WHOLE)
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
    original: ModelProto

    @property
    def whole(self) -> bool:
        """True for a file that takes whole numbers."""
        return fed(self.model.graph)[0].type.tensor_type.elem_type in WHOLE

    def held(self, answers: Answers) -> Answers:
        """The file's own answers; see `held.held`."""
        return held(self.name, self.model, self.module, answers, self.nhwc)

    def said(self, answers: Answers) -> str:
        """What the network is not of the file, in words; of one that rounds, how far it is from it."""
        notes = [self.told] if self.told else []
        if self.nhwc:
            notes.append("takes pictures (C, H, W) in the place of (H, W, C)")
        if self.original is not self.model:
            error = apart(self.name, self.original, self.module.made_for, answers, self.nhwc)
            notes += [] if error is None else [f"the file's own answers are {100 * error:.2g} % of the largest away"]
        return "; ".join(notes)


def load(path: Path, wanted: Shape | None, output: str | None = None) -> OnnxFile:
    """Reads a file, for inputs of the shape `wanted` where it is known.

    `output` is the name or the place of the output that the network is fitted to, of a file with several.

    Raises:
        BadInput: no whole ONNX file, several inputs, or an operator that cannot be read; one line.
    """
    name = str(path)
    model = read(path)
    try:
        return _loaded(name, model, wanted, output)
    except ChipfitError:
        raise
    except Exception as e:  # a damaged file: it trips whatever looks at it first
        line = (str(e).strip().splitlines() or [""])[0][:160]
        raise BadInput(f"{name} is no sound ONNX file ({type(e).__name__}: {line})") from e


def _loaded(name: str, model: ModelProto, wanted: Shape | None, output: str | None) -> OnnxFile:
    _check_input(name, model)
    dropped = _keep_one_output(name, model, output)
    original = model
    model, told = plain(name, model)
    told = ", ".join(part for part in (told, dropped) if part)
    shape, nhwc = _shape(name, model, wanted)
    if prod(shape) > MOST:
        raise BadInput(f"{name} takes inputs of {prod(shape):.3g} numbers, at most {MOST:.0e} are read")
    module = bound(name, model, _made_for(model), nhwc=nhwc)
    file = OnnxFile(name, model, module, shape, nhwc, told, original)
    module.open_batch(shape, torch.int64 if file.whole else torch.float32)
    return file


def _keep_one_output(name: str, model: ModelProto, wanted: str | None) -> str:
    """Leaves the output that is wanted, or the only one of floats; says in words what went.

    Raises:
        BadInput: there are several, or none of this name.
    """
    outputs = {o.name: o for o in model.graph.output}
    floats = [n for n, o in outputs.items() if o.type.tensor_type.elem_type in FLOATS or len(outputs) == 1]
    chosen = wanted
    if wanted is None and len(floats) == 1:
        (chosen,) = floats
    elif wanted is not None and wanted not in outputs and wanted.isdecimal() and int(wanted) < len(outputs):
        chosen = list(outputs)[int(wanted)]
    listed = ", ".join(list(outputs)[:6])
    if chosen is None:
        raise BadInput(f"{name} answers with {len(outputs)} values: {listed}; say which one it is for: --output NAME")
    if chosen not in outputs:
        raise BadInput(f"{name} has no output {chosen!r}{did_you_mean(chosen, list(outputs))}; it answers {listed}")
    kept = ValueInfoProto()
    kept.CopyFrom(outputs.pop(chosen))
    del model.graph.output[:]
    model.graph.output.append(kept)
    return f"output {chosen}; {', '.join(list(outputs)[:6])} dropped" if outputs else ""


def _check_input(name: str, model: ModelProto) -> None:
    """Raises BadInput unless one tensor of numbers goes in."""
    inputs = fed(model.graph)
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs[:4]) or "none"
        raise BadInput(f"{name} has {len(inputs)} inputs ({names}); one input is supported")
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
