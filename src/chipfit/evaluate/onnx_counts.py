"""The operators of an ONNX file that was not made here, as a Graph for counts and profiles.

They keep their ONNX types as kinds, with the MACs that the inferred shapes tell; one whose shapes cannot be inferred
counts none. Of the branches of an `If` the one with most MACs is counted, of a loop one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto, numpy_helper
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.reference import ReferenceEvaluator

from chipfit.core.graph import Graph, Op

Shape = tuple[int, ...]
Values = dict[str, NDArray[Any]]

SMALL = 1024
"""Values of the largest tensor that may be a shape, or on the way to one."""


def inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """What a caller has to feed: files of IR 3 list their weights as inputs, too."""
    weights = {t.name for t in graph.initializer}
    return [i for i in graph.input if i.name not in weights]


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The bodies of an `If`, `Loop` or `Scan`."""
    for a in node.attribute:
        if a.type == onnx.AttributeProto.GRAPH:
            yield a.g


def counted(model: ModelProto) -> Graph:
    """The operators of a file whose dimensions are fixed and whose nodes are named."""
    graph = _inferred(model).graph
    scope = _Scope()
    scope.note(inputs(graph))
    for i in inputs(graph):
        scope.ops.append(Op(i.name, "input", (), scope.shapes.get(i.name, ())))
        scope.source[i.name] = i.name
    scope.walk(graph)
    last = scope.source.get(graph.output[0].name, scope.ops[-1].name)
    return Graph(tuple(scope.ops), last)


def _inferred(model: ModelProto) -> ModelProto:
    """A copy with all shapes that can be told.

    Inference stops at a shape that is computed by more than a few kinds of operators, so what is known is computed and
    put in, by turns, until nothing new is found. Known is also what devices feed: zeros for whole numbers.
    """
    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.value_info[:]
    for output in made.graph.output:  # as exporters leave them: open, or -1
        output.type.tensor_type.ClearField("shape")
    opsets = tuple(model.opset_import)
    fed: Values = {i.name: zeros for i in inputs(model.graph) if (zeros := _zeros(i)) is not None}
    while True:
        try:
            made = onnx.shape_inference.infer_shapes(made, data_prop=True)
        except (onnx.shape_inference.InferenceError, ValueError):  # an operator that it trips over, or too large
            return made
        if not _fold(made.graph, opsets, fed, {}):
            return made


def _zeros(given: ValueInfoProto) -> NDArray[Any] | None:
    """What engines feed to an input of few whole numbers."""
    kind, shape = given.type.tensor_type.elem_type, [d.dim_value for d in given.type.tensor_type.shape.dim]
    return np.zeros(shape, tensor_dtype_to_np_dtype(kind)) if _whole(kind) and prod(shape) <= SMALL else None


def _fold(graph: GraphProto, opsets: Sequence[OperatorSetIdProto], values: Values, shapes: Mapping[str, Shape]) -> bool:
    """Replaces nodes whose whole numbers are known by initialisers, in place; True where there was one.

    `values` and `shapes` are what is known of the tensors of outer graphs.
    """
    scope = _Scope(shapes=dict(shapes))
    scope.note((*graph.input, *graph.value_info, *graph.output))
    values = dict(values)
    for t in graph.initializer:
        if prod(t.dims) <= SMALL and _whole(t.data_type):
            values[t.name] = numpy_helper.to_array(t)
    kept: list[NodeProto] = []
    for node in graph.node:
        found = _value(node, scope, opsets, values)
        if found is None:
            kept.append(node)
        else:
            values[node.output[0]] = found
            graph.initializer.append(numpy_helper.from_array(found, node.output[0]))
    changed = len(kept) < len(graph.node)
    for node in kept:
        if node.op_type == "If" and node.input[0] in values:
            _decide(node, bool(values[node.input[0]]))
        for body in subgraphs(node):
            _bring_in(body, values)
            changed |= _fold(body, opsets, values, scope.shapes)
    if changed:
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in kept]
        del graph.node[:]
        graph.node.extend(nodes)
    return changed


def _decide(node: NodeProto, condition: bool) -> None:
    """Makes both branches of an `If` the one that is taken."""
    taken, other = "then_branch", "else_branch"
    bodies = {a.name: a.g for a in node.attribute}
    if not condition:
        taken, other = other, taken
    bodies[other].CopyFrom(bodies[taken])


def _bring_in(body: GraphProto, values: Values) -> None:
    """Copies what is known outside and read in a body into it: inference does not look outside for values."""
    own = {t.name for t in body.initializer}
    read = dict.fromkeys(i for n in body.node for i in n.input if i in values and i not in own)
    body.initializer.extend(numpy_helper.from_array(values[i], i) for i in read)


