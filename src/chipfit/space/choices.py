"""Spaces for strategies that propose and are told: named choices, the assignments of a menu, and joins of both.

Genes are bounded integers. Every gene vector is repaired to a valid candidate rather than rejected: rejection dies
with the number of ties.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.protocols import Space
from chipfit.core.types import Candidate, Plain
from chipfit.space.menu import Assignment, Menu, Term

Genes = NDArray[np.int64]

_TRIES = 20


@dataclass(frozen=True)
class Choices:
    """The product of named genes, each with its possible values in plain data.

    >>> space = Choices({"depth": (2, 3, 4), "activation": ("relu", "silu")})
    >>> space.decode(np.array([2, 0])).values
    {'depth': 4, 'activation': 'relu'}

    Raises:
        BadInput: a gene without values, or with one twice.
    """

    genes: Mapping[str, Sequence[Plain]]

    def __post_init__(self) -> None:
        for name, values in self.genes.items():
            if not values or len({_text(v) for v in values}) < len(values):
                raise BadInput(f"gene {name!r} has the values {tuple(values)}; give at least one, and each once")

    @cached_property
    def upper(self) -> Genes:
        """(genes,) index of the last value of each."""
        return np.array([len(v) - 1 for v in self.genes.values()], np.int64)

    @cached_property
    def _index(self) -> Mapping[str, Mapping[str, int]]:
        return {name: {_text(v): i for i, v in enumerate(values)} for name, values in self.genes.items()}

    def sample(self, rng: np.random.Generator) -> Candidate:
        """One of all combinations, equally likely."""
        return self.decode(_drawn(self.upper, rng))

    def mutate(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        """The candidate with one gene changed, sometimes more."""
        return self.decode(_moved(self.encode(candidate), self.upper, rng))

    def cross(self, a: Candidate, b: Candidate, rng: np.random.Generator) -> Candidate:
        """Each gene from one of the two."""
        return self.decode(_mixed(self.encode(a), self.encode(b), rng))

    def encode(self, candidate: Candidate) -> Genes:
        """(genes,) index of each value.

        Raises:
            BadInput: a gene is missing or has a value that is not offered.
        """
        for name, index in self._index.items():
            if name not in candidate.values or _text(candidate.values[name]) not in index:
                raise BadInput(
                    f"gene {name!r} is {candidate.values.get(name)!r}; it must be one of {', '.join(index)}"
                    f"{did_you_mean(_text(candidate.values.get(name)), index)}"
                )
        return np.array([index[_text(candidate.values[name])] for name, index in self._index.items()], np.int64)

    def decode(self, genes: Genes) -> Candidate:
        """The candidate of these indices; those beyond the ends are clipped."""
        clipped = np.clip(genes, 0, self.upper)
        return Candidate({name: v[int(i)] for (name, v), i in zip(self.genes.items(), clipped, strict=True)})

    def __add__(self, other: Space) -> Joined:
        return Joined((self, other))


@dataclass(frozen=True)
class MenuSpace:
    """The valid assignments of a menu; a candidate is {decision name: option index}.

    Ties are repaired by keeping as many genes as can be kept, first decisions first. A decision that no metric of the
    menu sees at all beside the others' options (the precision of a block that is skipped) is set to its first option,
    so that equal designs are equal candidates.

    Raises:
        BadInput: two decisions of one name, or ties that contradict each other.
    """

    menu: Menu

    def __post_init__(self) -> None:
        names = [d.name for d in self.menu.decisions]
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise BadInput(f"the menu has two decisions named {twice!r}; names must differ")
        self.repaired(self.menu.as_is)

    @cached_property
    def upper(self) -> Genes:
        """(decisions,) index of the last option of each."""
        return self.menu.sizes - 1

    @cached_property
    def _tied(self) -> Mapping[int, tuple[tuple[int, int, int], ...]]:
        """For each decision, (option, earlier decision, its option) of the ties that it completes."""
        found: dict[int, list[tuple[int, int, int]]] = {d: [] for d in range(len(self.upper))}
        for (a, i), (b, j) in self.menu.ties:
            late, option, early, its = (b, j, a, i) if b >= a else (a, i, b, j)
            found[late].append((option, early, its))
        return {d: tuple(rows) for d, rows in found.items()}

    @cached_property
    def _seen_by(self) -> Mapping[int, tuple[Term, ...]]:
        """For each decision, the terms whose table it can change."""
        return {d: tuple(t for t in self.menu.terms if _varies(t, d)) for d in range(len(self.upper))}

    def assignment(self, candidate: Candidate) -> Assignment:
        """The option index of each decision."""
        return tuple(int(g) for g in self.encode(candidate))

    def candidate(self, assignment: Assignment) -> Candidate:
        """The candidate of an assignment, repaired where that is needed."""
        return self.decode(np.array(assignment, np.int64))

    def sample(self, rng: np.random.Generator) -> Candidate:
        """A random option for each decision, repaired."""
        return self.decode(_drawn(self.upper, rng))

    def mutate(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        """The candidate with one decision changed, sometimes more, and what is tied to it."""
        genes = self.encode(candidate)
        for _ in range(_TRIES):
            changed = self.decode(_moved(genes, self.upper, rng))
            if changed.key != candidate.key:
                break
        return changed

    def cross(self, a: Candidate, b: Candidate, rng: np.random.Generator) -> Candidate:
        """Each decision from one of the two, repaired."""
        return self.decode(_mixed(self.encode(a), self.encode(b), rng))

    def encode(self, candidate: Candidate) -> Genes:
        """(decisions,) option indices.

        Raises:
            BadInput: a decision is missing or its option does not exist.
        """
        for d in self.menu.decisions:
            option = candidate.values.get(d.name)
            last = len(d.options) - 1
            if not isinstance(option, int) or not 0 <= option <= last:
                raise BadInput(f"decision {d.name!r} is {option!r}; it must be an option index from 0 to {last}")
        return np.array([candidate.values[d.name] for d in self.menu.decisions], np.int64)

    def decode(self, genes: Genes) -> Candidate:
        """The candidate of these option indices: clipped, ties repaired, unseen decisions set to their first option."""
        clipped = np.clip(genes, 0, self.upper)
        chosen = self._canonical(self.repaired(tuple(int(g) for g in clipped)))
        return Candidate({d.name: o for d, o in zip(self.menu.decisions, chosen, strict=True)})

    def repaired(self, wanted: Assignment) -> Assignment:
        """The assignment itself if its ties hold, else the first that depth-first search finds, near options first."""
        if self.menu.valid(wanted):
            return wanted
        chosen: list[int] = []
        open_: list[Iterator[int]] = []
        while len(chosen) < len(wanted):
            d = len(chosen)
            if len(open_) == d:
                open_.append(iter(sorted(range(int(self.upper[d]) + 1), key=lambda o: (abs(o - wanted[d]), o))))
            option = next((o for o in open_[d] if self._fits(chosen, d, o)), None)
            if option is not None:
                chosen.append(option)
            elif chosen:
                open_.pop()
                chosen.pop()
            else:
                raise BadInput("the ties of the menu contradict each other: no assignment keeps them all")
        return tuple(chosen)

    def _fits(self, chosen: Sequence[int], d: int, option: int) -> bool:
        """True when no tie of `d` with itself or an earlier decision is broken."""
        return all((option == mine) == ((option if e == d else chosen[e]) == its) for mine, e, its in self._tied[d])

    def _canonical(self, assignment: Assignment) -> Assignment:
        before: Assignment = ()
        while assignment != before:
            before = assignment
            for d in range(len(assignment)):
                first = (*assignment[:d], 0, *assignment[d + 1 :])
                if assignment[d] and self._unseen(d, assignment) and self.menu.valid(first):
                    assignment = first
        return assignment

    def _unseen(self, d: int, assignment: Assignment) -> bool:
        """True when `d` matters somewhere, but not beside these options of the others."""
        return bool(self._seen_by[d]) and all(np.ptp(_along(t, d, assignment)) == 0 for t in self._seen_by[d])

    def __add__(self, other: Space) -> Joined:
        return Joined((self, other))


@dataclass(frozen=True)
class Joined:
    """The product of spaces whose candidates name different values.

    Raises:
        BadInput: two spaces use one name.
    """

    parts: tuple[Space, ...]

    def __post_init__(self) -> None:
        names = [n for part in self._names for n in part]
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise BadInput(f"both spaces have a value named {twice!r}; rename it in one of them")

    @cached_property
    def _names(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(p.decode(np.zeros(len(p.upper), np.int64)).values) for p in self.parts)

    @cached_property
    def upper(self) -> Genes:
        """(genes,) of all parts, one after the other."""
        return np.concatenate([p.upper for p in self.parts])

    def split(self, candidate: Candidate) -> tuple[Candidate, ...]:
        """The candidate of each part."""
        return tuple(Candidate({n: v for n, v in candidate.values.items() if n in names}) for names in self._names)

    def sample(self, rng: np.random.Generator) -> Candidate:
        """A sample of each part."""
        return _union(p.sample(rng) for p in self.parts)

    def mutate(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        """The candidate with one part mutated, each as likely as it has genes that can vary."""
        free = np.array([np.count_nonzero(p.upper) for p in self.parts], float)
        which = int(rng.choice(len(free), p=free / free.sum())) if free.any() else 0
        pieces = list(self.split(candidate))
        pieces[which] = self.parts[which].mutate(pieces[which], rng)
        return _union(pieces)

    def cross(self, a: Candidate, b: Candidate, rng: np.random.Generator) -> Candidate:
        """Each part crossed on its own."""
        pairs = zip(self.parts, self.split(a), self.split(b), strict=True)
        return _union(p.cross(x, y, rng) for p, x, y in pairs)

    def encode(self, candidate: Candidate) -> Genes:
        """(genes,) of all parts, one after the other."""
        return np.concatenate([p.encode(c) for p, c in zip(self.parts, self.split(candidate), strict=True)])

    def decode(self, genes: Genes) -> Candidate:
        """The candidate of these genes, each part repaired on its own."""
        ends = np.cumsum([len(p.upper) for p in self.parts])[:-1]
        return _union(p.decode(g) for p, g in zip(self.parts, np.split(genes, ends), strict=True))

    def __add__(self, other: Space) -> Joined:
        return Joined((*self.parts, other))


def _text(value: Plain) -> str:
    """Canonical JSON: what tells 1, 1.0 and True apart."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _union(candidates: Iterator[Candidate] | Sequence[Candidate]) -> Candidate:
    return Candidate({n: v for c in candidates for n, v in c.values.items()})


