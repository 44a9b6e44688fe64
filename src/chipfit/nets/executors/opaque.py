"""Operators that are taken as they are."""

from __future__ import annotations

from collections.abc import Callable

from chipfit.core.graph import Op
from chipfit.core.opaque import KIND, program
from chipfit.nets.executors.forms import LayerFunction
from chipfit.nets.opaque import run


def _opaque(o: Op) -> LayerFunction:
    steps = program(o)
    roles = [a.role for a in steps.arrays]
    return lambda arrays, *inputs: run(steps, {role: arrays(role) for role in roles}, inputs)


OPAQUE: dict[str, Callable[[Op], LayerFunction]] = {KIND: _opaque}
