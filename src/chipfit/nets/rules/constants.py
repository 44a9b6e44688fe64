"""What a program computes without its input: parameters, buffers, tensors made in `forward`, and what comes of them.

A node that reads constants only is run on the real tensors, once. So `gamma.view(1, -1, 1, 1)`, a mask times a weight,
or a standardised weight become arrays like any other. A parameter keeps its identity while it is only looked at in
another shape, so that layers which share it still do. One that is used as it is in one place and changed in another
cannot stay tied, and is refused. Parts of a parameter that have no element in common, as the projections of an
attention are, train like parameters of their own, and are that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from chipfit.core.errors import Untraceable
from chipfit.nets.program import BATCH
from chipfit.nets.rules.call import operator_name

_SAME = frozenset({"view", "_unsafe_view", "unsqueeze", "squeeze", "clone", "alias", "detach", "lift_fresh_copy"})
"""Operators that keep every value and their order."""

LARGEST = 4e9
"""Bytes that a constant may take while a network is read."""


@dataclass(frozen=True, eq=False, slots=True)
class Constant:
    """A tensor that does not depend on the input.

    `name` is that of the parameter or buffer it is (in whatever shape), or what it is called in messages. `source` is
    equal for equal arrays: the memory of a parameter or buffer, the content and the roots of what is computed of
    parameters (equal values of different ones part when they are trained), "" for what is nobody's. `roots` are the
    parameters it is made of, or parts of them. Of constants that were joined along their first axis, `joined` has each.
    """

    value: Tensor
    name: str
    source: str = ""
    roots: frozenset[Root] = frozenset()
    joined: tuple[Constant, ...] = ()

    @property
    def learnt(self) -> bool:
        """True for a parameter, or what is computed of one."""
        return bool(self.roots)

    @property
    def root(self) -> Root | None:
        """The parameter or part of one that it is, as it is; None of what is computed."""
        return next((root for root in self.roots if root.source == self.source), None)


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a view's elements lie in the memory that it is a view of."""

    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, view: Tensor) -> Cut:
        """The place of a view."""
        return cls(int(view.storage_offset()), tuple(view.shape), tuple(view.stride()))

    def overlaps(self, other: Cut) -> bool:
        """Whether both have an element in common."""
        if self._end <= other.offset or other._end <= self.offset:
            return False
        memory = torch.zeros(max(self._end, other._end), dtype=torch.bool)
        memory.as_strided(self.size, self.stride, self.offset).fill_(True)
        return bool(memory.as_strided(other.size, other.stride, other.offset).any())

    @property
    def _end(self) -> int:
        return self.offset + 1 + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))


@dataclass(frozen=True, slots=True)
class Root:
    """A parameter, by its place in `memory`; with `cut`, those of its elements that lie there."""

    parameter: str
    memory: int
    cut: Cut | None = None

    @property
    def source(self) -> str:
        """Of a constant that is nothing else."""
        return self.parameter if self.cut is None else f"{self.cut} of {self.parameter}"

    def overlaps(self, other: Root) -> bool:
        """Whether both have an element in common."""
        if self.parameter != other.parameter:
            return False
        return self.cut is None or other.cut is None or self.cut.overlaps(other.cut)


def given(value: Tensor, name: str, parameter: bool) -> Constant:
    """A parameter or buffer of the module."""
    source = f"{value.data_ptr()} {tuple(value.stride())}" if value.numel() else name
    return Constant(
        value.detach(), name, source, frozenset({Root(source, _memory(value))}) if parameter else frozenset()
    )


def computed(node: fx.Node, parts: dict[str, Constant]) -> list[Constant] | Constant:
    """The result of a node whose inputs are these constants (by name of their node).

    Raises:
        Untraceable: it draws random numbers, is not a function of its inputs, or fills the memory.
    """
    name, first = operator_name(node), next(iter(parts.values()), None)
    result = _result(node, name, parts)
    if not isinstance(result, Tensor):
        return [_part(part, name, first, parts) for part in result]
    if first is not None and _same(name, first.value, result):
        return replace(first, value=result)
    return replace(_part(result, name, first, parts), joined=_joined(node, parts) if name == "cat" else ())


def _result(node: fx.Node, name: str, parts: dict[str, Constant]) -> Any:
    """What a node makes of the real tensors."""
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)
    size = sum(t.numel() * t.element_size() for t in tree_leaves(node.meta.get("val")) if isinstance(t, Tensor))
    if size > LARGEST:
        raise Untraceable(f"operator '{name}' makes a constant of {size / 1e9:.0f} GB for a batch of {BATCH}")

    def real(value: Any) -> Any:
        return parts[value.name].value if isinstance(value, fx.Node) else value

    args, kwargs = fx.node.map_aggregate(node.args, real), fx.node.map_aggregate(node.kwargs, real)
    with torch.no_grad():
        result = target(*args, **kwargs)
        # attention may drop weights, and does not where it is told to drop none of them
        drawn = torch.Tag.nondeterministic_seeded in target.tags and not _equal(result, target(*args, **kwargs))
    if drawn or name.startswith(("empty", "new_empty")):
        raise Untraceable(f"operator '{name}' makes values of its own at each call; the network would not repeat")
    return result


def _joined(node: fx.Node, parts: dict[str, Constant]) -> tuple[Constant, ...]:
    """What a concatenation along the first axis joins; nothing along another."""
    joined, *axis = node.args
    if axis not in ([], [0]) or node.kwargs:
        return ()
    assert isinstance(joined, list | tuple)
    return tuple(parts[n.name] for n in joined if isinstance(n, fx.Node))


def _part(value: Tensor, name: str, first: Constant | None, parts: dict[str, Constant]) -> Constant:
    """What an operator made, which may be a part of what it read."""
    if first is None:
        return _made(value, name, parts)
    made = _made(value, f"{name} of {first.name}", parts)
    if not made.learnt or not value.numel() or len(parts) > 1:
        return made
    if first.joined and _memory(value) == _memory(first.value):
        at = value.storage_offset()
        found = (c for offset, c in _pieces(first) if offset == at and c.value.shape == value.shape)
        return next(found, made) if value.is_contiguous() else made
    if first.root is None or first.root.memory != _memory(value):
        return made
    root = replace(first.root, cut=Cut.of(value))
    return replace(made, source=root.source, roots=frozenset({root}))


def _memory(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()


def _pieces(whole: Constant) -> Iterator[tuple[int, Constant]]:
    """Each constant that was joined, with the place of its first element."""
    offset = 0
    for constant in whole.joined:
        yield offset, constant
        offset += constant.value.numel()


def _equal(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(tree_leaves(a), tree_leaves(b), strict=True) if isinstance(x, Tensor))


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
    sources = sorted(root.source for root in roots)
    return Constant(value, name, f"{digest(value)} of {sources}" if roots else "", roots)


def digest(value: Tensor) -> str:
    """Equal for tensors of equal values, in whatever shape."""
    return hashlib.sha256(value.double().contiguous().numpy().tobytes()).hexdigest()
