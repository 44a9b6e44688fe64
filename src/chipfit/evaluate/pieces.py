"""What a term may depend on: the cost of a kernel over any number of decisions, as tables over a few of them.

A kernel costs f(channels in, channels out, its precision, its readers' precision) while its block is there, else 0.
That is one table, exact, over at most three decisions, or over four of which two at most are widths: two widths, a
precision and a block that can be dropped; a width, two precisions and a block.

It is more where several groups make up the channels, behind a concatenation. There the sum is taken apart: a table for
each group, beside the other decisions. Counts are straight lines in the sum, so each group's own channels are counted
(`own`), in whole numbers. What a device takes is not: kernels start, and work on blocks of channels. With w_g between
least_g and most_g, and x(t) the channels in sum when every group has shrunk by the share t of what it can,

    f(Σ w_g)  ≈  Σ a_g f(x(t_g)),  t_g = (most_g - w_g) / (most_g - least_g),  a_g = (most_g - least_g) / (x(0) - x(1))

As Σ a_g x(t_g) = Σ w_g, this is a mean of f at points whose mean is the right one: exact where f is a straight line,
and for any f wherever the groups shrink alike, so for the widest and for the narrowest choice: no budget is called
impossible for it. Between, it errs by how far f bends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from chipfit.evaluate.kernel import Channels, Kernel, Unit
from chipfit.space.menu import Menu, Term
from chipfit.space.offer import LEAST_STEP

Cell = tuple[int, ...]


Mix = tuple[tuple[float, Unit], ...]
"""Units by how much each counts; nothing where a kernel is not there."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a kernel's cost: a mix of units for each option of the decisions `on`.

    `again` is true where its units' channels out are counted in another part already.
    """

    on: tuple[int, ...]
    cells: Mapping[Cell, Mix]
    again: bool = False

    def numbers(self, value: Callable[[Unit], float], bits: int = 0) -> dict[Cell, float]:
        """The cost of each cell that has units (of these `bits`, unless 0), by the value of a unit."""
        mixes = {c: [(a, u) for a, u in mix if bits in (0, u.bits)] for c, mix in self.cells.items()}
        return {c: sum(a * value(u) for a, u in mix) for c, mix in mixes.items() if mix}

    @property
    def units(self) -> set[Unit]:
        """All units of its cells."""
        return {u for mix in self.cells.values() for _, u in mix}


def pieces(kernel: Kernel, menu: Menu, *, own: bool = False) -> tuple[Piece, ...]:
    """The cost of a kernel in parts: one if it can be, else one for each group of channels in.

    With `own` each part holds its group's own channels, the first also those of no group: for what is counted.
    """
    groups = tuple(kernel.ins.groups) or tuple(kernel.outs.groups)
    if len(kernel.decisions) <= 3 or len(groups) < 2:
        return (_piece(kernel, menu, kernel.decisions, _exact(kernel, kernel.ins, kernel.outs)),)
    follow = len(kernel.outs.groups) > 1  # the channels out are those in
    beside = () if follow else tuple(kernel.outs.groups)
    found = []
    for n, g in enumerate(groups):
        if own:
            outs = kernel.outs.only(g, n == 0) if follow else kernel.outs
            rule = _exact(kernel, kernel.ins.only(g, n == 0), outs)
        else:
            rule = _alike(kernel, menu, g, groups, follow)
        made = _piece(kernel, menu, kernel.over({g, *beside}), rule)
        found.append(replace(made, again=n > 0 and not follow))
    return tuple(found)


Rule = Callable[[Mapping[int, int], int, int], Mix]
"""(width of each group, bits, readers' bits) to units."""


def _piece(kernel: Kernel, menu: Menu, on: tuple[int, ...], rule: Rule) -> Piece:
    """The piece over these decisions; groups that are not among them are as wide as they are."""
    droppers = kernel.droppers(on)
    cells: dict[Cell, Mix] = {}
    full = {d: menu.decisions[d].options[0].value for d in {*kernel.ins.groups, *kernel.outs.groups}}
    for cell in product(*(range(len(menu.decisions[d].options)) for d in on)):
        chosen = {d: menu.decisions[d].options[o].value for d, o in zip(on, cell, strict=True)}
        if any(chosen.get(d) == 0 for d in droppers):
            cells[cell] = ()
            continue
        bits, readers = (as_is if d is None else chosen[d] for d, as_is in (kernel.bits, kernel.readers))
        cells[cell] = rule({d: chosen.get(d) or w for d, w in full.items()}, bits, readers)
    return Piece(on, cells)


def _mix(*parts: tuple[float, Unit | None]) -> Mix:
    return tuple((a, u) for a, u in parts if u is not None and a)


def _exact(kernel: Kernel, ins: Channels, outs: Channels) -> Rule:
    return lambda widths, bits, readers: _mix(
        (1.0, kernel.make(int(ins.total(widths)), int(outs.total(widths)), bits, readers))
    )


def _alike(kernel: Kernel, menu: Menu, group: int, groups: Sequence[int], follow: bool) -> Rule:
    """A group's share of what the kernel costs where all groups have shrunk as far as this one."""
    most = {g: menu.decisions[g].options[0].value for g in groups}
    least = {g: min(o.value for o in menu.decisions[g].options if o.value) for g in groups}
    room = {g: kernel.ins.groups[g] * (most[g] - least[g]) for g in groups}
    whole = sum(room.values())
    share = room[group] / whole if whole else 1 / len(groups)

    def rule(widths: Mapping[int, int], bits: int, readers: int) -> Mix:
        t = (most[group] - widths[group]) / (most[group] - least[group]) if room[group] else 0.0
        shrunk = {g: most[g] - t * (most[g] - least[g]) for g in groups}
        ends = kernel.ins.total(least), kernel.ins.total(most)
        made = []
        for part, cin in _between(kernel.ins.total(shrunk), *ends):
            cout = cin if follow else int(kernel.outs.total(widths))
            made.append((share * part, kernel.make(cin, cout, bits, readers)))
        return _mix(*made)

    return rule


def _between(x: float, low: float, high: float) -> tuple[tuple[float, int], ...]:
    """The two widths that kernels have next to x, within low..high, by how near each is."""
    down = max(low, np.floor(x / LEAST_STEP) * LEAST_STEP)
    up = min(high, down - down % LEAST_STEP + LEAST_STEP)
    r = (x - down) / (up - down) if up > down else 0.0
    return (1.0 - r, int(down)), (r, int(up))


def term(menu: Menu, metric: str, on: tuple[int, ...], cells: Mapping[Cell, float], label: str) -> Term:
    """A term whose table has these cells, and 0 elsewhere."""
    table = np.zeros([len(menu.decisions[d].options) for d in on])
    for cell, value in cells.items():
        table[cell] = value
    return Term(metric, on, table, label)
