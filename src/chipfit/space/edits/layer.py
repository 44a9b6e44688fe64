"""Layers that edits name one by one: those whose arrays no other layer uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from chipfit.core.graph import LAYERS, Graph, Op


class OnLayer(Protocol):
    """An edit of one layer."""

    @property
    def layer(self) -> str: ...


E = TypeVar("E", bound=OnLayer)


def by_layer(graph: Graph, edits: Sequence[E], kinds: frozenset[str] = LAYERS) -> Mapping[str, E]:
    """The edits by the layer that each is on; `graph` is the original.

    Raises:
        KeyError: an edit names no layer of these kinds.
        ValueError: it names one that shares an array with another, which would change too.
    """
    for e in edits:
        _check(graph, e.layer, kinds)
    return {e.layer: e for e in edits}


def alone(graph: Graph, o: Op) -> bool:
    """True for a layer whose arrays no other uses."""
    return o.kind in LAYERS and o.name not in graph.sharing


def _check(graph: Graph, layer: str, kinds: frozenset[str]) -> None:
    named = {o.name: o for o in graph if o.kind in kinds}
    if layer not in named:
        raise KeyError(f"no layer {layer!r} of kind {' or '.join(sorted(kinds))}; there are {', '.join(named)}")
    if not alone(graph, named[layer]):
        raise ValueError(f"layer {layer!r} shares its weights with another, which the edit would change too")
