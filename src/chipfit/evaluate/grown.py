"""Programs grown for the slowest layers of a network on a device, each look at a candidate pruning the next.

Layers that programs cannot tell apart share their candidates. These begin with seeds and with what the library has, and
vary by ageing evolution (`search.evolve`) up a ladder of looks (`looks`): work, error after the closed-form fit, time
of the kernels. Of the best trades of error and time a few are put into the network, where two more looks decide: the
harm to its answers after repair (`damage`), and whether the whole network becomes faster, in the precision that suits
the program. What is left goes on the menu, to be chosen jointly with all else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from chipfit.compress.profile import Profile
from chipfit.core.deadline import Deadline
from chipfit.core.edits import Precision, Swap
from chipfit.core.graph import Graph, Network
from chipfit.core.kernel import Kernel, kernels
from chipfit.core.protocols import Foretelling
from chipfit.core.task import CLASSIFICATION, Task
from chipfit.evaluate.damage import Scorer
from chipfit.evaluate.in_time import InTime, guessed_ms, work
from chipfit.evaluate.kernel_ms import kernel_ms
from chipfit.evaluate.looks import Alike, Looks
from chipfit.evaluate.slowest import Slow
from chipfit.evaluate.timing import Latencies, Timing
from chipfit.search.evolve import Ageing, evolve
from chipfit.space.edits import apply
from chipfit.space.groups import sites
from chipfit.space.program import Place, Program, parse, place_of
from chipfit.space.program.canonical import canonical_at
from chipfit.space.program.mutate import crossed, mutated
from chipfit.space.programmed import replaceable

WORTH = 0.03
"""Share of the network's time that layers of one kind take together at least, to be worth programs of their own."""

MOST_KINDS = 6
"""Kinds of layers that programs are grown for."""

SCORED = 6
"""Programs of one kind of layer that are put into the network."""

OFFERED = 4
"""Programs that a layer is offered: a solver's tables grow with each."""

NEAR = 1.25
"""Times in time, and in harm, that a program is about as good as another."""

SOLVED = frozenset({"conv", "pwconv", "linear"})
"""Opcodes of whole layers."""

HARMFUL = 0.5
"""Nats of one layer alone from which on a program is of no use: whole designs that lose so much are not chosen."""