def _drawn(upper: Genes, rng: np.random.Generator) -> Genes:
    return rng.integers(0, upper, endpoint=True)


def _moved(genes: Genes, upper: Genes, rng: np.random.Generator) -> Genes:
    """The genes with each one that can vary changed with probability 1 / their number, and at least one of them."""
    free = np.flatnonzero(upper)
    if not len(free):
        return genes
    which = free[rng.random(len(free)) < 1 / len(free)]
    if not len(which):
        which = rng.choice(free, 1)
    new = genes.copy()
    new[which] = (genes[which] + rng.integers(1, upper[which], endpoint=True)) % (upper[which] + 1)
    return new


def _mixed(a: Genes, b: Genes, rng: np.random.Generator) -> Genes:
    return np.where(rng.random(len(a)) < 0.5, a, b)


def _along(term: Term, d: int, assignment: Assignment) -> NDArray[np.float64]:
    """(options,) the term's cost for each option of `d` beside the others' options."""
    at = tuple(slice(None) if e == d else assignment[e] for e in term.on)
    line = term.table[at]
    return line if line.ndim == 1 else np.einsum(f"{'a' * line.ndim}->a", line)


def _varies(term: Term, d: int) -> bool:
    return d in term.on and any(np.ptp(term.table, axis=i).any() for i, e in enumerate(term.on) if e == d)
