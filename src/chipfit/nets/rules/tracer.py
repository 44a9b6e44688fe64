"""Walks a functional program node by node, and keeps what rules need: values, constants, names and arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Set
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
from chipfit.nets.rules.call import Call, Unruled, module_path, operator_name, shape_of, value_of
from chipfit.nets.rules.constants import Constant, Root, computed, given
from chipfit.nets.rules.known import NONE, Arrays, Known, Loose, Pending
from chipfit.nets.rules.layout import FIRST, Layout

__all__ = ["NONE", "NO_RULE", "Arrays", "Known", "Loose", "Parted", "Pending", "Rule", "Take", "Tracer"]


Rule = Callable[["Tracer", Call], None]
Take = Callable[["Tracer", fx.Node, str], None]
"""What becomes of a node that no rule takes, for the reason given."""

NO_RULE = "no rule"

ONE_OPERATOR = ("torch.nn.modules", "chipfit.nets.onnx")
"""Where modules come from that are each one operator, which is named like its module."""

LIKE_ANOTHER = frozenset({"expand_as", "view_as", "reshape_as", "type_as"})
"""Operators that read no more of their second value than its shape."""


class Parted(Exception):
    """Several arrays would be made of one parameter, which no two layers could share: `root` says which one it is."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.root = root


