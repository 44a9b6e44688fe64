"""One operator of a network, in plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

Attr = int | float | str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Op:
    """One operator; its `name` also names its output, of `shape` without the batch axis.

    `weights` is the prefix of its arrays ("" for none): `<weights>.<role>`; two operators with one prefix share them
    all. `tied` lists (role, name) of those arrays that are another prefix's: layers may share a weight and have biases
    of their own. `bits` is 8 where the operator computes in int8 (QDQ in the file), else 32.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: tuple[tuple[str, Attr], ...] = ()
    weights: str = ""
    bits: int = 32
    tied: tuple[tuple[str, str], ...] = ()

    def array(self, role: str) -> str:
        """The name of its array of this role: "weight", "bias", ..."""
        for own, name in self.tied:
            if own == role:
                return name
        return f"{self.weights}.{role}"

    def __getitem__(self, key: str) -> Any:
        """The value of an attribute; KeyError names the operator."""
        for name, value in self.attrs:
            if name == key:
                return value
        raise KeyError(f"{self.kind} {self.name!r} has no attribute {key!r}")

    def get(self, key: str) -> Any:
        """The value of an attribute that it need not have; None where it has none."""
        return dict(self.attrs).get(key)

    def having(self, **attrs: Attr) -> Op:
        """The same operator with these attributes replaced or added."""
        return replace(self, attrs=tuple(sorted((dict(self.attrs) | attrs).items())))

    @property
    def size(self) -> int:
        """Values in one output."""
        return math.prod(self.shape)
