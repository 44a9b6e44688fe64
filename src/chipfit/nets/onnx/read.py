"""An ONNX file as a network that can be edited and trained, held against the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from onnx import ModelProto, ValueInfoProto
from torch import nn

from chipfit.core.errors import BadInput, ChipfitError, did_you_mean
from chipfit.core.ports import Ports, width
from chipfit.nets.answers import Answers
from chipfit.nets.onnx.bind import bound
from chipfit.nets.onnx.branches import decided
from chipfit.nets.onnx.byte_inputs import Range, are_bytes, byte_inputs, check_cast, in_floats, of_bytes
from chipfit.nets.onnx.byte_inputs import notes as byte_notes
from chipfit.nets.onnx.file import fed, read
from chipfit.nets.onnx.held import apart, held
from chipfit.nets.onnx.inputs import FLOATS, Shape, check_inputs, dims, is_whole, parts_of, several, shape_of, zeros
from chipfit.nets.onnx.module import OnnxModule
from chipfit.nets.onnx.plain import plain
from chipfit.nets.presented import Presented
from chipfit.nets.questions import DATA

MOST = 10**8
"""Numbers of one input."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file as it was read: its module, the shape of one input, and in words what the network is not of the file.

    `told` is of its numbers, `dropped` of its outputs. `ports` are its inputs where it takes several, of which
    `shape` is a row. `original` is the file, `own` its float network, and `model` that with floats in the place of
    bytes; they are one where there is nothing to change.
    """

    name: str
    model: ModelProto
    module: OnnxModule
    shape: Shape
    nhwc: bool
    told: str
    dropped: str
    original: ModelProto
    own: ModelProto
    ports: Ports = ()

    @property
    def whole(self) -> bool:
        """True for a file of one input that takes whole numbers."""
        return not self.ports and is_whole(fed(self.model.graph)[0])

    @property
    def presented(self) -> nn.Module:
        """The module as one of one tensor."""
        return Presented(self.module, self.ports, by_name=True).eval() if self.ports else self.module

    def held(self, answers: Answers) -> Answers:
        """The file's own answers; see `held.held`. One that takes bytes is asked some of these too."""
        made = held(self.name, self.model, self.module, answers, self.nhwc, self.ports)
        if self.own is not self.model:
            asked = of_bytes(self.presented, answers, self.bytes, self.model, self.ports)
            held(self.name, self.own, self.module, asked, self.nhwc, self.ports)
        return made

    @property
    def bytes(self) -> dict[str, Range]:
        """Its inputs that are bytes; see `byte_inputs`."""
        return byte_inputs(self.own)

    def said(self, answers: Answers) -> tuple[str, ...]:
        """What the network is not of the file, in words; of one that rounds, how far it is from it."""
        notes = [self.told] if self.told else []
        if self.told and (error := self._apart(answers)) is not None:
            notes = [f"{self.told}; the file's own answers are {100 * error:.2g} % of the largest away"]
        notes += [self.dropped] if self.dropped else []
        if self.nhwc:
            notes.append("takes pictures (C, H, W) in the place of (H, W, C), so does the file that is written")
        return (*notes, *byte_notes(answers, self.bytes, self.model, self.ports))

    def _apart(self, answers: Answers) -> float | None:
        """See `held.apart`; None too where the data are no bytes, which the file takes."""
        rows = answers.inputs[[kind == DATA for kind in answers.kinds]]
        data = parts_of(fed(self.model.graph), self.ports, rows)
        if not all(are_bytes(data[name], span) for name, span in self.bytes.items()):
            return None
        return apart(self.name, self.original, self.module.made_for, answers, self.nhwc, self.ports)


def load(path: Path, wanted: Shape | None, output: str | None = None, ports: Ports = ()) -> OnnxFile:
    """Reads a file, for inputs of the shape `wanted`, or of these `ports`, where they are known.

    `output` is the name or the place of the output that the network is fitted to, of a file with several.

    Raises:
        BadInput: no whole ONNX file, other inputs, or an operator that cannot be read; one line.
    """
    name = str(path)
    model = read(path)
    try:
        return _loaded(name, model, wanted, output, ports)
    except ChipfitError:
        raise
    except Exception as e:  # a damaged file: it trips whatever looks at it first
        line = (str(e).strip().splitlines() or [""])[0][:160]
        raise BadInput(f"{name} is no sound ONNX file ({type(e).__name__}: {line})") from e


def _loaded(name: str, model: ModelProto, wanted: Shape | None, output: str | None, given: Ports) -> OnnxFile:
    check_inputs(name, model, given)
    dropped = _keep_one_output(name, model, output)
    check_cast(name, model)
    own, told = plain(name, model)
    original, model = model, in_floats(own)
    inputs = fed(model.graph)
    ports = several(name, inputs, given) if len(inputs) > 1 else ()
    shape, nhwc = ((width(ports),), False) if ports else shape_of(name, inputs[0], wanted)
    if prod(shape) > MOST:
        raise BadInput(f"{name} takes inputs of {prod(shape):.3g} numbers, at most {MOST:.0e} are read")
    rows = _rows(inputs, shape, nhwc, ports)
    made_for = dims(inputs[0])[0] or None
    module = bound(name, decided(model, rows, made_for), made_for, nhwc=nhwc)
    module.open_batch([zeros(i, shape if nhwc else row) for i, row in zip(inputs, rows, strict=True)])
    return OnnxFile(name, model, module, shape, nhwc, told, dropped, original, own, ports)


def _rows(inputs: Sequence[ValueInfoProto], shape: Shape, nhwc: bool, ports: Ports) -> list[Shape]:
    """The shape of one of each input, as the file takes it."""
    shapes = {port.name: port.shape for port in ports}
    return [shapes.get(i.name, (*shape[1:], shape[0]) if nhwc else shape) for i in inputs]


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
