"""A menu's latency on every design of an accelerator: exact, as the model says what each layer takes on each.

The model has no error and needs no calibration. What it costs to ask is time: a menu of a large network holds some ten
thousand different layers, and a grid some ten thousand designs. So the grid is narrowed to *contenders* first: a few
networks that the menu can make, from the untouched one to the smallest, are timed on all designs, and those that are
among the fastest for one of them stay. What is proven of a joint search is proven for these; the network that it finds
is then timed on every design (`Designing.chosen`), which can only be faster.

Some designs hold a network's maps and weights only where all of these have 8 bits. They are contenders too, on which
choices of more bits take for ever.

Only behind concatenations of many groups is a layer's latency put together from those of layers at points between
(`pieces`), as its table over all groups would be too large.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph
from chipfit.device.accelerator.grid import grid
from chipfit.device.accelerator.named import Target
from chipfit.device.accelerator.parts import Part
from chipfit.device.accelerator.port import Designing
from chipfit.device.accelerator.resources import fits, runs, used
from chipfit.device.accelerator.v2 import ms, network_cycles
from chipfit.device.accelerator.work import Layer, Work, anonymous, works
from chipfit.evaluate.cells import Cells, Variants
from chipfit.evaluate.pieces import Piece, pieces
from chipfit.evaluate.pricing import Pricing
from chipfit.evaluate.ticker import quiet
from chipfit.search.design_costs import Indices, Table, tabled
from chipfit.space import edits as on_graph
from chipfit.space.edits import computed_in
from chipfit.space.hardware import Designs
from chipfit.space.menu import Assignment, Menu
from chipfit.space.offer import Offer

MOST_TIMES = 2e7
"""Layers times designs that are timed for a joint search: some ten seconds."""
FEWEST_DESIGNS = 128
WIDTHS, STACKED = 17, 6
"""Of a group of channels at most: more would make a hundred thousand different layers of a network with 512 channels.

