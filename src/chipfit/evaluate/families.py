"""Families of kernels that differ in their widths alone: a grid is timed, and tells what lies between its points.

Runtimes work on channels in blocks, and what is left over takes other kernels: on one processor (AMD EPYC, ONNX
Runtime) a depth-wise int8 layer of 56 channels takes 2.2 times as long as one of 64. A table whose grid misses this is
wrong by as much. So points between those of the grid are timed too, and a family that is not there as its grid tells is
timed whole, or along its edges where it is too large for that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from chipfit.core.kernel import Kernel
from chipfit.space.offer import LEAST_STEP

FULL_TABLE = 6
"""Kernels of a family up to which every one is timed; larger families are sampled."""

GRID, WIDE_GRID, FEW_WIDTHS = 3, 5, 8
"""Values of each width that a grid has, the second where more than the third may be chosen.

[measured] ResNet20 (8 widths), 66 random networks foretold: every one timed costs 981 chains and errs by 1.3 % on ONNX
Runtime, 1,250 and 7.6 % on OpenVINO; the grid 447 and 1.6 %, 442 and 8.2 %.
"""

SMOOTH = 0.05
"""Relative error of a grid, at the points between, up to which it tells the whole family."""

ROUGH_TABLE = 24
"""Kernels of a family that is not smooth up to which every one is timed; of larger ones the edges are.

[measured] AMD EPYC, 66 random networks foretold, error in % (and timing graphs): the grid alone, edges beyond 24,
beyond 64. Key-word spotter: ONNX Runtime 6.6 (171), 1.4 (243), 1.0 (343), LiteRT 7.5 (166), 1.6 (270), 1.4 (347);
ResNet20: 1.3 (528), .6 (683), .6 (963), LiteRT 2.9 (536), 1.7 (710), 2.4 (897).
"""


@dataclass(frozen=True)
class Family:
    """Kernels that are wanted and differ in their widths alone."""

    members: frozenset[Kernel]

    @cached_property
    def ins(self) -> list[int]:
        """Widths in, ascending."""
        return sorted({u.cin for u in self.members})

    @cached_property
    def outs(self) -> list[int]:
        """Widths out, ascending."""
        return sorted({u.cout for u in self.members})

    @cached_property
    def diagonal(self) -> bool:
        """True where each kernel is as wide out as in."""
        return all(u.cin == u.cout for u in self.members)

    @cached_property
    def knots(self) -> tuple[list[int], list[int]]:
        """Widths in and widths out that a grid has."""
        return [self.ins[n] for n in _picks(self.ins)], [self.outs[n] for n in _picks(self.outs)]

    @cached_property
    def grid(self) -> frozenset[Kernel]:
        """What is timed of every family: a grid of its widths, all of it where that is no more."""
        ins, outs = self.knots
        points = self._at(zip(ins, ins, strict=True) if self.diagonal else product(ins, outs))
        sampled = len(self.members) > FULL_TABLE and len(points) < len(self.members)
        return points if sampled else self.members

    @cached_property
    def between(self) -> frozenset[Kernel]:
        """Kernels amid the grid's points, one for each step of it, which show whether the grid tells the rest."""
        if self.grid == self.members:
            return frozenset()
        ins, outs = _amid(self.ins), _amid(self.outs)
        steps = range(max(len(ins), len(outs)))
        return self._at((ins[min(n, len(ins) - 1)], outs[min(n, len(outs) - 1)]) for n in steps)

    @property
    def first(self) -> frozenset[Kernel]:
        """What is timed before it is known whether the family is smooth."""
        return self.grid | self.between

    @cached_property
    def more(self) -> frozenset[Kernel]:
        """What is timed besides where the family is not smooth."""
        if self.diagonal or len(self.members) <= ROUGH_TABLE:
            return self.members - self.first
        edges = [(w, self.outs[-1]) for w in self.ins] + [(self.ins[-1], w) for w in self.outs]
        return self._at(edges) - self.first

    def smooth(self, known: Mapping[Kernel, float]) -> bool:
        """Whether the grid tells what was timed between its points; also where too little of it was timed to say so."""
        if not self.between or not self.first <= known.keys():
            return True
        told = self._on_the_grid(known, self.between)
        return all(abs(told[u] - known[u]) <= SMOOTH * known[u] for u in self.between)

    def told(self, known: Mapping[Kernel, float]) -> dict[Kernel, float]:
        """Milliseconds of each member: as timed, else as the grid and the edges tell, of which the grid is known.

        Between its points a grid is linear (bilinear over two widths). An edge, where it was timed, tells by how much
        one width of a kernel differs from that.
        """
        rest = self.members - known.keys()
        if not rest:
            return {u: known[u] for u in self.members}
        told = self._on_the_grid(known, rest | self.more)
        if not self.diagonal:
            beyond = {u: known[u] / told[u] for u in self.more if u in known and told[u] > 0}
            by_in = {u.cin: r for u, r in beyond.items() if u.cout == self.outs[-1]}
            by_out = {u.cout: r for u, r in beyond.items() if u.cin == self.ins[-1]}
            told = {u: ms * by_in.get(u.cin, 1.0) * by_out.get(u.cout, 1.0) for u, ms in told.items()}
        return {u: known[u] if u in known else told[u] for u in self.members}

    def _at(self, widths: Iterable[tuple[int, int]]) -> frozenset[Kernel]:
        one = next(iter(self.members))
        return frozenset(replace(one, cin=a, cout=b) for a, b in widths)

    def _on_the_grid(self, known: Mapping[Kernel, float], kernels: Collection[Kernel]) -> dict[Kernel, float]:
        """What the grid alone tells of kernels within it."""
        ms = {(u.cin, u.cout): known[u] for u in self.grid}
        ins, outs = self.knots
        if self.diagonal:
            told = np.interp([u.cin for u in kernels], ins, [ms[w, w] for w in ins])
        else:
            table = RegularGridInterpolator((ins, outs), np.array([[ms[a, b] for b in outs] for a in ins]))
            told = table(np.array([(u.cin, u.cout) for u in kernels]).reshape(-1, 2))
        return dict(zip(kernels, told.tolist(), strict=True))


def families_of(kernels: Iterable[Kernel]) -> list[Family]:
    """The families of some kernels."""
    members: dict[Kernel, set[Kernel]] = defaultdict(set)
    for u in kernels:
        members[u.family].add(u)
    return [Family(frozenset(of)) for of in members.values()]


def filled(u: Kernel, block: int) -> Kernel:
    """The kernel with the widths of its kernel rounded up to whole blocks.

    Below one block they count as they are, and so do odd ones (a layer of 30 channels as it came): those take longer
    than the next block.
    """
    groups = u.attr("groups", 1)
    if u.kind not in ("conv", "add") or groups not in (1, "dw"):
        return u
    cin, cout = (w if w < block or w % LEAST_STEP else -(-w // block) * block for w in (u.cin, u.cout))
    return replace(u, cin=cin, cout=cout)


def _picks(widths: Collection[int]) -> list[int]:
    """Where a grid's points stand among the widths."""
    points = GRID if len(widths) <= FEW_WIDTHS else WIDE_GRID
    return [int(n) for n in np.unique(np.linspace(0, len(widths) - 1, points).round())]


def _amid(widths: Sequence[int]) -> list[int]:
    """Between the points of a grid, a width for each step; the only width where there is one."""
    return [widths[(a + b) // 2] for a, b in pairwise(_picks(widths))] or [widths[0]]
