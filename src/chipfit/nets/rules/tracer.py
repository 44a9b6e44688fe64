"""Walks a functional program node by node, and keeps what rules need: values, constants, names and arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.export.graph_signature import InputKind, OutputKind

from chipfit.core.errors import Untraceable
from chipfit.core.graph import KINDS, Attr, Op, Weights
from chipfit.nets.names import INPUT, Names
from chipfit.nets.program import BATCH
from chipfit.nets.rules.call import Call, module_path, operator_name, shape_of, value_of
from chipfit.nets.rules.constants import Constant, computed, given


@dataclass(frozen=True, slots=True)
class Pending:
    """A value that is not made yet, for it is part of what its reader computes.

    `op` is what it is made of; `kind` is "expand" (a map that its reader broadcasts) or "mean" (over `axes`, one of the
    two spatial ones, the other to follow).
    """

    op: str
    kind: str
    axes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrays:
    """The names of an operator's arrays: `<prefix>.<role>`, but for those that are `tied` to another's (role, name)."""

    prefix: str
    tied: tuple[tuple[str, str], ...] = ()


NONE = Arrays("")

Known = str | Constant | Pending
"""What stands for a node: the operator that holds its value, a constant, or a part of what its reader computes."""

Rule = Callable[["Tracer", Call], None]


_HAVE_RULES = (
    "convolutions over two axes, dense layers, batch norms, pools, activations, softmax, arithmetic, concatenations "
    "and views have; write that part with them"
)


@dataclass
class Tracer:
    """The operators and arrays of a program, as far as it was walked.

    Raises:
        Untraceable: whatever has no rule, by name and place.
    """

    program: torch.export.ExportedProgram
    rules: Mapping[str, Rule]
    ops: list[Op] = field(default_factory=list)
    weights: Weights = field(default_factory=dict)
    output: str = ""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Operator -> shape, without the batch axis."""
    known: dict[str, Known] = field(default_factory=dict)
    parts: dict[str, list[Known]] = field(default_factory=dict)
    names: Names = field(default_factory=lambda: Names(INPUT))
    prefixes: Names = field(default_factory=Names)
    arrays: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    """Source of a constant -> name and shape of the array it became."""
    aliases: dict[str, list[str]] = field(default_factory=dict)
    """Source of a parameter or buffer -> every name that the module has for it."""
    users: dict[str, str] = field(default_factory=dict)
    """Parameter -> source of the one array that is made of it."""
    layers: dict[tuple[Any, ...], Arrays] = field(default_factory=dict)
    """What a layer is -> its arrays."""

    def walk(self) -> None:
        """Visits every node."""
        signature = self.program.graph_signature
        for spec in signature.output_specs:
            if spec.kind == OutputKind.BUFFER_MUTATION:
                raise Untraceable(f"forward changes buffer '{spec.target}'; a network keeps nothing between two inputs")
        specs = {spec.arg.name: spec for spec in signature.input_specs}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, specs[node.name])
            elif node.op == "output":
                self._output(node)
            elif node.op == "call_function":
                self._call(node)
            elif node.op != "get_attr":  # a sub-graph: the operator that runs it is refused by name
                raise Untraceable(f"the model cannot be traced: {node.op} {node.target}")

    def _placeholder(self, node: fx.Node, spec: Any) -> None:
        if spec.kind == InputKind.USER_INPUT:
            if self.ops:
                raise Untraceable(f"the model has a second input {node.name!r}; one input is supported")
            self.add(INPUT, "input", (), self.sample_shape(node))
            self.known[node.name] = INPUT
            return
        state = {**self.program.constants, **self.program.state_dict}
        if spec.target is None or not isinstance(state.get(spec.target), torch.Tensor):
            raise Untraceable(f"the model has an input {node.name!r} that is no tensor; one input is supported")
        parameter = spec.kind == InputKind.PARAMETER
        found = self.known[node.name] = given(state[spec.target], spec.target, parameter)
        self.aliases.setdefault(found.source, []).append(spec.target)

    def _output(self, node: fx.Node) -> None:
        outputs, specs = node.args[0], self.program.graph_signature.output_specs
        assert isinstance(outputs, tuple | list)
        wanted = [n for n, s in zip(outputs, specs, strict=True) if s.kind == OutputKind.USER_OUTPUT]
        if len(wanted) != 1 or not isinstance(wanted[0], fx.Node):
            raise Untraceable("the model returns more than one tensor; return the logits alone")
        found = self.known.get(wanted[0].name)
        if isinstance(found, Pending):
            raise Untraceable(f"the model returns a part of a computation ({found.kind}); return the logits")
        if not isinstance(found, str):
            raise Untraceable("the model returns a value that its input does not set; return the logits")
        self.output = found

    def _call(self, node: fx.Node) -> None:
        if node.target is operator.getitem:
            source, index = node.args
            assert isinstance(source, fx.Node)
            assert isinstance(index, int)
            self.known[node.name] = self.parts[source.name][index]
            return
        if not isinstance(node.target, torch._ops.OpOverload):
            raise Untraceable(
                f"forward runs a part of the model as a sub-graph ('{operator_name(node)}', in "
                f"'{module_path(node) or 'the model'}'), as `with torch.autocast(...)` does; take it out of forward"
            )
        call = Call(node)
        if all(isinstance(self.known.get(n.name), Constant) for n in node.all_input_nodes):
            self._constant(node)
        elif call.name not in self.rules:
            where = call.path or "the model"
            raise Untraceable(f"operator '{call.name}' (in '{where}') has no rule; {_HAVE_RULES}")
        else:
            self.rules[call.name](self, call)
            call.finish()

    def _constant(self, node: fx.Node) -> None:
        values = node.meta.get("val")
        if values is None:  # an assertion
            return
        found = computed(node, {n.name: self._as_constant(n) for n in node.all_input_nodes})
        if isinstance(found, Constant):
            self.known[node.name] = found
        else:
            self.parts[node.name] = list(found)

    def _as_constant(self, node: fx.Node) -> Constant:
        found = self.known[node.name]
        assert isinstance(found, Constant)
        return found

    # what rules ask

    def sample_shape(self, node: fx.Node) -> tuple[int, ...]:
        """Shape of a float value without its batch axis."""
        shape, dtype = shape_of(node), value_of(node).dtype
        if dtype != torch.float32:
            raise Untraceable(f"'{node.name}' (in '{module_path(node) or 'the model'}') is of {dtype}, not float32")
        if not shape or shape[0] != BATCH:
            raise Untraceable(f"'{node.name}' mixes the batch axis with others (shape {shape} for a batch of {BATCH})")
        return shape[1:]

    def operand(self, call: Call, name: str) -> Known:
        """What stands for an argument."""
        return self.known[call.node_of(name).name]

    def value(self, call: Call, name: str = "input") -> str:
        """The operator that holds an argument."""
        name = "self" if name == "input" and "input" not in call.values else name
        return self.made(call, self.operand(call, name))

    def made(self, call: Call, found: Known) -> str:
        """The operator, where it is one."""
        if isinstance(found, Constant):
            call.refuse(f"on the constant '{found.name}'")
        if isinstance(found, Pending):
            what = "expanded map" if found.kind == "expand" else f"mean over axes [{found.axes[0]}]"
            call.refuse(f"on a {what}")
        return found

    def constant(self, call: Call, name: str) -> Constant | None:
        """An argument that is a parameter, buffer or what is computed of them; None where it is left out."""
        if call.values.get(name) is None:
            call.take(name)
            return None
        found = self.operand(call, name)
        if not isinstance(found, Constant):
            call.refuse(f"takes its {name} from the input, which")
        return found

    def add(
        self,
        wish: str,
        kind: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        layer: Arrays = NONE,
        **attrs: Attr,
    ) -> str:
        """Adds an operator and returns its name, made of the wish."""
        assert kind in KINDS
        name = INPUT if kind == "input" else self.names.fresh(wish)
        self.ops.append(Op(name, kind, inputs, shape, tuple(sorted(attrs.items())), layer.prefix, tied=layer.tied))
        self.shapes[name] = shape
        return name

    def put(self, call: Call, kind: str, inputs: tuple[str, ...], **attrs: Attr) -> str:
        """Adds the operator of a call, named after its module, and returns its name."""
        name = self.add(self.wish(call, kind), kind, inputs, self.sample_shape(call.node), NONE, **attrs)
        self.known[call.node.name] = name
        return name

    def wish(self, call: Call, kind: str) -> str:
        """The name of a module that is one operator, else that of the module and the kind."""
        stack = list((call.node.meta.get("nn_module_stack") or {"": ("", "")}).values())
        whole = "torch.nn.modules" in str(stack[-1][1])
        return call.path if call.path and whole else f"{call.path}.{kind}" if call.path else kind

    def layer(
        self, call: Call, kind: str, inputs: tuple[str, ...], arrays: Mapping[str, Constant], prefix: str, **attrs: Attr
    ) -> str:
        """Adds an operator with arrays (role -> constant), which share what they share in the module.

        `prefix` names the layer: that of its first use is kept where the same layer is used again.
        """
        shape = self.sample_shape(call.node)
        identity = (kind, tuple((role, _key(c)) for role, c in arrays.items()), tuple(attrs.items()), len(shape))
        again = all(c.source for c in arrays.values()) and identity in self.layers
        if not again:
            self.layers[identity] = self._new_layer(call, arrays, prefix)
        layer = self.layers[identity]
        name = self.add(layer.prefix, kind, inputs, shape, layer, **attrs)
        self.known[call.node.name] = name
        return name

    def owner(self, call: Call, constant: Constant, role: str) -> str:
        """The path of the module that an array is of: the caller's, where it is one of several names of the array.

        Of a computed array it is the caller's path.
        """
        names = self.aliases.get(constant.source, [])
        if not names or f"{call.path}.{role}" in names:
            return call.path or call.name
        return constant.name.removesuffix(f".{role}")

    def _new_layer(self, call: Call, arrays: Mapping[str, Constant], prefix: str) -> Arrays:
        sharing = [c for c in arrays.values() if c.source in self.arrays]
        own = self.prefixes.fresh(call.path or prefix if sharing else prefix)
        tied = []
        for role, constant in arrays.items():
            name = self._array(call, constant, f"{own}.{role}")
            if name != f"{own}.{role}":
                tied.append((role, name))
        if len({name for _, name in tied}) < len(tied):
            call.refuse("with one parameter in two of its places")
        return Arrays(own, tuple(tied))

    def _array(self, call: Call, constant: Constant, name: str) -> str:
        """The name of a constant's array: that of its first use."""
        shape = tuple(constant.value.shape)
        for root in constant.roots:
            if self.users.setdefault(root, constant.source) != constant.source:
                call.refuse(
                    f"changes parameter '{constant.name}', which is used elsewhere as it is or changed in another way:"
                    " such a tie"
                )
        if constant.source:
            name, before = self.arrays.setdefault(constant.source, (name, shape))
            if before != shape:
                call.refuse(f"reads parameter '{constant.name}' as {shape}, elsewhere it is {before}: such a tie")
        self.weights[name] = np.array(constant.value.detach().float().cpu().numpy(), order="C")
        return name


def _key(constant: Constant) -> tuple[str, tuple[int, ...]]:
    return constant.source, tuple(constant.value.shape)
