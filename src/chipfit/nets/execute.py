"""What an operator computes, in torch: stated once, for modules that are trained and for graphs walked by hand.

Each kind has a function that reads the operator's attributes once and returns what is then called: with the inputs
alone where the kind has no arrays (`PLAIN`), else with where its arrays are found before them (`LAYERED`). Values have
the batch axis first; axes in attributes are counted without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NoReturn

from torch import Tensor

from chipfit.core.graph import Op
from chipfit.nets.executors.forms import Arrays, Function, LayerFunction
from chipfit.nets.executors.layers import LAYERS
from chipfit.nets.executors.norms import NORMS
from chipfit.nets.executors.opaque import OPAQUE
from chipfit.nets.executors.pointwise import POINTWISE
from chipfit.nets.executors.pools import POOLS
from chipfit.nets.executors.views import VIEWS

LAYERED: dict[str, Callable[[Op], LayerFunction]] = {**LAYERS, **NORMS, **OPAQUE}
"""Kinds with arrays."""

PLAIN: dict[str, Callable[[Op], Function]] = {**POINTWISE, **POOLS, **VIEWS}
"""Kinds without arrays."""


def plain(o: Op) -> Function:
    """What an operator without arrays computes of its inputs; a norm that has none is one of those."""
    return partial(layered(o), _no_array) if o.kind in LAYERED else PLAIN[o.kind](o)


def _no_array(role: str) -> NoReturn:
    raise KeyError(f"an operator without arrays has no {role!r}")


def layered(o: Op) -> LayerFunction:
    """What an operator with arrays computes of them and its inputs; batch norm is that of evaluation."""
    return LAYERED[o.kind](o)


def execute(o: Op, arrays: Arrays, *inputs: Tensor) -> Tensor:
    """The output of one operator; `arrays` gives each of its arrays by role."""
    if o.kind in LAYERED:
        return layered(o)(arrays, *inputs)
    return plain(o)(*inputs)
