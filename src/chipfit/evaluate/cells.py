"""What operators cost by, under each option of a menu: records that are read off edited graphs, in small tables.

A record says in plain numbers what one operator costs by. A reader gives one for each operator of a graph that costs
something, so that an option changes what its edits change, whatever kind of edits there are. A decision concerns an
operator where one of its options changes the operator's record or takes the operator away.

The graph is edited once for each option alone, and records of combinations are put together: a field that one decision
changes has the value that this one gives it, and whole numbers that several change (the channels behind a
concatenation) change by the sum of what each does. One graph with every decision changed tells where that is wrong;
there each combination is edited and read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, Generic, TypeVar, cast

from chipfit.core.edits import Edit
from chipfit.core.graph import Graph, Op
from chipfit.core.kernel import about
from chipfit.space.edits import apply
from chipfit.space.edits.kind import Structure
from chipfit.space.menu import Choice, Menu
from chipfit.space.programmed import programs_of

R = TypeVar("R")

Read = Callable[[Graph], Mapping[str, R]]
"""The records of a graph by operator; what costs nothing is left out. Records are frozen dataclasses."""

Cell = tuple[int, ...]
"""An option for each of some decisions."""

FEW = 4
"""Decisions whose combinations are edited and read where records cannot be put together: `MOST`, but for programs."""


@dataclass(frozen=True, slots=True)
class ByOperator(Generic[R]):
    """A reader that reads operators one by one: `one` gives the record of an operator, None where it costs nothing.

    A record may depend on what `core.kernel.about` names and on nothing else. So of an edited graph only the operators
    about its edits are read: a network of hundreds of operators has some thousand edited graphs.
    """

    one: Callable[[Graph, Op], R | None]

    def __call__(self, graph: Graph) -> dict[str, R]:
        """The records of a graph."""
        return self.of(graph, graph)

    def of(self, graph: Graph, ops: Iterable[Op]) -> dict[str, R]:
        """The records of some operators of a graph."""
        read = ((o.name, self.one(graph, o)) for o in ops)
        return {name: record for name, record in read if record is not None}


@dataclass(frozen=True, slots=True)
class Cells(Generic[R]):
    """The records of one operator under the options of the decisions `on`, which are all that set it.

    `alone` holds, for every decision that concerns it, the record under each option where nothing else is changed
    (None: it is not there). `says` has a number for each of those options, equal for options that are tied: that a
    block is dropped is said in several decisions, of which one in `on` is enough. `combined` is empty but where records
    cannot be put together: there it holds the record of every cell.
    """

    op: str
    on: tuple[int, ...]
    as_is: R | None
    alone: Mapping[int, tuple[R | None, ...]]
    says: Mapping[int, tuple[int, ...]]
    combined: Mapping[Cell, R | None]

    @property
    def records(self) -> dict[Cell, R | None]:
        """The record of every cell over `on`; where several decisions are summed up (`shared`) there may be many."""
        return dict(self.combined or self.over(self.on))

    def at(self, chosen: Mapping[int, int]) -> R | None:
        """The record where these decisions take these options and others none."""
        if self.combined:
            return self.combined[tuple(chosen.get(d, 0) for d in self.on)]
        on = [d for d in chosen if d in self.alone]
        return self._together([self._changes(d, said[chosen[d]]) for d, said in self.heard(on).items()])

    def over(self, on: Sequence[int]) -> Iterator[tuple[Cell, R | None]]:
        """Each cell over some decisions, with its record where all others are left as they are."""
        heard = self.heard(on)
        by_option = [self._changes_by_option(d, heard[d]) for d in on]
        for cell in product(*map(range, map(len, by_option))):
            yield cell, self._together([changes[o] for changes, o in zip(by_option, cell, strict=True)])

    def heard(self, on: Collection[int]) -> dict[int, tuple[int, ...]]:
        """For each of these decisions the options that its own count as, beside those of the others.

        Where several decisions can say the same, the first of them is believed: what another one says of it counts as
        nothing said. They contradict each other in cells that no assignment has. Such a cell costs what the first one
        says, and not nothing, which keeps the bounds of a solver tight.
        """
        found: dict[int, tuple[int, ...]] = {}
        believed: set[int] = set()
        for d in sorted(on, key=lambda d: (-len(self.drops(d)), d)):
            found[d] = tuple(0 if said in believed else o for o, said in enumerate(self.says[d]))
            believed.update(self.says[d][1:])
        return found

    def sets(self, d: int) -> frozenset[int]:
        """What a decision can say that changes the record."""
        told = zip(self.says[d], self.alone[d], strict=True)
        return frozenset(said for said, record in told if record != self.alone[d][0])

    def drops(self, d: int) -> frozenset[int]:
        """What a decision can say that takes the operator away."""
        told = zip(self.says[d], self.alone[d], strict=True)
        return frozenset(said for said, record in told if record is None and self.alone[d][0] is not None)

    def changes(self, d: int) -> frozenset[str]:
        """The fields of the record that a decision changes."""
        return frozenset(name for o in range(len(self.alone[d])) for name in self._changes(d, o) or () if name)

    def _changes_by_option(self, d: int, options: Sequence[int]) -> list[dict[str, Any] | None]:
        return [self._changes(d, o) for o in options]

    def _changes(self, d: int, o: int) -> dict[str, Any] | None:
        """The fields that an option changes, with their values; None where the operator is not there."""
        record = self.alone[d][o]
        return None if record is None or self.as_is is None else _differing(self.as_is, record)

    def _together(self, options: Sequence[Mapping[str, Any] | None]) -> R | None:
        """The record under several options at once, by what each changes alone."""
        values: dict[str, Any] = {}
        for changed in options:
            if changed is None:
                return None
            for name, value in changed.items():
                values[name] = _sum(getattr(self.as_is, name, None), values[name], value) if name in values else value
        if not values:
            return self.as_is
        return cast(R, values[_WHOLE] if _WHOLE in values else replace(cast(Any, self.as_is), **values))

    @property
    def shared(self) -> tuple[str, ...]:
        """Fields that several of the decisions change, each its share of a sum."""
        if self.combined:
            return ()
        changed = [name for d in self.on for name in self.changes(d)]
        return tuple(sorted({name for name in changed if changed.count(name) > 1}))


def cells(graph: Graph, menu: Menu, read: Read[R]) -> tuple[Cells[R], ...]:
    """What sets the record of each operator that the graph has as it is or under an option, in the graph's order.

    Raises:
        KeyError, ValueError: edits of an option do not fit the graph, or not all decisions can be changed at once.
    """
    return Variants(graph, menu).cells(read)


class Variants:
    """A graph under each option of a menu, edited once for all that is read off it."""

    def __init__(self, graph: Graph, menu: Menu) -> None:
        self.graph, self.menu = graph, menu
        self.programs = programs_of(menu)
        self.says = _sayings(menu)
        self._structure = Structure(graph)
        self._graphs: dict[frozenset[Edit], Graph] = {frozenset(): graph}
        self._near: dict[int, frozenset[str]] = {}

    def cells(self, read: Read[R]) -> tuple[Cells[R], ...]:
        """As the function of this name, of one menu for several readers."""
        return _Reading(self, read).cells()

    def edited(self, choices: Iterable[Choice]) -> Graph:
        """The graph where these options are chosen and no others."""
        options = [self.menu.decisions[d].options[o] for d, o in choices]
        edits = tuple(dict.fromkeys(e for option in options for e in option.edits))
        key = frozenset(edits)
        if key not in self._graphs:
            self._graphs[key] = apply(self.graph, edits, self._structure)
        return self._graphs[key]

    def near(self, edited: Graph) -> frozenset[str]:
        """The operators of one of the edited graphs that are about what edits changed in it."""
        if id(edited) not in self._near:
            self._near[id(edited)] = about(edited, changed(self.graph, edited))
        return self._near[id(edited)]

    @cached_property
    def read_off(self) -> tuple[int, ...]:
        """The decisions that are read off edited graphs: all but those on programs (`programs`)."""
        on_programs = {p.decision for p in self.programs.values()}
        return tuple(d for d in range(len(self.menu.decisions)) if d not in on_programs)

    @cached_property
    def corner(self) -> dict[int, int]:
        """Every decision changed as far as nothing is dropped: its last option that leaves all operators there."""
        return {d: self._last(d) for d in self.read_off}

    def _last(self, d: int) -> int:
        for o in reversed(range(len(self.menu.decisions[d].options))):
            if self.edited([(d, o)]).by_name.keys() >= self.graph.by_name.keys():
                return o
        return 0


class _Reading(Generic[R]):
    """What one reader reads off the variants of a graph."""

    def __init__(self, variants: Variants, read: Read[R]) -> None:
        self.variants, self.read = variants, read
        self._read: dict[int, Mapping[str, R]] = {}

    def of(self, choices: Iterable[Choice]) -> Mapping[str, R]:
        """The records where these options are chosen and no others."""
        graph = self.variants.edited(choices)  # which lives as long as the variants do
        if id(graph) not in self._read:
            self._read[id(graph)] = self._all(graph)
        return self._read[id(graph)]

    def record(self, choices: Iterable[Choice], op: str) -> R | None:
        """The record of one operator there."""
        graph = self.variants.edited(choices)
        if not isinstance(self.read, ByOperator) or id(graph) in self._read:
            return self.of(choices).get(op)
        return self.read.one(graph, graph[op]) if op in graph.by_name else None

    def _all(self, graph: Graph) -> Mapping[str, R]:
        """All records of a graph, those of operators that no edit is near as they are."""
        whole = self.variants.graph
        if graph is whole or not isinstance(self.read, ByOperator):
            return self.read(graph)
        near, as_is = self.variants.near(graph), self.of([])
        read = self.read.of(graph, (o for o in graph if o.name in near))
        found = ((o.name, (read if o.name in near else as_is).get(o.name)) for o in graph)
        return {name: record for name, record in found if record is not None}

    def cells(self) -> tuple[Cells[R], ...]:
        """The cells of all operators; of those that are not there as it is, those that few decisions set."""
        as_is = self.of([])
        alone = self._alone([])
        found = [self._there(name, record, alone.get(name, {})) for name, record in as_is.items()]
        for name in [name for name in alone if name not in as_is]:
            found += self._elsewhere(name)
        return tuple(found)

    def _alone(self, given: Sequence[Choice]) -> dict[str, dict[int, tuple[R | None, ...]]]:
        """Operator to the records under each option of the decisions that concern it, beside what is given."""
        as_is, changed = self.of(given), {d for d, _ in given}
        found: dict[str, dict[int, tuple[R | None, ...]]] = {}
        for d in self.variants.read_off:
            decision = self.variants.menu.decisions[d]
            if d not in changed:
                under = [self.of([*given, (d, o)]) for o in range(len(decision.options))]
                for name in _concerned(as_is, under):
                    found.setdefault(name, {})[d] = tuple(records.get(name) for records in under)
        return found

    def _there(self, op: str, as_is: R, alone: Mapping[int, tuple[R | None, ...]]) -> Cells[R]:
        found = self._found(op, as_is, alone)
        few = 1 < len(found.on) <= FEW
        return self._combined(found) if few and not self._adds_up(found) else found

    def _elsewhere(self, op: str) -> list[Cells[R]]:
        """The cells of what is there under some options only, where others may change it that do nothing alone."""
        alone = self._alone([])[op]
        first = next((d, o) for d, records in alone.items() for o, record in enumerate(records) if record is not None)
        found = self._found(op, None, alone | self._alone([first]).get(op, {}))
        return [self._combined(found)] if len(found.on) <= FEW else []

    def _found(self, op: str, as_is: R | None, alone: Mapping[int, tuple[R | None, ...]]) -> Cells[R]:
        found = Cells(op, (), as_is, alone, {d: self.variants.says[d] for d in alone}, {})
        return replace(found, on=enough({d: found.sets(d) for d in alone}))

    def _combined(self, found: Cells[R]) -> Cells[R]:
        combinations = product(*(range(len(found.alone[d])) for d in found.on))
        records = {cell: self.record(list(zip(found.on, cell, strict=True)), found.op) for cell in combinations}
        return replace(found, combined=records)

    def _adds_up(self, found: Cells[R]) -> bool:
        """Whether records that are put together are those of a graph where all decisions are changed.

        Where they are not, others may have had a hand in it: then it is asked again with those of the operator alone.
        """
        corner = self.variants.corner
        own = {d: corner[d] for d in found.on}
        told = found.at(own)
        return told == self.of(corner.items()).get(found.op) or told == self.record(own.items(), found.op)


def changed(graph: Graph, edited: Graph) -> set[str]:
    """The operators of an edited graph that are others than in the graph, and those that have other readers."""
    before, after = graph.by_name, edited.by_name
    found: set[str] = set()
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if old is not new and old != new:
            read = [set(o.inputs) for o in (old, new) if o is not None]
            others = read[0] if len(read) == 1 else read[0] ^ read[1]
            found |= {name} | others
    return found & after.keys()


def enough(sets: Mapping[int, Collection[int]], taken: Collection[int] = ()) -> tuple[int, ...]:
    """The decisions, in order, of which one can say whatever any can say, those `taken` among them.

    All that can say something that no other can, and for the rest those that can say most, the first of equals.
    """
    times = Counter(said for words in sets.values() for said in words)
    found = set(taken)
    for d, words in sets.items():
        if any(times[said] == 1 for said in words):
            found.add(d)
    left = times.keys() - set().union(*(sets[d] for d in found if d in sets))
    while left:
        best = max(sorted(sets), key=lambda d: len(left.intersection(sets[d])))
        found.add(best)
        left = left.difference(sets[best])
    return tuple(sorted(found))


def _concerned(as_is: Mapping[str, R], under: Sequence[Mapping[str, R]]) -> list[str]:
    """Operators whose record is another one under an option, in the graph's order."""
    found: dict[str, None] = {}
    for records in under:
        found |= dict.fromkeys(name for name, record in as_is.items() if _other(records.get(name), record))
        found |= dict.fromkeys(name for name in records if name not in as_is)
    return list(found)


