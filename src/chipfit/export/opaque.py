"""Opaque operators in ONNX files: torch's own exporter writes each one alone, and its nodes are put among ours.

The arrays are inputs of the piece, so that equal layers with different weights are one piece, exported once in a
process. A file of fixed batch gets pieces of that batch, whose shapes are all known.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto
from onnx.inliner import inline_local_functions

from chipfit.core import opaque
from chipfit.core.graph import Op
from chipfit.export.sheet import OPSET, Sheet

_KEPT = 512
"""Pieces kept by a process; some kilobytes each."""

_BATCH = 2
"""Batch size of the example that a piece of any batch is exported on; 1 would be taken for a fixed size."""

_NEAR = 1e-3
"""Largest relative difference of a piece from torch."""


def write(
    sheet: Sheet,
    o: Op,
    inputs: Sequence[str],
    output: str,
    shapes: Sequence[tuple[int, ...]],
    weights: Mapping[str, Any],
    batch: int | None,
) -> None:
    """Adds the nodes of an opaque operator.

    Args:
        sheet: of the file.
        o: the operator.
        inputs: names of its inputs in the file, each with the batch first.
        output: name of its output.
        shapes: of the inputs, without the batch.
        weights: arrays by name.
        batch: size of the batch axis, None for any.

    Raises:
        ValueError: torch's exporter has no form of it.
    """
    program = opaque.program(o)
    try:
        model = piece(o["program"], tuple(shapes), batch)
    except Exception as e:  # whatever torch's exporter raises, it has no form of this
        line = (str(e).strip().splitlines() or [type(e).__name__])[0][:160]
        raise ValueError(f"torch's exporter has no form of operator {o.name!r} ({opaque.told(o)}): {line}") from e
    arrays = []
    for a in program.arrays:
        key, value = o.array(a.role), np.asarray(weights[o.array(a.role)], np.float32)
        typed = value if a.dtype == "float32" else value.astype(a.dtype)
        arrays.append(sheet.constant(key if a.dtype == "float32" else f"{key}/{a.dtype}", typed))
    given = dict(zip((i.name for i in model.graph.input), [*inputs, *arrays], strict=True))
    result = model.graph.output[0].name
    names = _Names(o.name, given | ({} if result in given else {result: output}))
    for initializer in model.graph.initializer:
        copy = type(initializer)()
        copy.CopyFrom(initializer)
        copy.name = names.of(initializer.name)
        sheet.constants[copy.name] = copy
    sheet.nodes += [names.node(node) for node in model.graph.node]
    if result in given:  # it hands on what it gets
        sheet.node("Identity", [given[result]], output)


class _Names:
    """The names of a piece as they are in the file."""

    def __init__(self, prefix: str, given: Mapping[str, str]) -> None:
        self.prefix = prefix
        self.given = given

    def of(self, name: str) -> str:
        """A value's name; "" stands for an argument that is left out."""
        return self.given.get(name, f"{self.prefix}/{name}") if name else ""

    def node(self, node: NodeProto) -> NodeProto:
        """A node with all its names changed, those in its branches too."""
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{self.prefix}/{node.name or node.output[0]}"
        copy.input[:] = [self.of(name) for name in node.input]
        copy.output[:] = [self.of(name) for name in node.output]
        del copy.metadata_props[:]
        copy.doc_string = ""
        for attribute in copy.attribute:
            if attribute.type == AttributeProto.GRAPH:
                self._branch(attribute.g)
        return copy

    def _branch(self, graph: GraphProto) -> None:
        for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            value.name = self.of(value.name)
        nodes = [self.node(node) for node in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)


@lru_cache(maxsize=_KEPT)
def piece(text: str, shapes: tuple[tuple[int, ...], ...], batch: int | None) -> ModelProto:
    """A program as an ONNX model of its own: its inputs, then its arrays, to one output.

    Raises:
        ValueError: it needs operators of another opset, or none that are ONNX's own.
        Exception: whatever torch's exporter raises.
    """
    import torch  # the writer of networks without opaque operators does without it

    from chipfit.nets.opaque import dtype_of, run

    program = opaque.read(text)

    class Piece(torch.nn.Module):
        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            inputs, arrays = given[: len(shapes)], given[len(shapes) :]
            return run(program, {a.role: x for a, x in zip(program.arrays, arrays, strict=True)}, inputs)

    whole = [torch.int64 if i in program.whole else torch.float32 for i in range(len(shapes))]
    examples = [torch.zeros(batch or _BATCH, *s, dtype=d) for s, d in zip(shapes, whole, strict=True)]
    examples += [torch.zeros(a.shape, dtype=dtype_of(a.dtype)) for a in program.arrays]
    open_axes = {0: torch.export.Dim("batch")} if batch is None else None
    moving = [open_axes] * len(shapes) + [None] * len(program.arrays)
    with _quiet():
        made = torch.onnx.export(
            Piece().eval(), tuple(examples), dynamo=True, opset_version=OPSET, verbose=False,
            dynamic_shapes=None if batch else {"given": tuple(moving)},
        )  # fmt: skip
    assert made is not None
    model = _plain(made.model_proto)
    _hold(model, Piece(), examples)
    return model


def _hold(model: ModelProto, module: Any, examples: Sequence[Any]) -> None:
    """Raises ValueError where a piece answers otherwise than torch: its exporter overlooks some arguments."""
    import onnxruntime as ort
    import torch

    g = torch.Generator().manual_seed(0)
    asked = [torch.rand(x.shape, generator=g) if x.dtype == torch.float32 else x for x in examples]
    with torch.no_grad():
        want = module(*asked).numpy()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {i.name for i in session.get_inputs()}  # what is not read may be left out
    fed = {i.name: x.numpy() for i, x in zip(model.graph.input, asked, strict=True) if i.name in given}
    (got,) = session.run(None, fed)
    scale = np.abs(np.nan_to_num(want)).max(initial=1e-30)
    if got.shape != want.shape or not np.allclose(got, want, rtol=_NEAR, atol=_NEAR * scale, equal_nan=True):
        raise ValueError("it writes it as something else")


def _plain(model: ModelProto) -> ModelProto:
    """The model with nothing but ONNX's own operators.

    Raises:
        ValueError: it has others, or needs another opset.
    """
    if model.functions:
        model = inline_local_functions(model)
    needed = {entry.domain: entry.version for entry in model.opset_import}
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if foreign:
        raise ValueError(f"it is written with operators of {', '.join(sorted(foreign))}")
    if needed.get("", OPSET) != OPSET:
        raise ValueError(f"it needs opset {needed['']}; files have {OPSET}")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that torch's exporter prints and warns about itself."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
