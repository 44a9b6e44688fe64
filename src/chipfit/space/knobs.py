"""What may be done to the weights of one layer, as one decision: an accelerator's cost of a layer depends on all of it.

Knobs are what a search opens for a layer, by what its time goes into. Decisions on widths and blocks are beside
these (`space.offer`): a term then depends on a layer's two widths, its own decision and its block, and on no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod

from chipfit.core.edits import Edit, Precision
from chipfit.core.graph import LAYERS, Graph, Op
from chipfit.core.kernel_patterns import Pattern as Places
from chipfit.space.edits.expand import Expand
from chipfit.space.edits.fixed import Fixed
from chipfit.space.edits.layer import alone
from chipfit.space.edits.pattern import Pattern, taps
from chipfit.space.edits.precision import JOINS
from chipfit.space.edits.table import kind_of
from chipfit.space.menu import Decision, Option

AS_IS = "as it is"
"""Label of the option that changes nothing."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """What is offered for the weights of one layer.

    patterns: sets of patterns that its kernels may be pruned to, one of them at a time.
    expand: kernels of one place more all around, for layers that have arithmetic to spare; they are not pruned then.
    formats: (integer bits, fraction bits) of fixed-point weights; where there are none, an accelerator keeps 16 bits.
    int8: 8 bits for weights and values.
    """

    patterns: tuple[tuple[Places, ...], ...] = ()
    expand: bool = False
    formats: tuple[tuple[int, int], ...] = ()
    int8: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that can be done to a layer, and how an option's label says it."""

    label: str
    edits: tuple[Edit, ...]


def decisions(graph: Graph, knobs: Mapping[str, Knobs], keep: Collection[str] = ()) -> Iterator[Decision]:
    """A decision for each layer that has knobs, in the graph's order; `keep` names layers that get none.

    Each shape of its kernels is offered with each kind of numbers; the first option changes nothing. Layers that share
    arrays with others get no decision, nor those for which nothing is offered. Additions and pools may have knobs too,
    for int8 alone: their values then have 8 bits.

    Raises:
        KeyError: knobs for what is no layer.
    """
    layers = {o.name: o for o in graph if o.kind in LAYERS | JOINS}
    if unknown := [name for name in knobs if name not in layers]:
        raise KeyError(f"knobs for {', '.join(unknown)}: no such layer; there are {', '.join(layers)}")
    for name, o in layers.items():
        if name in knobs and name not in keep and (o.kind in JOINS or alone(graph, o)):
            join = o.kind in JOINS
            options = _options(o, Knobs(int8=knobs[name].int8) if join else knobs[name])
            if len(options) > 1:
                yield Decision(f"{name}/{'values' if join else 'weights'}", _kind(options), options)


def untouched(graph: Graph, knobs: Mapping[str, Knobs]) -> Iterator[tuple[str, str]]:
    """Layers that have knobs and get no decision, each with the reason."""
    for name in knobs:
        if graph[name].kind in LAYERS and not alone(graph, graph[name]):
            yield name, "it shares its weights with another layer"


def _options(o: Op, knobs: Knobs) -> tuple[Option, ...]:
    """Every shape with every kind of numbers, shapes in the outer loop, first what is left as it is."""
    options: list[Option] = []
    for shape in (None, *_shapes(o, knobs)):
        for numbers in (None, *_numbers(o.name, knobs)):
            changes = [change for change in (shape, numbers) if change is not None]
            label = ", ".join(change.label for change in changes) or AS_IS
            edits = tuple(e for change in changes for e in change.edits)
            options.append(Option(label, edits))
    return tuple(options)


def _shapes(o: Op, knobs: Knobs) -> Iterator[Change]:
    """Shapes of its kernels other than as they are."""
    for patterns in knobs.patterns:
        yield Change(f"{taps(patterns)} of {prod(o['kernel'])} taps", (Pattern(o.name, patterns),))
    if knobs.expand:
        rows, columns = o["kernel"]
        yield Change(f"{rows + 2}x{columns + 2} kernels", (Expand(o.name),))


def _numbers(layer: str, knobs: Knobs) -> Iterator[Change]:
    """Numbers that it computes in or keeps, other than as they are."""
    for integer, fraction in knobs.formats:
        yield Change(f"{integer + fraction} bit", (Fixed(layer, integer, fraction),))
    if knobs.int8:
        yield Change("int8", (Precision(layer, 8, alone=True),))


def _kind(options: tuple[Option, ...]) -> str:
    """The kind of most edits; of equally many the one that is offered first."""
    counted = Counter(kind_of(e).name for option in options for e in option.edits)
    return counted.most_common(1)[0][0]