Where maps are stacked (`concat`) a layer depends on several groups, and their widths multiply.
"""
EXAMPLES, EACH = 10, 3
"""Networks that tell which designs are contenders; each third of them does so in int8 too."""
NARROW = 8
"""Bits of values and weights in int8."""


@dataclass(frozen=True, slots=True)
class Modelled:
    """Prices menus on an accelerator: on all contenders (`Pricing.costs`), and in the menu on one of them.

    That is the one which suits the untouched network best.
    """

    device: Designing
    predicted: ClassVar[bool] = False
    tested: ClassVar[bool] = False

    def price(
        self,
        graph: Graph,
        offer: Offer,
        rng: np.random.Generator,
        *,
        networks: int = 0,
        deadline: Deadline | None = None,
        planned_s: float = math.inf,
        tell: Callable[[str], None] = quiet,
        variants: Variants | None = None,
    ) -> Pricing:
        """The offer's menu with exact `latency_ms` terms; neither whole networks nor a deadline make a difference.

        Raises:
            BadInput: an operator that the model has no rule for.
            Infeasible: no design is within the limits.
        """
        known = costs(graph, offer.menu, self.device.target, rng, variants)
        return Pricing(on_fastest(offer.menu, known), (), (), (), costs=known)


@dataclass(frozen=True, slots=True)
class Held:
    """What one operator, or a part of it, is for each choice.

    `places` (*options) in some records, the place after the last standing for one that is not there, and the `shares`
    (*options) that these count with.
    """

    places: NDArray[np.int64]
    shares: NDArray[np.float64]

    def of(self, values: NDArray[np.float64]) -> Table:
        """(..., *options): what it comes to, by the `values` (..., records + 1) of each record."""
        found: Table = values[..., self.places]
        return found if (self.shares == 1.0).all() else found * self.shares


@dataclass(frozen=True)
class Costs:
    """`search.design_costs.DesignCosts` of a menu: `designs` on a `part`, and what each scope's choices are.

    `records` are the different pieces of work; `held[i]` has what depends on the decisions `scopes[i]`. A design that
    does not fit with `own`, the untouched network, runs records of 8 bits at most.
    """

    designs: Designs
    part: Part
    records: tuple[Work, ...] = field(repr=False)
    scopes: tuple[tuple[int, ...], ...]
    held: tuple[tuple[Held, ...], ...]
    own: tuple[Work, ...] = field(default=(), repr=False)

    @property
    def count(self) -> int:
        """Designs."""
        return len(self.designs)

    @cached_property
    def _times(self) -> Table:
        """(designs, records + 1) ms of each piece of work, and 0 for what is not there."""
        times = ms(self.records, self.designs, self.part)
        wide = np.array([not narrow(record) for record in self.records])
        times[np.ix_(~fits(used(self.designs, self.own, self.part), self.part), wide)] = np.inf
        return np.concatenate([times, np.zeros((len(times), 1))], axis=1)

    def tables(self, designs: Indices) -> list[Table]:
        """For each scope an array (designs, *options) of ms."""
        times = self._times[designs]
        return [_summed(times, scope) for scope in self.held]


def summed(known: Costs, values: NDArray[np.float64]) -> list[Table]:
    """For each scope an array (*options): the sum of what the pieces of work count, `values` (records,) each."""
    counted = np.append(values, 0.0)
    return [_summed(counted, scope) for scope in known.held]


def _summed(values: Table, scope: Sequence[Held]) -> Table:
    """(..., *options): the sum over a scope of what comes of `values` (..., records + 1)."""
    total = np.zeros(1)
    for held in scope:
        total = total + held.of(values)
    return total


def read(graph: Graph) -> Mapping[str, Work]:
    """What each operator of a graph gives an accelerator to do."""
    return {work.op: anonymous(work) for work in works(graph)}


def costs(graph: Graph, menu: Menu, to: Target, rng: np.random.Generator, variants: Variants | None = None) -> Costs:
    """The latency of a menu's choices on the contenders among the designs of its part.

    Raises:
        BadInput: an operator that the model has no rule for.
        Infeasible: no design is within the limits.
    """
    known = (variants or Variants(graph, menu)).cells(read)
    records, scopes, held = _scoped(known)
    mixed = any((h.shares != 1.0).any() for scope in held for h in scope)  # what takes for ever cannot be mixed
    all_designs = legal_designs(graph, records, to, narrow_ones=not mixed)
    most = max(FEWEST_DESIGNS, int(MOST_TIMES / max(1, len(records))))
    chosen = contenders(graph, menu, all_designs, to.part, most, rng)
    return Costs(chosen, to.part, records, scopes, held, works(graph))


def on_fastest(menu: Menu, known: Costs) -> Menu:
    """The menu with the latencies of the design that suits the untouched network best."""
    everyone = tabled(known, np.arange(known.count))
    as_is = np.zeros(known.count)
    for table in everyone.held:
        as_is += table.reshape(known.count, -1)[:, 0]
    return tabled(known, np.array([int(np.argmin(as_is))])).priced(menu, 0)


def widths_on_designs(graph: Graph) -> int:
    """Widths that each group of a network's channels is offered."""
    return STACKED if any(o.kind == "concat" for o in graph) else WIDTHS


def narrow(work: Work) -> bool:
    """True for work on values of 8 bits at most with weights of as many."""
    return max(work.value_bits, work.weight_bits if isinstance(work, Layer) else 0) <= NARROW


def narrowed(work: Work) -> Work:
    """The same work in 8 bits."""
    made = replace(work, value_bits=min(work.value_bits, NARROW))
    return replace(made, weight_bits=min(made.weight_bits, NARROW)) if isinstance(made, Layer) else made


