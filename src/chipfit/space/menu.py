"""The menu: coupled decisions with options, and what each choice costs as small tables over one to five of them.

A convolution's cost is a table over its input width, its output width and its precision, because cost goes as
w_in · w_out: a menu with one independent cost per site is wrong for widths. Damage is a metric like the others,
whose terms usually depend on one group, and on two or three where dropping neighbours together is worse than the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from chipfit.core.edits import Edit

Assignment = tuple[int, ...]
"""One option index per group."""


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to a decision, which `edits` carry out; of a width the label is how many channels are left."""

    label: str
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """One coupled decision. `kind` is that of most of its edits (`space.edits`); its first option changes nothing."""

    name: str
    kind: str
    options: tuple[Option, ...]


MOST = 5
"""Decisions of one term: a layer's two widths, its precision, whether its block is there, and what computes it."""


@dataclass(frozen=True, slots=True)
class Term:
    """A cost: `table[o_1, ..., o_k]` of the metric for the options of decisions `on` (k = 0 to `MOST`).

    A metric may have several `aspects`, such as the latency on each of several devices: its total is the greatest.
    """

    metric: str
    on: tuple[int, ...]
    table: NDArray[np.float64]
    label: str = ""
    aspect: str = ""

    def __post_init__(self) -> None:
        if self.table.ndim != len(self.on):
            raise ValueError(
                f"term {self.label!r} is on {len(self.on)} decisions but its table has {self.table.ndim} axes"
            )
        if len(self.on) > MOST:
            raise ValueError(f"term {self.label!r} is on {len(self.on)} decisions; split it into terms on {MOST}")


Choice = tuple[int, int]
"""(decision, option)."""


@dataclass(frozen=True)
class Menu:
    """Decisions, priced by terms, for one graph (`graph_key`).

    Each pair in `ties` is taken together or not at all.
    """

    graph_key: str
    decisions: tuple[Decision, ...]
    terms: tuple[Term, ...] = ()
    ties: tuple[tuple[Choice, Choice], ...] = ()

    def __post_init__(self) -> None:
        for t in self.terms:
            want = tuple(len(self.decisions[d].options) for d in t.on)
            if t.table.shape != want:
                raise ValueError(
                    f"term {t.label!r} has a table of shape {t.table.shape}; its decisions have {want} options"
                )

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(decisions,) number of options of each."""
        return np.array([len(d.options) for d in self.decisions], np.int64)

    @property
    def as_is(self) -> Assignment:
        """The assignment that changes nothing."""
        return (0,) * len(self.decisions)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that have terms, in order of appearance."""
        return tuple(dict.fromkeys(t.metric for t in self.terms))

    def aspects(self, metric: str) -> tuple[str, ...]:
        """The aspects of a metric, in order of appearance."""
        return tuple(dict.fromkeys(t.aspect for t in self.terms if t.metric == metric))

    def priced(self, terms: Iterable[Term]) -> Menu:
        """The menu with these terms in place of those of the same metrics."""
        new = tuple(terms)
        given = {t.metric for t in new}
        return replace(self, terms=tuple(t for t in self.terms if t.metric not in given) + new)

    def valid(self, assignment: Assignment) -> bool:
        """True when every tie holds and every index exists."""
        if len(assignment) != len(self.decisions) or any(
            not 0 <= o < n for o, n in zip(assignment, self.sizes, strict=True)
        ):
            return False
        return all((assignment[a] == i) == (assignment[b] == j) for (a, i), (b, j) in self.ties)

    def total(self, metric: str, assignment: Assignment) -> float:
        """The sum of the metric's terms, in the aspect where it is greatest.

        Raises:
            KeyError: the menu has no terms of this metric.
        """
        if metric not in self.metrics:
            raise KeyError(f"menu has no terms for {metric!r}; it has {', '.join(self.metrics) or 'none'}")
        sums: dict[str, float] = {}
        for t in self.terms:
            if t.metric == metric:
                sums[t.aspect] = sums.get(t.aspect, 0.0) + float(t.table[tuple(assignment[d] for d in t.on)])
        return max(sums.values())

    def totals(self, metric: str, assignments: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) totals of assignments (n, decisions)."""
        sums = {aspect: np.zeros(len(assignments)) for aspect in self.aspects(metric) or ("",)}
        for t in self.terms:
            if t.metric == metric:
                sums[t.aspect] += t.table[tuple(assignments[:, d] for d in t.on)] if t.on else float(t.table)
        greatest: NDArray[np.float64] = np.max(list(sums.values()), axis=0)
        return greatest

    def edits(self, assignment: Assignment) -> tuple[Edit, ...]:
        """The edits of every chosen option, in order; what several of them say counts once."""
        chosen = zip(self.decisions, assignment, strict=True)
        return tuple(dict.fromkeys(e for d, o in chosen for e in d.options[o].edits))

    def find(self, name: str) -> int:
        """Index of the decision of this name."""
        return next(i for i, d in enumerate(self.decisions) if d.name == name)

    def labels(self, assignment: Sequence[int]) -> dict[str, str]:
        """Decision name to the label of its chosen option."""
        return {d.name: d.options[o].label for d, o in zip(self.decisions, assignment, strict=True)}
