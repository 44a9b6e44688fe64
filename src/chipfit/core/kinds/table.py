"""Every kind by its name, and sets of names by what their records say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from chipfit.core.kinds.activations import ACTIVATIONS, FUNCTIONS
from chipfit.core.kinds.convolutions import CONVOLUTIONS, LOOKUPS, POOLS_3D
from chipfit.core.kinds.joins import CONCATENATIONS, ELEMENTWISE, PRODUCTS
from chipfit.core.kinds.kind import Kind
from chipfit.core.kinds.layers import LAYERS
from chipfit.core.kinds.norms import CHANNELWISE, NORMS
from chipfit.core.kinds.opaque import OPAQUE
from chipfit.core.kinds.pools import GLOBAL_POOLS, POOLS
from chipfit.core.kinds.reductions import REDUCTIONS, RESIZES
from chipfit.core.kinds.softmaxes import SOFTMAXES
from chipfit.core.kinds.views import SOURCES, VIEWS

_ROWS = (
    *SOURCES,
    *LAYERS,
    *CHANNELWISE,
    *ACTIVATIONS,
    *ELEMENTWISE,
    *CONCATENATIONS,
    *POOLS,
    *GLOBAL_POOLS,
    *SOFTMAXES,
    *VIEWS,
    *NORMS,
    *FUNCTIONS,
    *PRODUCTS,
    *REDUCTIONS,
    *RESIZES,
    *CONVOLUTIONS,
    *POOLS_3D,
    *LOOKUPS,
    *OPAQUE,
)

KINDS: Final[Mapping[str, Kind]] = {row.name: row for row in _ROWS}
"""Every kind of operator that a network here is made of."""


def known(name: str) -> Kind | None:
    """The record of a kind; None for operators of a foreign file, which are ONNX's and begin with a capital."""
    return KINDS.get(name)


def named(fits: Callable[[Kind], bool]) -> frozenset[str]:
    """Names of the kinds whose record fits.

    >>> sorted(named(lambda kind: kind.clamp is not None))
    ['relu', 'relu6']
    """
    return frozenset(kind.name for kind in KINDS.values() if fits(kind))


FOLDED_AWAY: Final = named(lambda kind: kind.channels == "source" or kind.moves == "view" or kind.name == "batch_norm")
"""Kinds that a runtime folds away when it loads a file, where times are counted and not measured.

An affine is not among them, though it is folded where it can be: counts that were stored take it for an operator.
"""