def legal_designs(graph: Graph, records: Sequence[Work], to: Target, *, narrow_ones: bool = True) -> Designs:
    """The designs that fit the part with the untouched network and can run every choice; any that fits if none can.

    With `narrow_ones` also those that it fits only in 8 bits, where there are such choices.
    """
    own = works(graph)
    designs = grid([*own, *records], to.part, to.pinned)
    fitting, able = fits(used(designs, own, to.part), to.part), runs(designs, records)
    if not (fitting & able).any():
        return designs.take(fitting & runs(designs, own))
    if narrow_ones and any(map(narrow, records)):
        fitting |= fits(used(designs, [narrowed(work) for work in own], to.part), to.part)
    return designs.take(fitting & able)


def contenders(graph: Graph, menu: Menu, designs: Designs, part: Part, most: int, rng: np.random.Generator) -> Designs:
    """At most so many designs, each among the fastest for one of some networks of the menu; all where these are few."""
    if len(designs) <= most:
        return designs
    kept: dict[int, None] = {}
    chosen = examples(menu, rng)
    tight = ~fits(used(designs, works(graph), part), part)
    for left, assignment in zip(range(len(chosen), 0, -1), chosen, strict=True):
        share = (most - len(kept)) // left
        work = works(on_graph.apply(graph, menu.edits(assignment)))
        cycles = network_cycles(work, designs)
        if not all(map(narrow, work)):
            cycles[tight] = np.inf
        order = np.argsort(cycles, kind="stable")
        new = [int(i) for i in order[:most] if int(i) not in kept][:share]
        kept |= dict.fromkeys(new)
    return designs.take(np.sort(np.array(list(kept), np.int64)))


def examples(menu: Menu, rng: np.random.Generator) -> list[Assignment]:
    """Networks of a menu from the untouched one to small ones: options drawn from a first share of each decision's.

    Some of them in int8 too, wherever that is offered: chance alone would leave a layer in more bits.
    """
    found = [menu.as_is]
    for n in range(1, EXAMPLES):
        share = n / (EXAMPLES - 1)
        drawn = [int(rng.integers(0, 1 + round(share * (size - 1)))) for size in menu.sizes]
        found.append(_tied(menu, drawn))
    found += [_tied(menu, _in_int8(menu, a)) for a in found[::EACH]]
    return list(dict.fromkeys(found))


def _in_int8(menu: Menu, assignment: Assignment) -> list[int]:
    """The options with int8, and nothing else, wherever that is offered."""
    options = list(assignment)
    for d, decision in enumerate(menu.decisions):
        low = [o for o, option in enumerate(decision.options) if computed_in(option.edits) == NARROW]
        options[d] = low[0] if low else options[d]
    return options


def _tied(menu: Menu, options: list[int]) -> Assignment:
    """The options with none that a tie concerns: nothing is dropped."""
    for pair in menu.ties:
        for decision, option in pair:
            if options[decision] == option:
                options[decision] = 0
    return tuple(options)


def _scoped(
    known: Sequence[Cells[Work]],
) -> tuple[tuple[Work, ...], tuple[tuple[int, ...], ...], tuple[tuple[Held, ...], ...]]:
    """(records, scopes, what is held by scope)."""
    place: dict[Work, int] = {}
    by_scope: dict[tuple[int, ...], list[Piece[Work]]] = {}
    for cell in known:
        for piece in pieces(cell):
            by_scope.setdefault(piece.on, []).append(piece)
            for record in piece.ordered:
                place.setdefault(record, len(place))
    held = []
    for group in by_scope.values():
        parts = [_held(piece, place) for piece in group]
        held.append(tuple(chain.from_iterable(parts)))
    return tuple(place), tuple(by_scope), tuple(held)


def _held(piece: Piece[Work], place: Mapping[Work, int]) -> list[Held]:
    """A piece as arrays: one, or two where records are mixed."""
    shape = tuple(n + 1 for n in max(piece.cells))
    found = []
    for n in range(max(map(len, piece.cells.values()))):
        places, shares = np.full(shape, len(place)), np.ones(shape)
        for cell, mix in piece.cells.items():
            if n < len(mix):
                shares[cell], places[cell] = mix[n][0], place[mix[n][1]]
        found.append(Held(places, shares))
    return found