@dataclass
class Tracer:
    """The operators and arrays of a program, as far as it was walked.

    Raises:
        Untraceable: whatever has no rule, by name and place.
    """

    program: torch.export.ExportedProgram
    rules: Mapping[str, Rule]
    anywhere: Set[str]
    """Operators whose rules name axes by `Call.axis` alone, so that the batch may be at any axis."""
    take: Take
    inside: str = ""
    """How the names of arrays begin in a module that presents another one."""
    parted: Set[str] = frozenset()
    """Parameters of which several things are computed: operators read them as they are, or are taken as they are."""
    ops: list[Op] = field(default_factory=list)
    weights: Weights = field(default_factory=dict)
    output: str = ""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Operator -> shape, without the batch axis."""
    known: dict[str, Known] = field(default_factory=dict)
    parts: dict[str, list[Known]] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    """Node -> where its batch is, of those where it is not alone at the first axis."""
    names: Names = field(default_factory=lambda: Names(INPUT))
    prefixes: Names = field(default_factory=Names)
    arrays: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    """Source of a constant -> name and shape of the array it became."""
    aliases: dict[str, list[str]] = field(default_factory=dict)
    """Source of a parameter or buffer -> every name that the module has for it."""
    users: dict[Root, str] = field(default_factory=dict)
    """Parameter, or a part of it -> source of the one array that is made of it."""
    frozen: set[str] = field(default_factory=set)
    """Sources of parameters that nobody trains: what is made of them may part."""
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
            whole = not value_of(node).is_floating_point()
            shape = shape_of(node)[1:] if whole else self.sample_shape(node)
            self.add(INPUT, "input", (), shape, NONE, **({"integer": 1} if whole else {}))
            self.known[node.name] = INPUT
            return
        state = {**self.program.constants, **self.program.state_dict}
        if spec.target is None or not isinstance(state.get(spec.target), torch.Tensor):
            raise Untraceable(f"the model has an input {node.name!r} that is no tensor; one input is supported")
        parameter, name = spec.kind == InputKind.PARAMETER, spec.target.removeprefix(self.inside)
        found = self.known[node.name] = given(state[spec.target], name, parameter)
        self.aliases.setdefault(found.source, []).append(name)
        if parameter and not state[spec.target].requires_grad:
            self.frozen.add(found.source)

    def _output(self, node: fx.Node) -> None:
        outputs, specs = node.args[0], self.program.graph_signature.output_specs
        assert isinstance(outputs, tuple | list)
        wanted = [n for n, s in zip(outputs, specs, strict=True) if s.kind == OutputKind.USER_OUTPUT]
        if len(wanted) != 1 or not isinstance(wanted[0], fx.Node):
            raise Untraceable("the model returns more than one tensor; return the logits alone")
        found = self.known.get(wanted[0].name)
        if isinstance(found, Pending) and found.kind == "expand":
            self.take(self, wanted[0], NO_RULE)
            found = self.known[wanted[0].name]
        if isinstance(found, Pending):
            raise Untraceable(f"the model returns a part of a computation ({found.kind}); return the logits")
        if isinstance(found, Loose):
            self.sample_shape(wanted[0])  # says what it is
        if self.layout(wanted[0]) != FIRST:
            raise Untraceable("the model returns a value whose batch axis is not the first; move it there")
        if not isinstance(found, str):
            raise Untraceable("the model returns a value that its input does not set; return the logits")
        self.output = found

    def _call(self, node: fx.Node) -> None:
        if node.target is operator.getitem:
            self._part(node)
            return
        if not isinstance(node.target, torch._ops.OpOverload):
            raise Untraceable(
                f"forward runs a part of the model as a sub-graph ('{operator_name(node)}', in "
                f"'{module_path(node) or 'the model'}'), as `with torch.autocast(...)` does; take it out of forward"
            )
        if all(isinstance(self.known.get(n.name), Constant) for n in node.all_input_nodes):
            self._constant(node)
            return
        marks = self._marks()
        try:
            self._known_operator(Call(node))
        except Unruled as refused:
            self._back_to(marks)
            self.layouts.pop(node.name, None)
            self.take(self, node, refused.why)

    def _known_operator(self, call: Call) -> None:
        """Applies the rule of an operator.

        Raises:
            Unruled: it has none, or one that does not take it.
        """
        if call.name not in self.rules:
            raise Unruled(f"operator '{call.name}' (in '{call.path or 'the model'}') has no rule", NO_RULE)
        if any(self.computed_of_parted(n) for n in call.node.all_input_nodes):
            call.refuse("reads what is computed of a parameter that is used elsewhere too, so that it")
        nodes = [call.values["self"]] if call.name in LIKE_ANOTHER else call.node.all_input_nodes
        if any(isinstance(self.known.get(n.name), Loose) for n in nodes):
            call.refuse("reads what is taken as it is, so that it")
        read = {self.layout(n) for n in nodes if not isinstance(self.known.get(n.name), Constant)} or {FIRST}
        if len(read) > 1:
            call.refuse("between values that have the batch at different axes")
        call.layout = read.pop()
        if call.layout != FIRST:
            if call.name not in self.anywhere:
                call.refuse("with the batch at another axis than the first, which")
            self.layouts[call.node.name] = self._like(call)
        self.rules[call.name](self, call)
        call.finish()

    def _like(self, call: Call) -> Layout:
        """Where the batch is in what an operator makes of values that have it elsewhere than first."""
        found, layout = call.node.meta.get("val"), call.layout
        if found is None:
            return layout
        size = layout.merged * BATCH
        places = [axis for axis, n in enumerate(shape_of(call.node)) if n == size]
        return Layout(places[0], layout.before, layout.after) if len(places) == 1 else layout

    def _part(self, node: fx.Node) -> None:
        """One of several values of an operator."""
        source, index = node.args
        assert isinstance(source, fx.Node)
        assert isinstance(index, int)
        loose = self.known.get(source.name)
        if isinstance(loose, Loose):
            self.take(self, node, loose.why)
            return
        self.known[node.name] = self.parts[source.name][index]
        if source.name in self.layouts:
            self.layouts[node.name] = self.layouts[source.name]

    def _growing(self) -> tuple[Any, ...]:
        return (
            self.weights, self.shapes, self.known, self.parts, self.arrays, self.users, self.layers,
        )  # fmt: skip

    def _marks(self) -> tuple[int, ...]:
        """How much there is of everything, before a rule adds to it."""
        return (len(self.ops), len(self.names), len(self.prefixes), *map(len, self._growing()))

    def _back_to(self, marks: tuple[int, ...]) -> None:
        """Takes back what a rule added before it refused."""
        del self.ops[marks[0] :]
        self.names.back_to(marks[1])
        self.prefixes.back_to(marks[2])
        for table, length in zip(self._growing(), marks[3:], strict=True):
            while len(table) > length:
                table.popitem()

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

    def computed_of_parted(self, node: fx.Node) -> bool:
        """True for a constant that is computed of a parameter which has other users."""
        found = self.known.get(node.name)
        if not isinstance(found, Constant):
            return False
        parameters = {root.parameter for root in found.roots}
        return bool(parameters & self.parted) and found.source not in parameters

    def layout(self, node: fx.Node) -> Layout:
        """Where a value has its batch."""
        return self.layouts.get(node.name, FIRST)

    def put_batch(self, node: fx.Node, layout: Layout) -> None:
        """Says where a value has its batch."""
        if layout == FIRST:
            self.layouts.pop(node.name, None)
        else:
            self.layouts[node.name] = layout

    def sample_shape(self, node: fx.Node) -> tuple[int, ...]:
        """Shape of a float value without its batch axis."""
        shape, dtype, layout = shape_of(node), value_of(node).dtype, self.layout(node)
        where = f"(in '{module_path(node) or 'the model'}')"
        if dtype != torch.float32:
            raise Unruled(f"'{node.name}' {where} is of {dtype}, not float32", f"it is of {dtype}")
        size = layout.merged * BATCH
        if len(shape) <= layout.axis or shape[layout.axis] != size:
            told = tuple("batch" if n == BATCH else n for n in shape)
            raise Unruled(f"'{node.name}' {where} mixes the batch axis with others: shape {told}", "mixes the batch")
        return layout.stripped(shape)

    def operand(self, call: Call, name: str) -> Known:
        """What stands for an argument."""
        return self.known[call.node_of(name).name]

    def stands_for(self, call: Call, node: fx.Node) -> str:
        """The operator that holds a value which a rule reads."""
        return self.made(call, self.known[node.name])

    def value(self, call: Call, name: str = "input") -> str:
        """The operator that holds an argument."""
        name = "self" if name == "input" and "input" not in call.values else name
        return self.made(call, self.operand(call, name))

    def made(self, call: Call, found: Known) -> str:
        """The operator, where it is one."""
        if isinstance(found, Constant):
            call.refuse(f"on the constant '{found.name}'")
        assert not isinstance(found, Loose)
        if isinstance(found, Pending):
            what = {"expand": "expanded map", "whole": "value made whole"}
            call.refuse(f"on a {what.get(found.kind, f'mean over axes {list(found.axes)}')}")
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
        whole = any(place in str(stack[-1][1]) for place in ONE_OPERATOR)
        return call.path if call.path and whole else f"{call.path}.{kind}" if call.path else kind

    def layer(
        self, call: Call, kind: str, inputs: tuple[str, ...], arrays: Mapping[str, Constant], prefix: str, **attrs: Attr
    ) -> None:
        """Adds an operator with arrays (role -> constant), which share what they share in the module.

        `prefix` names the layer: that of its first use is kept where the same layer is used again.
        """
        shape = self.sample_shape(call.node)
        self.known[call.node.name] = self.shared(call, kind, inputs, shape, arrays, prefix, **attrs)

    def shared(
        self,
        call: Call,
        kind: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        arrays: Mapping[str, Constant],
        prefix: str,
        **attrs: Attr,
    ) -> str:
        """Adds an operator with arrays as `layer` does, for a node that may be another than the call's."""
        identity = (kind, tuple((role, _key(c)) for role, c in arrays.items()), tuple(attrs.items()), len(shape))
        again = all(c.source for c in arrays.values()) and identity in self.layers
        if not again:
            self.layers[identity] = self._new_layer(call, arrays, prefix)
        layer = self.layers[identity]
        return self.add(layer.prefix, kind, inputs, shape, layer, **attrs)

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
            if root.parameter in self.frozen:
                continue
            if root.parameter in self.parted and constant.source != root.parameter:
                call.refuse(f"changes parameter '{constant.name}', which is used elsewhere too, so that it")
            others = [other for other, source in self.users.items() if source != constant.source]
            if any(root.overlaps(other) for other in others):
                raise Parted(root.parameter)
            self.users[root] = constant.source
        if constant.source:
            name, before = self.arrays.setdefault(constant.source, (name, shape))
            if before != shape:
                call.refuse(f"reads parameter '{constant.name}' as {shape}, elsewhere it is {before}: such a tie")
        self.weights[name] = np.array(constant.value.detach().float().cpu().numpy(), order="C")
        return name


def _key(constant: Constant) -> tuple[str, tuple[int, ...]]:
    return constant.source, tuple(constant.value.shape)
