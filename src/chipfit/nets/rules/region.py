"""What no rule takes becomes an opaque operator: one ATen operator, or a region of several.

A value of the graph is a batch of floats. Where torch has something else between two of those (whole numbers, truth
values, several values at once, the batch merged with windows in an order that nobody knows), the operators in between
become one: its program starts at the values of the graph and ends at the first that is a batch of floats again.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from chipfit.core.errors import Untraceable
from chipfit.core.opaque import KIND, Argument, Array, Program, Step
from chipfit.nets.opaque import draws, run
from chipfit.nets.program import BATCH
from chipfit.nets.rules.call import Call, module_path, operator_name, shape_of
from chipfit.nets.rules.constants import Constant, once
from chipfit.nets.rules.layout import FIRST, Layout
from chipfit.nets.rules.tracer import NONE, Known, Loose, Tracer

EXACT = 2**24
"""Whole numbers up to here are exact in float32."""

_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
"""Operators that read all rows of their input, one after the other, with the same arrays."""

_SIZES = 2**40
"""Whole numbers from here on are no sizes, but stand for "to the end"."""

_ELSEWHERE = frozenset({"device", "pin_memory", "layout", "memory_format", "non_blocking"})
"""Arguments that say where values are, not what they are."""

_AS_RESHAPE = frozenset({"view", "_unsafe_view"})
"""Views of memory, which what reads another layout of it cannot take; `reshape` gives the same values."""


def take(t: Tracer, node: fx.Node, why: str) -> None:
    """Makes a node, with all that is loose before it, an operator that is taken as it is; or leaves it loose.

    Raises:
        Untraceable: what it computes is no function of the input.
    """
    _refuse_random(node)
    place = _closes(node)
    if place is None:
        t.known[node.name] = Loose(why)
        return
    parts = _parts(node)
    if len(parts) > 1:
        _take_together(t, parts, why)
        return
    region = _Region(t)
    region.add(node)
    result = region.result(node, place)
    t.known[node.name] = _made(t, region, result, place.stripped(shape_of(node)), Call(_maker(node)), why)
    t.put_batch(node, place)


def _parts(node: fx.Node) -> list[fx.Node]:
    """Those of an operator's values that are read, if this is one of them and all can end a region."""
    if node.target is not operator.getitem:
        return []
    parts = [part for part in _maker(node).users if part.users]
    return parts if all(part.target is operator.getitem and _closes(part) for part in parts) else []


def _take_together(t: Tracer, parts: Sequence[fx.Node], why: str) -> None:
    """One operator for several values of one ATen operator: they are side by side in it, and cut apart behind it."""
    region, call, rows = _Region(t), Call(_maker(parts[0])), []
    for part in parts:
        region.add(part)
        place = _closes(part)
        assert place is not None
        rows.append(region.write("flatten.using_ints", [region.result(part, place), 1]))
        t.put_batch(part, place)
    shapes = [t.layout(part).stripped(shape_of(part)) for part in parts]
    size = sum(map(prod, shapes))
    whole = _made(t, region, region.write("cat.default", [rows, 1]), (size,), call, why)
    start = 0
    for part, shape in zip(parts, shapes, strict=True):
        stop = start + prod(shape)
        row = t.add(f"{whole}.slice", "slice", (whole,), (stop - start,), axis=0, start=start, stop=stop, step=1)
        made = row if len(shape) == 1 else t.add(f"{whole}.reshape", "reshape", (row,), shape, to=shape)
        t.known[part.name], start = made, stop


def _made(t: Tracer, region: _Region, result: Argument, shape: tuple[int, ...], call: Call, why: str) -> str:
    """Adds the operator of a region."""
    program = region.program(result)
    first = next((k.why for k in region.loose if isinstance(k, Loose)), why)
    attrs: dict[str, Any] = {"program": program.text(), "why": first, "macs": _macs(t, program, region.inputs)}
    inputs = tuple(region.inputs)
    if region.arrays:
        return t.shared(call, KIND, inputs, shape, region.arrays, _owner(t, call, region), **attrs)
    return t.add(t.wish(call, call.name), KIND, inputs, shape, NONE, **attrs)


def _refuse_random(node: fx.Node) -> None:
    target = node.target
    if isinstance(target, torch._ops.OpOverload) and draws(target, node.args, node.kwargs):
        where = module_path(node) or "the model"
        raise Untraceable(
            f"operator '{operator_name(node)}' (in '{where}') draws random numbers; the network would not repeat"
        )


