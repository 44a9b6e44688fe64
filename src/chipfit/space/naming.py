"""The atoms of an analysis by the names of groups, each after the first layer that makes it."""

from __future__ import annotations

from collections import defaultdict

from chipfit.space.axes import Axis, Factor, Segment
from chipfit.space.coupling import Analysis, Rows
from chipfit.space.terms import FIXED, Row, Term


class Names:
    """What atoms are called, and which of them are groups.

    A group has the name of the first layer that makes it; where that makes several, in order, a number behind it.
    """

    def __init__(self, analysis: Analysis) -> None:
        self.terms = analysis.terms
        self.makers = _by_atom(analysis, analysis.makers)
        self.readers = _by_atom(analysis, analysis.readers)
        self.carriers = _by_atom(analysis, analysis.carriers)
        self.norms = _by_atom(analysis, analysis.norms)
        self.products: dict[int, list[str]] = defaultdict(list)
        for op, row in analysis.products:
            for atom, _ in self.terms.atoms(row):
                self.products[atom].append(op)
        self._made = {op: dict.fromkeys(self.terms.atoms(row)) for op, row in analysis.makers.items()}
        self.of: dict[int, str] = {}
        self.sizes: dict[int, int] = {}
        for op, atoms in self._made.items():
            for n, (atom, size) in enumerate(atoms):
                self.of.setdefault(atom, op if len(atoms) == 1 else f"{op}/{n}")
                self.sizes[atom] = size
        self._axes: dict[Row, Axis] = {}

    def fixed(self, atom: int) -> str:
        """Why an atom is no group; "" where it is one."""
        if reason := self.terms.reasons[atom]:
            return reason
        return "" if self.readers[atom] or self.products[atom] else "nothing reads its channels"

    def reason(self, maker: str) -> str:
        """Why a layer makes no group; "" where it makes one."""
        reasons = [self.fixed(atom) for atom, _ in self._made[maker]] or ["its channels stand at fixed places"]
        return "" if "" in reasons else reasons[0]

    def axes(self, rows: Rows) -> tuple[Axis, ...]:
        """The axes by the names of groups."""
        return tuple(map(self.axis, rows))

    def axis(self, row: Row) -> Axis:
        """An axis by the names of groups."""
        row = self.terms.current(row)
        if row not in self._axes:
            self._axes[row] = tuple(Segment(tuple(map(self._factor, product))) for product in row)
        return self._axes[row]

    def _factor(self, term: Term) -> Factor:
        atom, size = term
        if atom == FIXED:
            return Factor("", size)
        bound = self.terms.bound[atom]
        if bound is not None:
            return Factor("", size, self.axis(bound))
        return Factor("" if self.fixed(atom) else self.of.get(atom, ""), size)


def _by_atom(analysis: Analysis, rows: dict[str, Row]) -> dict[int, list[str]]:
    """Atom to the operators in whose row it is."""
    found: dict[int, list[str]] = defaultdict(list)
    for op, row in rows.items():
        for atom in dict.fromkeys(atom for atom, _ in analysis.terms.atoms(row)):
            found[atom].append(op)
    return found
