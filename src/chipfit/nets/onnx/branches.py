"""Branches of an `If` that shapes alone decide, as where an exporter asks whether an axis has one place.

The shapes of all values follow from those of the inputs (ONNX's own inference). A condition that is computed from such
shapes is a constant where it is the same for every batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, numpy_helper, shape_inference

from chipfit.nets.onnx.call import SHAPES, Array
from chipfit.nets.onnx.constants import Alone, of_node, stored
from chipfit.nets.onnx.file import fed
from chipfit.nets.onnx.inputs import Shape, dims
from chipfit.nets.onnx.plain import copied

BATCHES = (1, 2, 3)
"""Batches under which a condition is looked at, of a file of open batch."""


def decided(model: ModelProto, shapes: Sequence[Shape], made_for: int | None) -> ModelProto:
    """The model with each condition that shapes decide as a constant; the model itself where there is none.

    `shapes` are those of one of each input.
    """
    asked = {node.input[0] for node in model.graph.node if node.op_type == "If"}
    if not asked:
        return model
    found = [_values(model, asked, shapes, batch) for batch in ((made_for,) if made_for else BATCHES)]
    same = {name: v for name, v in found[0].items() if all(name in f and np.array_equal(f[name], v) for f in found)}
    if not same:
        return model
    made = copied(model)
    for node in made.graph.node:
        if node.op_type == "If" and node.input[0] in same:
            name = node.input[0]
            node.input[0] = f"{name} decided"
            made.graph.initializer.append(numpy_helper.from_array(same[name], node.input[0]))
    return made


def _values(model: ModelProto, asked: set[str], shapes: Sequence[Shape], batch: int) -> dict[str, Array]:
    """Those of the values asked for that shapes decide, under a batch."""
    graph, opsets = model.graph, tuple(model.opset_import)
    nodes = _behind(graph, asked)
    read = {name for node in nodes for name in node.input} | asked
    known = {t.name: stored(t) for t in graph.initializer if t.name in read}
    sizes = _sizes(model, shapes, batch)
    for node in nodes:
        try:
            made = _made(node, known, sizes, Alone(node, opsets))
        except Exception:  # whatever the reference trips over: what follows is not known then
            continue
        known.update(zip((name for name in node.output if name), made, strict=False))
    return {name: known[name] for name in asked if name in known}


def _made(node: NodeProto, known: Mapping[str, Array], sizes: Mapping[str, Shape], alone: Alone) -> list[Array]:
    """What a node makes of shapes and of constants; nothing where that is not known."""
    if node.op_type == "Constant":
        return [of_node(node).value]
    if node.op_type in SHAPES and node.input[0] in sizes:
        return alone.run([np.broadcast_to(np.float32(0), sizes[node.input[0]])])
    reads = [name for name in node.input if name]
    if node.op_type in SHAPES or not all(name in known for name in reads):
        return []
    return alone.run([known[name] if name else None for name in node.input])


def _behind(graph: GraphProto, asked: set[str]) -> list[NodeProto]:
    """The nodes that some values are made by, in running order, back to the shapes that they are made of."""
    wanted, found = set(asked), []
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            found.append(node)
            wanted.update(() if node.op_type in SHAPES else node.input)
    return found[::-1]


def _sizes(model: ModelProto, shapes: Sequence[Shape], batch: int) -> dict[str, Shape]:
    """The shapes of all values that are known under a batch."""
    made = copied(model)
    for given, shape in zip(fed(made.graph), shapes, strict=True):
        _fill(given, (batch, *shape))
    for output in made.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = shape_inference.infer_shapes(made, data_prop=True).graph
    except Exception:  # the inference's own, of shapes that clash or a file beyond 2 GB: no shape is known then
        return {}
    told = {v.name: v for v in (*inferred.input, *inferred.value_info, *inferred.output)}
    return {name: tuple(dims(v)) for name, v in told.items() if _is_whole(v)}


def _fill(given: ValueInfoProto, sizes: Shape) -> None:
    shape = given.type.tensor_type.shape
    del shape.dim[:]
    for n in sizes:
        shape.dim.add().dim_value = n


def _is_whole(value: ValueInfoProto) -> bool:
    """True for a value of which every size is known."""
    kind = value.type.tensor_type
    return kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim)
