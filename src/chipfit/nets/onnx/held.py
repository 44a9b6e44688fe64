"""The module of a file is held against the file, run by ONNX Runtime, in two batch sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto
from onnx.helper import tensor_dtype_to_np_dtype

from chipfit.core.errors import BadInput
from chipfit.core.ports import Ports
from chipfit.nets.answers import Answers, Floats, relative_error
from chipfit.nets.onnx.file import fed
from chipfit.nets.onnx.inputs import is_whole, parts_of
from chipfit.nets.onnx.module import OnnxModule, Step
from chipfit.nets.questions import DATA

SHARES, TINY = frozenset({"Sigmoid", "Softmax"}), 1e-6
"""Operators whose answers are shares of 1, and the difference that runtimes allow themselves in these. [measured] ONNX
Runtime's sigmoid is off by 9e-8, which is 2e-3 of an answer where all are near zero."""

NEAR = 1e-4
"""Relative error from which on a node is named as the first that differs."""


class Runtime:
    """A model in ONNX Runtime, on one thread, as a function of one input, or of rows of several (`ports`)."""

    def __init__(
        self, file: str, model: ModelProto, made_for: int | None, ports: Ports = (), *, exactly: bool = True
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        if exactly:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        self.file = file
        self.given, self.ports = fed(model.graph), ports
        self.dtypes = {i.name: tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in self.given}
        self.made_for = made_for
        try:
            self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # the runtime's own: they share no class
            raise BadInput(f"{file}: ONNX Runtime does not load it: {_line(e)}") from e

    def answers(self, x: Floats) -> Floats:
        """The first output, one row for each input; in pieces of the batch that the file is made for."""
        return np.concatenate([parts[0] for parts in self._pieces(x)]).astype(np.float32)

    def _pieces(self, x: Floats) -> list[list[NDArray[Any]]]:
        n = self.made_for or len(x)
        short = -len(x) % n
        whole = np.concatenate([x, x[:1].repeat(short, 0)]) if short else x
        pieces = [self.whole(whole[start : start + n]) for start in range(0, len(whole), n)]
        if short:
            pieces[-1] = [part[: n - short] for part in pieces[-1]]
        return pieces

    def whole(self, x: Floats) -> list[NDArray[Any]]:
        """Every output for one batch."""
        parts = parts_of(self.given, self.ports, x)
        asked = {name: _as(part, self.dtypes[name]) for name, part in parts.items()}
        try:
            found: list[NDArray[Any]] = self.session.run(None, asked)
        except Exception as e:
            raise BadInput(f"{self.file}: ONNX Runtime cannot run it on {x.shape}: {_line(e)}") from e
        return found


def _as(part: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers of another type; whole ones that rounding has moved are those that they were."""
    return np.ascontiguousarray(np.rint(part) if dtype.kind in "iu" else part, dtype)


def held(file: str, model: ModelProto, module: OnnxModule, answers: Answers, nhwc: bool, ports: Ports = ()) -> Answers:
    """The answers of the file itself to the questions that the module was asked, which agree.

    `nhwc`: the file takes pictures (H, W, C), the questions are (C, H, W). `ports`: it takes these, they are rows.

    Raises:
        BadInput: they do not; names the first node that differs.
    """
    runtime = Runtime(file, model, module.made_for, ports)
    asked = answers.inputs.transpose(0, 2, 3, 1) if nhwc else answers.inputs
    together = runtime.answers(asked)
    if together.shape != answers.outputs.shape:
        raise BadInput(f"{file} answers with {together.shape[1:]}, as read it would with {answers.outputs.shape[1:]}")
    end = next(step for step in module.steps if module.result in step.outputs)
    alone, least = answers.take(1), TINY if end.kind in SHARES else 0.0
    error = max(_error(answers, together, least), _error(alone, runtime.answers(asked[:1]), least))
    if error > answers.allowed:
        first = _first(file, model, module, asked, answers.inputs, ports)
        where = "" if first is None else f", first at node {first.label!r} ({first.kind})"
        raise BadInput(
            f"{file} is read wrongly: the network differs from the file by {error:.2g} of the largest answer (allowed "
            f"{answers.allowed:g}){where}; report this as a fault of chipfit"
        )
    return replace(answers, outputs=together)


def apart(
    file: str, original: ModelProto, made_for: int | None, answers: Answers, nhwc: bool, ports: Ports = ()
) -> float | None:
    """How far the answers of the file as it came are from those of its float network, on rows of the data.

    A share of the largest answer: what rounding to 8 or 16 bits does. None where no data were given.
    """
    rows = [n for n, kind in enumerate(answers.kinds) if kind == DATA]
    if not rows:
        return None
    inputs, outputs = answers.inputs[rows], answers.outputs[rows]
    asked = inputs.transpose(0, 2, 3, 1) if nhwc else inputs
    rounded = Runtime(file, original, made_for, ports).answers(asked)
    return float(np.abs(rounded - outputs).max() / np.abs(outputs).max())


def _error(answers: Answers, got: Floats, least: float) -> float:
    """The relative error, but for kinds of inputs whose answers differ by `least` at most."""
    far = np.abs(answers.outputs - got).reshape(len(got), -1).max(1) > least
    kinds = {kind for kind, is_far in zip(answers.kinds, far, strict=True) if is_far}
    rows = np.array([kind in kinds for kind in answers.kinds])
    return answers.only(rows).error(got[rows]) if kinds else 0.0


def _first(
    file: str, model: ModelProto, module: OnnxModule, asked: Floats, inputs: Floats, ports: Ports
) -> Step | None:
    """The first node whose values differ; the file is `asked` what the module gets as `inputs`."""
    rows = module.made_for or 1
    if len(asked) < rows:
        return None
    makers = {name: step for step in module.steps for name in step.outputs if name}
    there = {name for node in model.graph.node for name in node.output}
    outputs = [name for name in makers if name in there]
    whole = ModelProto()
    whole.CopyFrom(model)
    del whole.graph.output[:]
    whole.graph.output.extend(ValueInfoProto(name=name) for name in outputs)
    try:
        theirs = Runtime(file, whole, module.made_for, ports).whole(asked[:rows])
        ours = _values(model, module, inputs[:rows], ports)
    except (BadInput, RuntimeError):  # a value that the runtime does not give out: the error has no place then
        return None
    differing = (n for n, want in zip(outputs, theirs, strict=True) if n in ours and _differs(ours[n], want))
    return makers.get(next(differing, ""))


def _values(model: ModelProto, module: OnnxModule, inputs: Floats, ports: Ports) -> dict[str, Any]:
    """Every value of the module."""
    given = fed(model.graph)
    parts = {name: torch.from_numpy(part) for name, part in parts_of(given, ports, inputs).items()}
    with torch.no_grad():
        return module.values([parts[i.name].long() if is_whole(i) else parts[i.name] for i in given])


def _differs(ours: Any, want: NDArray[Any]) -> bool:
    got = np.asarray(ours, want.dtype) if isinstance(ours, np.ndarray) else ours.numpy().astype(want.dtype)
    if got.shape != want.shape or not want.size:
        return got.shape != want.shape
    rows: Sequence[str] = ("one",) * len(want) if want.ndim else ()
    if not rows or want.dtype.kind != "f":
        return not np.array_equal(got, want)
    return relative_error(want, got, tuple(rows)) > NEAR


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
