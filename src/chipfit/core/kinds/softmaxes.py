"""Kinds that turn the values along one axis into shares of one.

*softmax  axis, counted without the batch axis
"""

from __future__ import annotations

from chipfit.core.kinds.kind import Kind, said

SOFTMAXES = (
    Kind("softmax", "softmax", "normalises", ("axis",), axis=said, cost="free", saturates=True),
    Kind("log_softmax", "softmax", "normalises", ("axis",), axis=said, cost="free", saturates=True),
)
