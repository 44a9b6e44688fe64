"""One node of a file, its attributes bound by name, and what it becomes: a function of arrays and values.

A rule reads every attribute that it carries over; whatever it leaves must have no say (`ignore`), or the file is
refused with operator, attribute and value. So no rule overlooks an attribute, nor one that a later operator set adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, NoReturn, final

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from onnx.helper import get_attribute_value
from torch import Tensor, nn

from chipfit.core.errors import BadInput

Array = NDArray[Any]

Value = Tensor | Array
"""What a name of the file stands for while it runs: a tensor that depends on the input, or numbers that do not."""


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Numbers that do not depend on the input: a tensor of the file, or what is computed of some.

    `learnt` is true of weights, and of what only looks at them in another form. Equal `source` means the same weights.
    """

    value: Array
    source: str = ""
    learnt: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What a node may ask while it runs: its arrays, and of a file of one batch size what it was made for.

    `made_for` is that size, `then` the shape that the node's first input has under it; both None where any size may be.
    """

    module: nn.Module
    made_for: int | None = None
    then: tuple[int, ...] | None = None

    def array(self, role: str) -> Tensor:
        """An array of the node."""
        found: Tensor = getattr(self.module, role)
        return found


SHAPES = frozenset({"Shape", "Size"})
"""Operators that look at the shape of a value alone."""


def label(node: NodeProto) -> str:
    """What to call a node in messages: its name, else an output, else its kind."""
    return node.name or next((o for o in node.output if o), node.op_type)


Function = Callable[..., Any]
"""(run, *inputs) to the output, or a tuple of outputs; an input that is bound or left out is None."""


@dataclass(frozen=True, slots=True)
class Held:
    """An array of a node."""

    constant: Constant
    trained: bool


@final
class Call:
    """A node while its rule binds it."""

    def __init__(
        self, file: str, node: NodeProto, opset: int, known: Mapping[str, Constant], read: Set[str] = frozenset()
    ) -> None:
        self.file = file
        self.node = node
        self.opset = opset
        self.arrays: dict[str, Held] = {}
        self.tables: dict[str, Constant] = {}
        self.bound: set[int] = set()
        self._known = known
        self._read = read
        self._attributes = {a.name: get_attribute_value(a) for a in node.attribute}
        self._left = set(self._attributes)

    # attributes

    def given(self, name: str) -> bool:
        """True where the node has this attribute."""
        return name in self._attributes

    def take(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, which the rule carries over; texts are `str`, lists are lists."""
        self._left.discard(name)
        value = self._attributes.get(name, default)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return list(value) if isinstance(value, list | tuple) else value

    def ignore(self, *names: str) -> None:
        """Says that these attributes change no value that the network computes."""
        self._left -= set(names)

    def only(self, name: str, *allowed: Any) -> None:
        """Refuses an attribute of another value than these; the first is its default."""
        if (value := self.take(name, allowed[0])) not in allowed:
            self.refuse(f"with {name}={value!r}")

    def finish(self) -> None:
        """Refuses what the rule has not read."""
        for name in sorted(self._left):
            self.refuse(f"with {name}={self.take(name)!r}")

    def refuse(self, what: str) -> NoReturn:
        """Ends the reading of the file with a line that names operator and node."""
        raise BadInput(f"{self.file}: operator {self.node.op_type!r} {what} (node {self.label!r}) cannot be read")

    @property
    def label(self) -> str:
        """What to call the node in messages."""
        return label(self.node)

    # inputs

    def has(self, place: int) -> bool:
        """True where the node reads something at this place."""
        return place < len(self.node.input) and bool(self.node.input[place])

    def is_known(self, place: int) -> bool:
        """True where that is a constant."""
        return self.has(place) and self.node.input[place] in self._known

    def constant(self, place: int) -> Constant:
        """An input that is a constant, which the rule carries over.

        Raises:
            BadInput: it is computed from the network's input.
        """
        if not self.is_known(place):
            self.refuse(f"with input {place + 1} that is no constant")
        self.bound.add(place)
        return self._known[self.node.input[place]]

    def numbers(self, place: int, name: str = "") -> list[int] | None:
        """Whole numbers of an attribute (of older operator sets) or a constant input; None for neither."""
        if name and self.given(name):
            value = self.take(name)
            return [int(v) for v in value] if isinstance(value, list) else [int(value)]
        return [int(v) for v in self.constant(place).value.reshape(-1)] if self.has(place) else None

    def number(self, place: int, name: str, default: float | None) -> float | None:
        """One number of an attribute (of older operator sets) or a constant input."""
        if self.given(name):
            return float(self.take(name))
        return float(self.constant(place).value.reshape(-1)[0]) if self.has(place) else default

    def array(
        self, place: int, role: str, form: Callable[[Array], Array] | None = None, *, trained: bool = True
    ) -> bool:
        """Makes a constant input an array of the node, in another form; False where there is no such input."""
        if not self.has(place):
            return False
        constant = self.constant(place)
        if form is not None:
            made = np.ascontiguousarray(form(constant.value))
            source = f"{constant.source} {role} {made.shape}" if constant.source else ""
            constant = replace(constant, value=made, source=source)
        self.hold(role, constant, trained=trained)
        return True

    def hold(self, role: str, constant: Constant, *, trained: bool = True) -> None:
        """Makes a constant an array of the node."""
        self.arrays[role] = Held(constant, trained)

    def single_output(self) -> None:
        """Refuses a node whose further outputs are read."""
        more = [name for name in self.node.output[1:] if name in self._read]
        if more:
            self.refuse(f"with output {more[0]!r}, which is read,")


Rule = Callable[[Call], Function]


def as_tensor(value: Any, like: Tensor) -> Tensor:
    """Numbers as a tensor beside another one: floats in its precision, where that has floats."""
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.kind == "f":
        return torch.as_tensor(array, dtype=like.dtype if like.is_floating_point() else torch.float32)
    return torch.as_tensor(array)


def whole_numbers(value: Any) -> list[int]:
    """Numbers that are known while the network runs, such as shapes.

    Raises:
        ValueError: they depend on the values of the input.
    """
    if isinstance(value, Tensor):
        raise ValueError("takes sizes from the values of the input")
    return [int(v) for v in np.asarray(value).reshape(-1)]
