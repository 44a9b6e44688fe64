"""The forms in which an operator's computation is written down."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from chipfit.core.channels import array_axis
from chipfit.core.graph import Op

Function = Callable[..., Tensor]
"""Inputs to output, each with a batch axis."""

Arrays = Callable[[str], Tensor]
"""Role ("weight", "bias", ...) to array."""

LayerFunction = Callable[..., Tensor]
"""Where the arrays are found, and inputs, to output."""


def always(function: Function) -> Callable[[Op], Function]:
    """The rule of a kind without attributes."""
    return lambda o: function


def along(array: Tensor, o: Op) -> Tensor:
    """An array with a value for each channel, or one for all, in the form in which it meets the operator's values."""
    behind = len(o.shape) - 1 - array_axis(o)
    return array.view(-1, *(1,) * behind)


def if_there(o: Op, role: str, arrays: Arrays) -> Tensor | None:
    """The array of a role whose attribute of that name says whether there is one."""
    return arrays(role) if o[role] else None