def _other(a: object, b: object) -> bool:
    """Whether two records differ; most are one object."""
    return a is not b and a != b


def _sum(as_is: Any, one: Any, other: Any) -> Any:
    """A number that changes by as much as by each of two values; of what cannot be added up the last counts."""
    if all(isinstance(value, int) for value in (as_is, one, other)):
        return one + other - as_is
    return other


_WHOLE = ""
"""In the place of a field's name: the record as a whole is another one."""


def _differing(a: object, b: object) -> dict[str, Any]:
    """The fields of `b` that differ from those of `a`; the whole of it where they have no fields in common."""
    if a == b:
        return {}
    if type(a) is not type(b) or not is_dataclass(a):
        return {_WHOLE: b}
    names = [f.name for f in fields(a)]
    return {name: getattr(b, name) for name in names if getattr(a, name) != getattr(b, name)}


def _sayings(menu: Menu) -> list[tuple[int, ...]]:
    """For each decision a number for each of its options, equal for options that are tied."""
    first: dict[Choice, Choice] = {}

    def home(choice: Choice) -> Choice:
        while choice in first:
            choice = first[choice]
        return choice

    for a, b in menu.ties:
        if home(a) != home(b):
            first[home(b)] = home(a)
    numbers: dict[Choice, int] = {}
    found = []
    for d, decision in enumerate(menu.decisions):
        homes = [home((d, o)) for o in range(len(decision.options))]
        found.append(tuple(numbers.setdefault(choice, len(numbers)) for choice in homes))
    return found
