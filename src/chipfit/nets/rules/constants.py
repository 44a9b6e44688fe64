"""What a program computes without its input: parameters, buffers, tensors made in `forward`, and what comes of them.

A node that reads constants only is run on the real tensors, once. So `gamma.view(1, -1, 1, 1)`, a mask times a weight,
or a standardised weight become arrays like any other. A parameter keeps its identity while it is only looked at in
another shape, so that layers which share it still do. One that is used as it is in one place and changed in another
cannot stay tied, and is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from chipfit.core.errors import Untraceable
from chipfit.nets.program import BATCH
from chipfit.nets.rules.call import operator_name

_SAME = frozenset({"view", "_unsafe_view", "unsqueeze", "squeeze", "clone", "alias", "detach", "lift_fresh_copy"})
"""Operators that keep every value and their order."""


@dataclass(frozen=True, eq=False, slots=True)
class Constant:
    """A tensor that does not depend on the input.

    `name` is that of the parameter or buffer it is (in whatever shape), or what it is called in messages. `source` is
    equal for equal arrays: the memory of a parameter or buffer, the content and the roots of what is computed of
    parameters (equal values of different ones part when they are trained), "" for what is nobody's. `roots` are the
    parameters it is made of, by memory.
    """

    value: Tensor
    name: str
    source: str = ""
    roots: frozenset[str] = frozenset()

    @property
    def learnt(self) -> bool:
        """True for a parameter, or what is computed of one."""
        return bool(self.roots)


def given(value: Tensor, name: str, parameter: bool) -> Constant:
    """A parameter or buffer of the module."""
    source = f"{value.data_ptr()} {tuple(value.stride())}" if value.numel() else name
    return Constant(value.detach(), name, source, frozenset({source}) if parameter else frozenset())


def computed(node: fx.Node, parts: dict[str, Constant]) -> list[Constant] | Constant:
    """The result of a node whose inputs are these constants (by name of their node).

    Raises:
        Untraceable: it draws random numbers, or is not a function of its inputs.
    """
    name = operator_name(node)
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)
    if torch.Tag.nondeterministic_seeded in target.tags or name.startswith(("empty", "new_empty")):
        raise Untraceable(f"operator '{name}' makes values of its own at each call; the network would not repeat")

    def real(value: Any) -> Any:
        return parts[value.name].value if isinstance(value, fx.Node) else value

    args, kwargs = fx.node.map_aggregate(node.args, real), fx.node.map_aggregate(node.kwargs, real)
    with torch.no_grad():
        result = target(*args, **kwargs)
    first = next(iter(parts.values()), None)
    if isinstance(result, Tensor):
        if first is not None and _same(name, first.value, result):
            return Constant(result, first.name, first.source, first.roots)
        return _made(result, f"{name} of {first.name}" if first else name, parts)
    return [_made(part, f"{name} of {first.name}" if first else name, parts) for part in result]


def once(constant: Constant, batch: int) -> tuple[Constant | None, list[int] | None]:
    """A constant without the copies of it that a batch of this size makes, and the sizes that it is expanded to.

    The sizes are None where it has no axis of the batch, the constant where it is another for each input.
    """
    value = constant.value
    sizes = [int(n) for n in value.shape]
    holding = [axis for axis, n in enumerate(sizes) if n and n % batch == 0]
    if not holding:
        return constant, None
    for axis in holding:
        first = value.narrow(axis, 0, 1)
        if not torch.equal(first.expand_as(value), value):
            return None, sizes
        value = first
    return replace(constant, value=value), sizes


def _same(name: str, before: Tensor, after: Tensor) -> bool:
    if name == "expand":  # to the batch: each input has the same
        sizes = (1,) * (after.dim() - before.dim()) + tuple(before.shape)
        return all(n in (m, BATCH) for n, m in zip(after.shape, sizes, strict=True))
    return name in _SAME or (name == "_to_copy" and before.dtype == after.dtype)


def _made(value: Tensor, name: str, parts: dict[str, Constant]) -> Constant:
    roots = frozenset(root for part in parts.values() for root in part.roots)
    return Constant(value, name, f"{digest(value)} of {sorted(roots)}" if roots else "", roots)


def digest(value: Tensor) -> str:
    """Equal for tensors of equal values, in whatever shape."""
    return hashlib.sha256(value.double().contiguous().numpy().tobytes()).hexdigest()