def _value(node: NodeProto, scope: _Scope, opsets: Sequence[OperatorSetIdProto], values: Values) -> NDArray[Any] | None:
    """What a node gives, where that is a small tensor of whole numbers that depends on no input."""
    if len(node.output) != 1 or any(subgraphs(node)) or not _whole(scope.types.get(node.output[0], 0)):
        return None
    if node.op_type == "Shape" and not node.attribute and node.input[0] in scope.shapes:
        return np.array(scope.shapes[node.input[0]], np.int64)
    if not all(i in values for i in node.input if i) or prod(scope.shapes.get(node.output[0], ())) > SMALL:
        return None
    try:
        alone = GraphProto(name=node.name, node=[node])
        alone.input.extend(ValueInfoProto(name=i) for i in dict.fromkeys(node.input) if i)
        alone.output.append(ValueInfoProto(name=node.output[0]))
        reference = ReferenceEvaluator(ModelProto(ir_version=8, graph=alone, opset_import=opsets))
        (made,) = reference.run(None, {i: values[i] for i in node.input if i})
    except Exception:  # whatever the reference trips over, the node stays and costs a count
        return None
    return np.asarray(made) if np.size(made) <= SMALL else None


def _whole(kind: int) -> bool:
    return bool(kind) and tensor_dtype_to_np_dtype(kind).kind in "iub"


@dataclass(slots=True)
class _Scope:
    """What is known of the tensors of a graph, those that its outer graphs know included, and its operators so far."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    constant: set[str] = field(default_factory=set)
    ops: list[Op] = field(default_factory=list)

    def inner(self) -> _Scope:
        """A scope within this one."""
        return _Scope(dict(self.shapes), dict(self.types), dict(self.source), set(self.constant))

    def note(self, values: Iterable[ValueInfoProto]) -> None:
        for v in values:
            self.types[v.name] = v.type.tensor_type.elem_type
            if v.type.tensor_type.HasField("shape"):
                dims = v.type.tensor_type.shape.dim
                if all(d.HasField("dim_value") for d in dims):
                    self.shapes[v.name] = tuple(d.dim_value for d in dims)

    def walk(self, graph: GraphProto) -> None:
        """Adds the operators of a graph, in order. What is made of constants alone is a constant itself."""
        self.note((*graph.value_info, *graph.output))
        for t in graph.initializer:
            self.shapes[t.name], self.types[t.name] = tuple(t.dims), t.data_type
            self.constant.add(t.name)
        for node in graph.node:
            bodies = list(subgraphs(node))
            if not bodies and all(i in self.constant for i in node.input if i):
                self.constant.update(node.output)
                continue
            self._branch(bodies)
            sources = tuple(dict.fromkeys(s for i in node.input if (s := self._read(i)) is not None))
            out = node.output[0]
            bits = 8 if self.types.get(out) in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8) else 32
            macs = (("macs", self._macs(node)),)
            self.ops.append(Op(node.name, node.op_type, sources, self.shapes.get(out, ()), macs, bits=bits))
            self.source.update((o, node.name) for o in node.output)

    def _branch(self, bodies: Sequence[GraphProto]) -> None:
        found = []
        for body in bodies:
            inner = self.inner()
            inner.walk(body)
            found.append(inner.ops)
        self.ops += max(found, key=lambda ops: sum(o["macs"] for o in ops), default=[])

    def _read(self, tensor: str) -> str | None:
        """The operator behind a tensor, None for shapes and indices; weights become operators when they are read."""
        if tensor in self.constant and tensor not in self.source:
            kind = self.types.get(tensor, 0)
            if kind and tensor_dtype_to_np_dtype(kind).kind == "f":
                self.source[tensor] = f"constant {tensor}"
                shape = self.shapes.get(tensor, ())
                self.ops.append(Op(self.source[tensor], "Constant", (), shape, (("macs", 0),)))
        return self.source.get(tensor)

    def _macs(self, node: NodeProto) -> int:
        """Multiply-accumulates, 0 where a shape is not known."""
        try:
            first, second = (self.shapes[i] for i in node.input[:2])
            match node.op_type:
                case "Conv":
                    return prod(self.shapes[node.output[0]]) * prod(second[1:])
                case "ConvTranspose":
                    return prod(first) * prod(second[1:])
                case "Gemm":
                    inner = second[any(a.name == "transB" and a.i for a in node.attribute)]
                    return prod(self.shapes[node.output[0]]) * inner
                case "MatMul":
                    return prod(self.shapes[node.output[0]]) * first[-1]
                case "LSTM" | "GRU" | "RNN":  # (steps, batch, features) into all gates, and the state into them
                    return first[0] * first[1] * (prod(second) + prod(self.shapes[node.input[2]]))
        except (KeyError, ValueError):
            pass
        return 0
