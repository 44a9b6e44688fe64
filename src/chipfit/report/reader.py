"""What predict.py reads its inputs with: arrays, pictures as they were read for training, or several inputs by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from textwrap import fill

from chipfit.core.ports import Ports
from chipfit.data.depth import Depth
from chipfit.data.files import SUFFIXES

BYTES = "uint8 (0..255) or float32 (0..1)"
FLOATS = "float32, as the data that the model was trained on"
WHOLE = "whole numbers of tokens"
"""What the arrays of one input hold."""

OF_ARRAYS = '''

def read(path):
    """(row, input) of each row of a .npy file."""
    if path.is_dir() or path.suffix != ".npy":
        what = "is a folder" if path.is_dir() else "is no .npy file"
        sys.exit(f"{path} {what}; this model takes arrays of shape {INPUT_SHAPE}, not pictures; give a .npy file")
    yield from enumerate(read_array(path))
'''
"""The function `read` of models that do not take pictures."""

RUN_APART = """def runner():
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    inputs = list(zip(session.get_inputs(), INPUTS.values()))
    ends = np.cumsum([int(np.prod(shape)) for _, shape in inputs])

    def run(x):
        given = {}
        for (one, shape), part in zip(inputs, np.split(x, ends[:-1])):
            given[one.name] = part.reshape(1, *shape).astype(np.int64 if one.type == "tensor(int64)" else np.float32)
        return session.run(None, given)[0][0]

    return run
"""
"""The function `runner` of ONNX files of several inputs; other files take the row that holds them side by side."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Texts of predict.py: what it takes in words, lines of its use, packages, constants, and the function `read`.

    `read` yields (what names it in the answers, input) for all that a file or folder holds.
    """

    takes: str
    usage: tuple[str, ...]
    constants: tuple[str, ...]
    source: str
    needs: str = ""


def reader(
    input_shape: Sequence[int], *, pixels: bool, tokens: bool = False, ports: Ports = (), depth: Depth | None = None
) -> Reader:
    """The reader of a model's inputs.

    Args:
        input_shape: (C, H, W), or (features,), of one input.
        pixels: inputs are bytes, scaled to 0..1 first; else floats as the data have them, and no pictures are read.
        tokens: inputs are numbers of tokens.
        ports: the inputs of a model that takes several, each by its name.
        depth: how pictures of more than 8 bits a value became 8 bits in training; None where there were none.
    """
    if ports:
        return _several(ports)
    shape = tuple(int(n) for n in input_shape)
    arrays = WHOLE if tokens else BYTES if pixels else FLOATS
    constants = (
        f"INPUT_SHAPE = {shape}{'  # (channels, height, width)' if len(shape) == 3 else ''}",
        f"PIXELS = {pixels}  # whether the model was trained on bytes; else on floats, for which pictures do not do",
        f"TOKENS = {tokens}  # whether inputs are numbers of tokens",
    )
    usage = (f"inputs.npy      # {arrays}; one or a stack of them",)
    read_array = Template(template("read_array")).substitute(arrays=arrays)
    if len(shape) != 3 or shape[0] not in (1, 3) or not pixels:
        return Reader("a .npy file", usage, constants, read_array + OF_ARRAYS)
    suffixes = fill(" ".join(sorted(SUFFIXES)), 116, initial_indent="    ", subsequent_indent="    ")
    read_picture = Template(template("read_picture")).substitute(suffixes=suffixes)
    return Reader(
        "a picture, a folder of pictures or a .npy file",
        (*usage, "picture.png", "folder          # all pictures in it"),
        (*constants, *_rule(depth)),
        f"{read_array}\n\n{read_picture}",
        " and, for pictures, Pillow",
    )


def _several(ports: Ports) -> Reader:
    shapes = ", ".join(f"{p.name!r}: {p.shape}" for p in ports)
    whole = tuple(p.name for p in ports if p.whole)
    return Reader(
        "a .npz file",
        ("inputs.npz      # each input by its name; one row or a stack of them",),
        (f"INPUTS = {{{shapes}}}  # name: shape of one row", f"WHOLE = {whole}  # inputs of whole numbers"),
        template("read_several"),
    )


def _rule(depth: Depth | None) -> tuple[str, ...]:
    """The constants of pictures with more than 8 bits a value."""
    shift, unit = (None, 0.0) if depth is None else (0 if depth.unit else depth.bits - 8, depth.unit)
    return (
        f"SHIFT = {shift}  # bits taken off values of more than 8; None: as many as a picture's largest has above 8",
        f"UNIT = {unit}  # what stands for white in pictures of floats; 0.0: their bits are shifted",
    )


def template(name: str) -> str:
    """A text of the folder `template`."""
    return (resources.files("chipfit.report") / "template" / f"{name}.txt").read_text(encoding="utf-8")