FROM_POOL = 0.3
"""Share of children that are crossed with a program of other layers."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Grown:
    """A program for layers of one kind, and what was measured of it.

    Attributes:
        text: the program.
        alike: the layers.
        ms: time of its kernels / time of the layer's.
        error: share of the layer's answers that it misses before repair.
        damage: nats that it costs alone in the slowest of the layers, after repair.
        whole: time of the network with it in all of the layers / without; 1 where no device was asked.
    """

    text: str
    alike: Alike
    ms: float
    error: float
    damage: float
    whole: float


def kinds(graph: Graph, slow: Sequence[Slow], keep: Collection[str] = ()) -> tuple[Alike, ...]:
    """Kinds of layers that programs may compute and that take much of the time, those that take most first."""
    free, of = set(replaceable(graph, keep)), kernels(graph)
    found: dict[tuple[Place, Kernel], list[Slow]] = {}
    for row in slow:
        if row.op in free and row.op in of:
            place = replace(place_of(graph, row.op), name="", reads="", weights="")
            found.setdefault((place, of[row.op]), []).append(row)
    made = [_alike(graph, kernel, rows) for (_, kernel), rows in found.items()]
    wide = sorted((a for a in made if a.share >= WORTH), key=lambda a: -a.share)
    return tuple(wide[:MOST_KINDS])


def _alike(graph: Graph, kernel: Kernel, rows: Sequence[Slow]) -> Alike:
    names = tuple(row.op for row in rows)
    return Alike(names, place_of(graph, names[0]), kernel, sum(row.share for row in rows))


@dataclass(slots=True)
class Prices:
    """Milliseconds of kernels together, summed over devices, on each in the precision in which they take least.

    Kernels that cannot be timed in chains are taken to go on at the rate of those that were.
    """

    timing: Latencies
    bits: tuple[int, ...]
    deadline: Deadline
    known: dict[str, dict[Kernel, float]] = field(default_factory=dict)

    def __call__(self, together: Sequence[Kernel]) -> float:
        """Their milliseconds."""
        whole = 0.0
        for one, factor in self.timing.each:
            whole += factor * min(self._on(one, together).values())
        return whole

    def suits(self, together: Sequence[Kernel]) -> int:
        """The bits in which they take least on the first device."""
        ms = self._on(self.timing.each[0][0], together)
        return min(ms, key=lambda bits: ms[bits])

    def _on(self, one: Timing, together: Sequence[Kernel]) -> dict[int, float]:
        """Their milliseconds on one device, by bits."""
        known = self.known.setdefault(one.facts.fingerprint, {})
        ms: dict[int, float] = {}
        for bits in self.bits:
            computed = [replace(k, bits=bits) for k in together]
            self._look_up(one, set(computed) - known.keys(), known)
            ms[bits] = sum(map(known.__getitem__, computed))
        return ms

    def _look_up(self, one: Timing, wanted: set[Kernel], known: dict[Kernel, float]) -> None:
        """Adds the milliseconds of these kernels to those that are known."""
        if isinstance(one.device, Foretelling):
            known |= {k: work(k) for k in wanted}
            return
        chained = {k for k in wanted if not k.in_place}
        if chained:
            known |= kernel_ms(chained, one, InTime(one, self.deadline))
        for k in wanted - chained:
            known[k] = guessed_ms(k, known)


def evolved(
    looks: Looks,
    begun: Sequence[Program],
    pool: Sequence[Program],
    children: int,
    rng: np.random.Generator,
    done: Callable[[], bool],
) -> int:
    """Grows programs for one kind of layer, from those that are given; how many were looked at. `looks` has the rest.

    `pool` are good programs of other layers, which children are crossed with.
    """
    place = looks.alike.place

    def vary(parent: Program, living: Sequence[Program], rng: np.random.Generator) -> Program | None:
        others = [*pool, *living]
        if rng.random() < FROM_POOL and len(others) > 1:
            child = crossed(parent, others[int(rng.integers(len(others)))], place, rng)
        else:
            child = mutated(parent, place, rng, pool=others)
        return None if child is None else canonical_at(child, place)

    first = [canonical_at(program, place) for program in begun]  # what is the same there is looked at once
    return len(evolve(first, vary, looks.rungs(), rng, ageing=Ageing(children=children), done=done))


def confirmed(
    network: Network,
    profile: Profile,
    found: Sequence[Looks],
    repair: Floats,
    inputs: Floats,
    prices: Prices,
    done: Callable[[], bool],
    *,
    task: Task = CLASSIFICATION,
) -> tuple[Grown, ...]:
    """The best trades of each kind of layer, put into the network; those by which it does not become faster are out.

    So are those that come after `done`, which is asked before each; of each kind of layer some are tried before the
    rest.
    """
    wanted = _in_turns(found)
    if not wanted or done():
        return ()
    edits = {(looks.alike, text): (Swap(looks.alike.layers[0], text),) for looks, text in wanted}
    scorer = Scorer(network, profile, repair, inputs, edits.values(), task=task)
    ratios = _whole(network.graph, wanted, prices)
    grown: list[Grown] = []
    for (looks, text), ratio in zip(wanted, ratios, strict=True):
        if ratio <= 1.0 and not done():
            error, ms = looks.seen[text]
            harm = scorer.damage(edits[looks.alike, text])
            grown.append(Grown(text, looks.alike, ms, error, harm, ratio))
    return tuple(grown)


def _in_turns(found: Sequence[Looks]) -> list[tuple[Looks, str]]:
    """What is put into the network: the first of each kind of layer, then the second of each, and so on."""
    few = [_few(looks) for looks in found]
    wanted: list[tuple[Looks, str]] = []
    for turn in range(SCORED):
        for looks, texts in zip(found, few, strict=True):
            if turn < len(texts):
                wanted.append((looks, texts[turn]))
    return wanted


def _few(looks: Looks) -> list[str]:
    """Some of the best trades, evenly spread, the fastest and the most faithful among them."""
    trades = looks.trades()
    at = np.linspace(0, len(trades) - 1, min(SCORED, len(trades))).round().astype(int)
    return [trades[i] for i in at]


def _whole(graph: Graph, wanted: Sequence[tuple[Looks, str]], prices: Prices) -> list[float]:
    """Time of the network with each program in all layers of its kind / without, in the precision that suits it."""
    one = prices.timing.each[0][0]
    if isinstance(one.device, Foretelling):
        return [1.0] * len(wanted)
    low = [Precision(site.name, 8) for site in sites(graph)]
    plain = {32: graph, 8: apply(graph, low) if 8 in prices.bits else graph}
    graphs, suits = [], []
    for looks, text in wanted:
        bits = prices.suits(looks.kernels_of(text))
        swaps = [Swap(layer, text) for layer in looks.alike.layers]
        suits.append(bits)
        graphs.append(apply(graph, [*swaps, *(low if bits == 8 else [])]))
    untouched = [plain[bits] for bits in suits]
    ms = [m.value for m in one.graphs([*untouched, *graphs], "quick")]
    return [after / before for before, after in zip(ms[: len(graphs)], ms[len(graphs) :], strict=True)]


def offered(grown: Sequence[Grown]) -> dict[str, tuple[str, ...]]:
    """For each layer the programs that go on the menu: no other one of its kind is better in harm and in time."""
    by_kind: dict[Alike, list[Grown]] = {}
    for g in grown:
        by_kind.setdefault(g.alike, []).append(g)
    found: dict[str, tuple[str, ...]] = {}
    for alike, those in by_kind.items():
        texts = tuple(g.text for g in _best(those))
        if texts:
            found |= dict.fromkeys(alike.layers, texts)
    return found


def _best(grown: Sequence[Grown]) -> list[Grown]:
    """At most `OFFERED` that no other is better than in harm and in time, the fastest first.

    Of too many those go that their neighbours stand in for best, the ends excepted.
    """
    kept: list[Grown] = []
    candidates = [g for g in grown if g.damage <= HARMFUL and not _stood_in_for(g, grown)]
    for g in sorted(candidates, key=lambda g: (g.ms, g.damage)):
        if not kept or g.damage < kept[-1].damage:
            kept.append(g)
    while len(kept) > OFFERED:
        gains = [_below(*kept[n - 1 : n + 2]) for n in range(1, len(kept) - 1)]
        del kept[1 + int(np.argmin(gains))]
    return kept


def _stood_in_for(g: Grown, grown: Sequence[Grown]) -> bool:
    """True for a program that repair cannot solve for, where there is one about as good that it can.

    Alone both do the same harm; in a design, what layers before them lost is made good by the one alone.
    """
    if _repairable(g):
        return False
    near = (h for h in grown if h.ms <= NEAR * g.ms and h.damage <= NEAR * _nats(g))
    return any(_repairable(h) for h in near)


def _repairable(g: Grown) -> bool:
    """True where the last instruction is a layer that repair solves for: whole, not in groups."""
    return parse(g.text).instructions[-1].opcode in SOLVED


def _below(faster: Grown, between: Grown, slower: Grown) -> float:
    """How far a program's harm is below the line between two others, in logarithms of nats over time."""
    share = (between.ms - faster.ms) / (slower.ms - faster.ms)
    line = (1 - share) * np.log(_nats(faster)) + share * np.log(_nats(slower))
    return float(line - np.log(_nats(between)))


def _nats(grown: Grown) -> float:
    """Damage, not below what tells nothing."""
    return max(grown.damage, 1e-6)
