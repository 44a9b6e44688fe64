"""Layers that edits name one by one: those whose arrays no other layer uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from chipfit.core.edits import Edited, Fitted, Source
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


def changed(made: Edited, edits: Mapping[str, E], change: Callable[[E, Op, Source], tuple[Op, Source]]) -> Edited:
    """The graph with each of these layers as `change` makes it of its edit, the operator and how its weight is made."""
    arrays, ops = dict(made.arrays), list[Op]()
    for o in made.graph:
        if (e := edits.get(o.name)) is not None:
            weight = o.array("weight")
            if isinstance(arrays[weight], Fitted):
                raise ValueError(f"layer {o.name!r} is computed by a program; leave its weight as that makes it")
            o, arrays[weight] = change(e, o, arrays[weight])
        ops.append(o)
    return replace(made, graph=Graph(tuple(ops), made.graph.output), arrays=arrays)


def alone(graph: Graph, o: Op) -> bool:
    """True for a layer whose arrays no other uses."""
    return o.kind in LAYERS and o.name not in graph.sharing


def _check(graph: Graph, layer: str, kinds: frozenset[str]) -> None:
    named = {o.name: o for o in graph if o.kind in kinds}
    if layer not in named:
        raise KeyError(f"no layer {layer!r} of kind {' or '.join(sorted(kinds))}; there are {', '.join(named)}")
    if not alone(graph, named[layer]):
        raise ValueError(f"layer {layer!r} shares its weights with another, which the edit would change too")
