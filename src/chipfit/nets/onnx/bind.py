"""Binds a file's nodes, one by one, to what they compute in torch: constants are folded, weights find their modules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

import torch
from onnx import GraphProto, ModelProto, NodeProto, OperatorSetIdProto
from onnx.helper import make_node
from torch import nn

from chipfit.core.errors import BadInput
from chipfit.nets.onnx.call import Array, Call, Constant, Rule, label
from chipfit.nets.onnx.constants import Alone, folded, of_node, stored
from chipfit.nets.onnx.file import fed
from chipfit.nets.onnx.fused import fused
from chipfit.nets.onnx.module import Node, OnnxModule, Step
from chipfit.nets.onnx.table import RULES

ONNX = ("", "ai.onnx")
"""How files write the domain of ONNX's own operators."""

CONTROL = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def bound(file: str, model: ModelProto, made_for: int | None, *, nhwc: bool = False) -> OnnxModule:
    """The module of a model in plain float32 (`plain`), whose batch is open or `made_for`.

    `nhwc`: the file takes pictures (H, W, C), the module (C, H, W).

    Raises:
        BadInput: an operator without a rule, or one that its rule does not take; names it.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ONNX), 0)
    job = _Job(file, opset, tuple(model.opset_import))
    sources = [given.name for given in fed(model.graph)]
    nodes = job.unrolled(model.graph)
    if nhwc:
        turned, sources = sources, [f"{sources[0]} channels first"]
        nodes.insert(0, make_node("Transpose", sources, turned, name="channels_last", perm=[0, 2, 3, 1]))
    job.made.update(sources)
    nodes = fused(nodes, job.known, model.graph.output[0].name)
    job.read.update(name for node in nodes for name in node.input)
    for node in nodes:
        job.bind(node)
    result = model.graph.output[0].name
    if result not in job.made:
        raise BadInput(f"{file}: its output {result!r} does not depend on what goes in; there is nothing to fit")
    return job.module(tuple(sources), result, made_for)


@dataclass
class _Job:
    """What is known of a file so far.

    `known` are constants, `made` values that depend on the input, `numbers` those among them that depend on its shape
    alone, `read` names that nodes read.
    """

    file: str
    opset: int
    opsets: tuple[OperatorSetIdProto, ...]
    known: dict[str, Constant] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)

    def unrolled(self, graph: GraphProto) -> list[NodeProto]:
        """The nodes that depend on the input, those of branches that are always taken among them."""
        for tensor in graph.initializer:
            value = stored(tensor)
            trained = value.dtype.kind == "f" and value.size > 1
            self.known[tensor.name] = Constant(value, tensor.name, trained)
        left: list[NodeProto] = []
        for node in graph.node:
            left += self._looked_at(node)
        return left

    def _looked_at(self, node: NodeProto) -> list[NodeProto]:
        """The node, unless it is folded; of an `If` that is decided, what its branch holds."""
        if node.domain not in ONNX:
            raise BadInput(f"{self.file}: operator {node.op_type!r} of {node.domain!r} is none of ONNX's own; {_WAY}")
        if node.op_type == "Constant":
            self._note(node)
            return []
        reads = [name for name in node.input if name]
        if node.op_type == "If" and node.input[0] in self.known:
            return self._decided(node)
        if node.op_type in CONTROL:
            raise BadInput(f"{self.file}: operator {node.op_type!r} (node {label(node)!r}) is control flow; {_WAY}")
        if reads and all(name in self.known for name in reads):
            self._fold(node)
            return []
        return [node]

    def _note(self, node: NodeProto) -> None:
        try:
            self.known[node.output[0]] = of_node(node)
        except ValueError as e:
            raise BadInput(f"{self.file}: constant {node.output[0]!r} {e}, which is not read") from e

    def _fold(self, node: NodeProto) -> None:
        inputs = [self.known[name].value if name else None for name in node.input]
        try:
            made = Alone(node, self.opsets).run(inputs)
        except Exception as e:  # whatever the reference trips over: it is of the file
            line = (str(e).strip().splitlines() or [type(e).__name__])[0][:160]
            raise BadInput(f"{self.file}: node {label(node)!r} ({node.op_type}) {line}") from e
        outputs = [name for name in node.output if name]
        self.known.update(zip(outputs, folded(node, self.known, made), strict=True))

    def _decided(self, node: NodeProto) -> list[NodeProto]:
        """The branch of an `If` whose condition is known, and what hands its outputs on."""
        taken = bool(self.known[node.input[0]].value.reshape(-1)[0])
        branch = next(a.g for a in node.attribute if a.name == ("then_branch" if taken else "else_branch"))
        left = self.unrolled(branch)
        for inner, outer in zip(branch.output, node.output, strict=True):
            left += self._looked_at(NodeProto(op_type="Identity", name=outer, input=[inner.name], output=[outer]))
        return left

    def bind(self, node: NodeProto) -> None:
        """Adds the step of a node."""
        reads = [name for name in node.input if name]
        lost = next((n for n in reads if n not in self.known and n not in self.made), None)
        if lost is not None:
            raise BadInput(f"{self.file}: node {label(node)!r} ({node.op_type}) reads {lost!r}, which nothing makes")
        self.made.update(name for name in node.output if name)
        if all(n in self.known or n in self.numbers for n in reads):
            self._count(node)
        else:
            self._compute(node)

    def _compute(self, node: NodeProto) -> None:
        """Adds the step of a node that computes with values."""
        call = Call(self.file, node, self.opset, self.known, self.read)
        function = self._rule(call)(call)
        call.finish()
        module, place = Node(function), self._place(call)
        held = self._fill(module, call)
        self.nodes[place] = module
        if node.op_type in ("Shape", "Size"):
            self.numbers.update(node.output)
        bound_or_held = call.bound.union(held)
        inputs = tuple("" if n in bound_or_held else name for n, name in enumerate(node.input))
        alone = Alone(node, self.opsets)
        self.steps.append(Step(call.label, node.op_type, inputs, tuple(node.output), held, place, alone))

    def _rule(self, call: Call) -> Rule:
        kind = call.node.op_type
        if kind not in RULES:
            near = get_close_matches(kind, RULES, 1)
            call.refuse(f"has no rule{f' (it has {near[0]!r})' if near else ''} and")
        return RULES[kind]

    def _count(self, node: NodeProto) -> None:
        """Adds the step of a node that computes with shapes alone, which needs no rule."""
        self.numbers.update(name for name in node.output if name)
        inputs, alone = tuple(node.input), Alone(node, self.opsets)
        self.steps.append(Step(label(node), node.op_type, inputs, tuple(node.output), {}, "", alone))

    def _fill(self, module: Node, call: Call) -> dict[int, str]:
        """Gives a node its arrays: those that its rule named, and the floats that it reads as they are."""
        held = {}
        for n, name in enumerate(call.node.input):
            constant = self.known.get(name)
            if constant is None or n in call.bound or constant.value.dtype.kind != "f" or constant.value.ndim == 0:
                continue
            held[n] = f"value_{n}"
            call.hold(held[n], constant)
        for role, array in call.arrays.items():
            if array.trained and array.constant.learnt:
                module.register_parameter(role, self._parameter(array.constant))
            else:
                module.register_buffer(role, torch.from_numpy(array.constant.value.copy()))
        for role, constant in call.tables.items():
            rows, width = constant.value.shape
            module.add_module(role, nn.Embedding(rows, width, _weight=self._parameter(constant)))
        return held

    def _parameter(self, constant: Constant) -> nn.Parameter:
        """The parameter of weights, one and the same for all that read them."""
        made = nn.Parameter(torch.from_numpy(constant.value.copy()))
        return self.parameters.setdefault(constant.source, made) if constant.source else made

    def _place(self, call: Call) -> str:
        """Where the node's module is: named like its weights, else like the node."""
        weight = next((h.constant.source for h in call.arrays.values() if h.constant.source), "").split(" ")[0]
        wish = weight.removesuffix(".weight") if weight.endswith(".weight") else call.label
        segments = [_segment(part) for part in re.split(r"[./]", wish) if part][:16]
        name, n = ".".join(segments) or call.node.op_type, 1
        while name in self.nodes:
            n += 1
            name = f"{'.'.join(segments)}_{n}"
        return name

    def module(self, sources: tuple[str, ...], result: str, made_for: int | None) -> OnnxModule:
        """The whole network."""
        whole = OnnxModule(self.steps, sources, result, self._constants(), made_for)
        for place, node in sorted(self.nodes.items(), key=lambda item: item[0].count(".")):
            *outer, last = place.split(".")
            parent: nn.Module = whole
            for part in outer:
                if part not in parent._modules:
                    parent.add_module(part, nn.Module())
                parent = parent.get_submodule(part)
            parent.add_module(last, node)
        return whole

    def _constants(self) -> Mapping[str, Array]:
        """Constants that steps read by name."""
        read = {name for step in self.steps for name in step.inputs if name in self.known}
        return {name: self.known[name].value for name in sorted(read)}


_WAY = "export the network for inference with operators of ONNX alone"


def _segment(text: str) -> str:
    """A part of a path that torch takes as the name of a module."""
    plain = re.sub(r"\W", "_", text)[:60]
    return f"{plain}_" if hasattr(OnnxModule, plain) or plain in _TAKEN else plain


_TAKEN = frozenset({
    "function", "steps", "sources", "result", "numbers", "made_for", "weight", "bias", "slope", "table",
    "running_mean", "running_var", "training",
})  # fmt: skip
