"""One call of an operator, its arguments bound to the names of its schema.

A rule reads every argument that it carries over; whatever it leaves must have the schema's default, or the model is
refused with operator, argument and value. So no rule can overlook an argument, nor one that a later torch adds.
"""

from __future__ import annotations

from typing import Any, NoReturn, final

import torch
from torch import fx

from chipfit.core.errors import Untraceable
from chipfit.nets.rules.layout import FIRST, Layout

_REQUIRED = object()


class Unruled(Untraceable):
    """One operator that no rule takes; it is taken as it is where that can be done. `why` is the reason alone."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


def operator_name(node: fx.Node) -> str:
    """The operator's bare name: conv2d of aten.conv2d.default."""
    return str(node.target).removeprefix("aten.").split(".")[0]


def module_path(node: fx.Node) -> str:
    """The path of the innermost module that calls the operator, "" for the model itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]).split("@")[0] if stack else ""


@final
class Call:
    """A node of the program with its arguments by name."""

    def __init__(self, node: fx.Node) -> None:
        assert isinstance(node.target, torch._ops.OpOverload)
        self.node = node
        self.name = operator_name(node)
        self.path = module_path(node)
        self.layout: Layout = FIRST
        self.values: dict[str, Any] = {}
        self._default: dict[str, Any] = {}
        for i, argument in enumerate(node.target._schema.arguments):
            default = argument.default_value if argument.has_default_value() else _REQUIRED
            given = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name, default)
            self.values[argument.name] = given
            self._default[argument.name] = default
        self._left = set(self.values)

    def take(self, name: str, default: Any = None) -> Any:
        """The value of an argument, which the rule carries over; `default` where the schema has no such argument."""
        self._left.discard(name)
        return self.values.get(name, default)

    def node_of(self, name: str) -> fx.Node:
        """An argument that is a tensor."""
        found = self.take(name)
        if not isinstance(found, fx.Node):
            self.refuse(f"with {name}={found!r}")
        return found

    def ignore(self, *names: str) -> None:
        """Says that these arguments change no value that the network computes (memory, training)."""
        self._left -= set(names)

    def finish(self) -> None:
        """Refuses what the rule has not read and the caller has set."""
        for name in self.values:
            value = self.values[name]
            if name in self._left and value is not None and value != self._default[name]:
                self.refuse(f"with {name}={value!r}")

    def refuse(self, what: str) -> NoReturn:
        """Ends the rule with a line that names operator and place; the operator is then taken as it is."""
        raise Unruled(f"operator '{self.name}' {what} (in '{self.path or 'the model'}') has no rule", what)

    def forbid(self, what: str) -> NoReturn:
        """Ends the trace with a line that names operator and place: no network computes this."""
        raise Untraceable(f"operator '{self.name}' {what} (in '{self.path or 'the model'}') has no rule")

    def in_float(self) -> None:
        """Refuses another type than float32, where the caller names one."""
        dtype = self.take("dtype")
        if dtype not in (None, torch.float32):
            self.refuse(f"with dtype={dtype}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output, with its batch axis."""
        return shape_of(self.node)

    def axis(self, value: int, rank: int | None = None) -> int:
        """A torch axis counted as the graph has it, without the batch axis.

        Raises:
            Untraceable: it is the batch axis.
        """
        rank = len(self.shape) if rank is None else rank
        place = self.layout.place(value % rank)
        if place is None:
            self.forbid("over the batch axis")
        if value % rank == self.layout.axis:
            self.refuse("over an axis that holds the batch too")
        return place

    def pair(self, name: str, default: int = 0) -> tuple[int, int]:
        """An argument of one or two whole numbers as a pair."""
        value = self.take(name, default)
        if isinstance(value, int):
            return value, value
        values = [int(v) for v in value] or [default]
        return values[0], values[-1]


def part_name(call: Call, word: str) -> str:
    """What to call an operator that is only a part of what a call computes."""
    return f"{call.path}.{word}" if call.path else word


def value_of(node: fx.Node) -> torch.Tensor:
    """A (fake) tensor like the value; of an operator with several outputs the first, which the others explain."""
    value = node.meta["val"]
    found: torch.Tensor = value[0] if isinstance(value, tuple | list) else value
    return found


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of a value, with its batch axis."""
    return tuple(int(s) for s in value_of(node).shape)
