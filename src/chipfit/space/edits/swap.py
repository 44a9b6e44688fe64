"""Computing a layer by a program: a few cheaper operators in its place, of the same input and output shapes.

The new operators are called `LAYER#0`, `LAYER#1`, ... but for the last one, which keeps the layer's name, and its bias,
so that what stands behind it stays as it is. That one has the layer's output to answer for; the others are new, and
stand for nothing. Their arrays are fitted to the layer's weight (`core.edits.Fitted`).

A program is for any width: it is written in shares of the channels that its layer has once it was narrowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from chipfit.core.edits import Edited, Fitted, Source, Swap
from chipfit.core.graph import Graph, Op
from chipfit.core.types import Plain
from chipfit.space.edits.kind import Kind, Structure
from chipfit.space.edits.layer import by_layer
from chipfit.space.program import Program, alone, parse, place_of

_parsed = lru_cache(maxsize=1024)(parse)


def program_of(edit: Swap) -> Program:
    """What stands in the place of the layer.

    Raises:
        ValueError: its text is no program.
    """
    return _parsed(edit.program)


def _rewrite(original: Structure, made: Edited, edits: Sequence[Swap]) -> Edited:
    swaps, ops = by_layer(original.graph, edits), list[Op]()
    arrays, within = dict(made.arrays), dict(made.within)
    for o in made.graph:
        if (edit := swaps.get(o.name)) is None:
            ops.append(o)
            continue
        instead = alone(program_of(edit), place_of(made.graph, o.name))
        gone = {name: arrays.pop(name) for name in made.graph.weight_shapes(o)}
        arrays |= _fitted(o, instead, gone)
        new = instead.ops[1:]
        within |= {n.name: o.name for n in new[:-1]}
        ops += new
    return replace(made, graph=Graph(tuple(ops), made.graph.output), arrays=arrays, within=within)


def _fitted(layer: Op, instead: Graph, gone: Mapping[str, Source]) -> dict[str, Source]:
    """How the arrays of the operators in a layer's place are made; its bias is what it was."""
    weight, bias = layer.array("weight"), layer.array("bias")
    found: dict[str, Source] = {}
    for o in instead:
        for name in instead.weight_shapes(o):
            kept = name == bias and name in gone
            found[name] = gone[name] if kept else Fitted(gone[weight], layer, instead, name)
    return found


def _from_plain(layer: str, rest: Sequence[Plain]) -> Swap:
    (program,) = rest
    return Swap(layer, str(program))


SWAP = Kind(
    "swap",
    Swap,
    _rewrite,
    to_plain=lambda e: [e.layer, e.program],
    from_plain=_from_plain,
    in_words=lambda e: f"{e.layer!r} as {e.program}",
    changed="layers computed by programs",
    caption="What computes a layer in its place, as a formula.",
)
