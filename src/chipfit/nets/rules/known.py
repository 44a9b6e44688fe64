"""What stands for a value of a program while it is walked, before it is an operator of a graph."""

from __future__ import annotations

from dataclasses import dataclass

from chipfit.nets.rules.constants import Constant


@dataclass(frozen=True, slots=True)
class Pending:
    """A value that is not made yet, for it is part of what its reader computes.

    `op` is what it is made of; `kind` is "expand" (a map that its reader broadcasts), "whole" (the same values as whole
    numbers) or "mean" (over `axes`, one of the two spatial ones, the other to follow).
    """

    op: str
    kind: str
    axes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Loose:
    """A value that no operator of the graph holds: no batch of floats, but what a later operator is made of.

    `why` says why the operator that makes it is not known.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Arrays:
    """The names of an operator's arrays: `<prefix>.<role>`, but for those that are `tied` to another's (role, name)."""

    prefix: str
    tied: tuple[tuple[str, str], ...] = ()


NONE = Arrays("")

Known = str | Constant | Pending | Loose
"""What stands for a node: the operator that holds its value, a constant, or a part of what its reader computes."""