def _closes(node: fx.Node) -> Layout | None:
    """Where the batch is in a value that can end a region: floats with the batch alone at one axis."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or value.dtype != torch.float32:
        return None
    holding = [axis for axis, size in enumerate(value.shape) if size and int(size) % BATCH == 0]
    if len(holding) != 1 or int(value.shape[holding[0]]) != BATCH:
        return None
    return Layout(holding[0])


def _maker(node: fx.Node) -> fx.Node:
    """The node of an operator whose value, or one of whose values, this is."""
    if node.target is operator.getitem:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        return source
    return node


def _owner(t: Tracer, call: Call, region: _Region) -> str:
    """The prefix of the arrays: the module that all of them belong to, else the operator's own name."""
    owners = {c.name.rpartition(".")[0] for c in region.arrays.values() if c.source and " " not in c.name}
    return owners.pop() or call.name if len(owners) == 1 else t.wish(call, call.name)


class _Region:
    """The program of a region in the making, with what it reads."""

    def __init__(self, t: Tracer) -> None:
        self.t = t
        self.inputs: list[str] = []
        self.arrays: dict[str, Constant] = {}
        self.loose: list[Known] = []
        self.steps: list[Step] = []
        self.known: dict[str, Argument] = {}
        """Node, or place of an input or an array -> the argument that stands for it."""

    def add(self, node: fx.Node) -> None:
        """Writes the steps of a node and of all that is loose before it, as far as they are not written."""
        for part in self._before(node):
            if part.name in self.known:
                continue
            if found := self.t.known.get(part.name):
                self.loose.append(found)
            if part.target is operator.getitem:
                source, index = part.args
                assert isinstance(source, fx.Node)
                self.known[part.name] = {**self._node(source), "part": index}
            else:
                self.known[part.name] = self._step(part)

    def result(self, node: fx.Node, place: Layout) -> Argument:
        """What a node makes, with the batch first."""
        made = self.known[node.name]
        if place == FIRST:
            return made
        order = [place.axis, *(a for a in range(len(shape_of(node))) if a != place.axis)]
        return self.write("permute.default", [made, order])

    def program(self, result: Argument) -> Program:
        """The whole program."""
        arrays = tuple(_described(role, c) for role, c in self.arrays.items())
        first = self.t.ops[0]
        whole = tuple(i for i, name in enumerate(self.inputs) if name == first.name and first.get("integer"))
        return Program(tuple(self.steps), result, arrays, whole)

    def _before(self, node: fx.Node) -> list[fx.Node]:
        """A node and all that is loose before it, in running order."""
        found, stack = {node}, [node]
        while stack:
            for source in stack.pop().all_input_nodes:
                if source not in found and not isinstance(self.t.known.get(source.name), str | Constant):
                    found.add(source)
                    stack.append(source)
        return sorted(found)

    def _step(self, node: fx.Node) -> Argument:
        target = node.target
        if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
            raise Untraceable(f"operator '{node.target}' (in '{module_path(node) or 'the model'}') is none of torch's")
        _refuse_random(node)
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
            where = module_path(node) or "the model"
            raise Untraceable(f"operator '{operator_name(node)}' with dtype={value.dtype} (in '{where}') has no rule")
        name = str(target).removeprefix("aten.")
        packet = name.partition(".")[0]
        if packet in _AS_RESHAPE and name.endswith(".default"):
            name = "reshape.default"
        keywords = {k: self._argument(v) for k, v in node.kwargs.items() if k not in _ELSEWHERE and v is not None}
        return self.write(name, [self._argument(a) for a in node.args], keywords)

    def write(self, name: str, arguments: list[Argument], keywords: dict[str, Argument] | None = None) -> Argument:
        """Adds a step, and returns what stands for what it makes."""
        self.steps.append(Step(name, tuple(arguments), keywords or {}))
        return {"step": len(self.steps) - 1}

    def _argument(self, value: Any) -> Argument:
        match value:
            case fx.Node():
                return self._node(value)
            case bool() | float() | str() | None:
                return value
            case int():
                return {"batch": value // BATCH} if 0 < value < _SIZES and value % BATCH == 0 else value
            case list() | tuple():
                return [self._argument(part) for part in value]
            case torch.dtype():
                return {"dtype": str(value).removeprefix("torch.")}
            case torch.memory_format() | torch.layout() | torch.device():
                return None
        raise Untraceable(f"the model cannot be traced: an operator takes {value!r}")

    def _node(self, node: fx.Node) -> Argument:
        if node.name in self.known:
            return self.known[node.name]
        found = self.t.known[node.name]
        if isinstance(found, Constant):
            made = self._constant(found, node)
        else:
            assert isinstance(found, str)
            made = self._input(found, node)
        self.known[node.name] = made
        return made

    def _input(self, name: str, node: fx.Node) -> Argument:
        """A value of the graph, in the shape that torch has it."""
        if name not in self.inputs:
            self.inputs.append(name)
        given, layout = {"input": self.inputs.index(name)}, self.t.layout(node)
        if layout == FIRST:
            return given
        shape = shape_of(node)
        axis, rank = layout.axis, len(shape)
        outer, inner = list(shape[:axis]), list(shape[axis + 1 :])
        if layout.merged == 1:
            return self.write("permute.default", [given, [*range(1, axis + 1), 0, *range(axis + 1, rank)]])
        parted = self.write("reshape.default", [given, [{"batch": 1}, *outer, layout.before, layout.after, *inner]])
        order = [*range(1, axis + 2), 0, *range(axis + 2, rank + 2)]
        turned = self.write("permute.default", [parted, order])
        return self.write("reshape.default", [turned, [*outer, {"batch": layout.merged}, *inner]])

    def _constant(self, constant: Constant, node: fx.Node) -> Argument:
        """An array, made as large as the batch where it is one for each input.

        What differs by the place in the batch (`arange(batch)`, as it numbers inputs that are taken together) is made
        anew for every batch, and what is computed of a parameter that has other users is computed here.
        """
        if node.op == "call_function" and node.target is not operator.getitem and self.t.computed_of_parted(node):
            return self._step(node)
        kept, sizes = once(constant, BATCH)
        if kept is None and node.op == "call_function" and node.target is not operator.getitem:
            return self._step(node)
        if kept is None:
            raise Untraceable(f"'{constant.name}' differs from input to input by its place in the batch")
        array = self._array(kept)
        if sizes is None:
            return array
        return self.write("expand.default", [array, [self._argument(n) for n in sizes]])

    def _array(self, constant: Constant) -> Argument:
        """An array in its own shape; one that another operator has in another shape is that one's, seen so."""
        shape = tuple(constant.value.shape)
        _, elsewhere = self.t.arrays.get(constant.source, ("", shape))
        if elsewhere == shape or prod(elsewhere) != prod(shape):
            return {"array": self._role(constant)}
        shared = replace(constant, value=constant.value.reshape(elsewhere))
        return self.write("reshape.default", [{"array": self._role(shared)}, list(shape)])

    def _role(self, constant: Constant) -> str:
        for role, known in self.arrays.items():
            same = constant.source and known.source == constant.source and known.value.shape == constant.value.shape
            if known is constant or same:
                return role
        wish = re.sub(r"\W", "_", re.split(r"[ .]", constant.name)[-1]) or "constant"
        wish = wish if constant.source and re.match(r"[a-z]", wish) else "constant"
        wish = f"{wish}_" if hasattr(nn.Module, wish) or wish in ("program", "training") else wish
        role, n = wish, 1
        while role in self.arrays:
            n += 1
            role = f"{wish}_{n}"
        self.arrays[role] = constant
        return role


def _described(role: str, constant: Constant) -> Array:
    """An array as the program knows it.

    Raises:
        Untraceable: float32 cannot hold it.
    """
    value = constant.value
    dtype = str(value.dtype).removeprefix("torch.")
    counts = not value.is_floating_point() and value.dtype != torch.bool and value.numel()
    if value.is_complex() or (counts and int(value.abs().max()) >= EXACT):
        raise Untraceable(f"constant '{constant.name}' holds numbers ({dtype}) that float32 has not")
    learnt = constant.learnt and value.is_floating_point()
    return Array(role, tuple(value.shape), dtype, learnt)


def _macs(t: Tracer, program: Program, inputs: list[str]) -> int:
    """Multiply-accumulates for one input, as far as torch counts them."""
    if any(s.operator.partition(".")[0] in _RECURRENT for s in program.steps):  # which torch does not count
        length = t.shapes[inputs[0]][0]
        return length * sum(prod(a.shape) for a in program.arrays if len(a.shape) == 2)
    given = [torch.zeros(1, *t.shapes[name]) for name in inputs]
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            run(program, {a.role: torch.zeros(a.shape) for a in program.arrays}, tuple(given))
    except Exception:  # torch's own, of an operator that takes no zeros: it counts for nothing
        return 0
    return int(counter.get_total_flops()) // 2
