"""Latencies of a menu on a device that can be timed: kernels by themselves or in place, corrected on whole networks.

Cost is weight-free: the same tables serve every budget, and every network that holds the same kernels on this device.

Kernels with a recipe are timed in chains (`kernel_ms`), which is surest for small ones; all others where they stand, in
networks of the menu (`in_place`). Chains of large kernels take long, and a large network's kernels are seen well enough
where they stand: where chains would take longer than was planned for them, all kernels are timed so.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph, Op
from chipfit.core.kernel import Kernel, fused, kernels
from chipfit.evaluate.borders import (
    Crossing,
    Edge,
    Sites,
    boundaries,
    conversion,
    crossings,
    decided_sites,
    readings,
    unblocked,
)
from chipfit.evaluate.cells import ByOperator, Variants
from chipfit.evaluate.drawn import spread_out, to_watch
from chipfit.evaluate.in_place import FEW, WATCHED, Watch, watchable
from chipfit.evaluate.in_time import InTime, guessed_ms
from chipfit.evaluate.kernel_ms import chains_beyond, kernel_ms
from chipfit.evaluate.pieces import Piece, pieces, term
from chipfit.evaluate.pricing import Part, Pricing, corrected
from chipfit.evaluate.programs import in_place, programmed
from chipfit.evaluate.ticker import quiet
from chipfit.evaluate.timing import Timing
from chipfit.space.edits import apply, computed_in
from chipfit.space.menu import Assignment, Menu, Term
from chipfit.space.offer import Offer, sites_of

KERNELS_SHARE = 0.7
"""Of a deadline, for kernels; the rest is for whole networks."""

WATCHED_ANYWAY = 0.3
"""Of that share, what chains may take where networks are watched for the sake of other kernels anyway."""

NETWORKS = 64
"""Whole networks that correct the tables."""

SPREAD = 0.15
"""How well the kernels of one resolution and precision are known, but for one factor.

[measured] It matters where few networks correct the tables: with 5 on an AMD EPYC the mean error on mixed networks fell
from 6.1 to 3.8 % (LiteRT 10.1 to 3.0) against .4, with 10 on a Sapphire Rapids it is the same; with 64, a menu's, too.
"""

CALL_MS = 0.012
"""First guess of what a network costs beyond its kernels: the call, the input's and the output's layout."""

CONVERSION_MS = 0.004
"""First guess of what quantising the input, or answering from int8, adds."""

LOOK_MS = 0.001
"""First guess of what looking at a kernel adds to what is seen of it, which no network that nobody looks at has.

[measured] 40 random MobileNetV2 on ONNX Runtime, AMD EPYC: those of .9 to 1.1 ms were foretold 9 to 12 % too slow
without this part, 4 % with it; it comes out at 2 to 3 microseconds.
"""

Pieces = Sequence[Piece[Kernel]]

Named = Sequence[tuple[str, Pieces]]
"""The kernels at some operators, in pieces."""

Size = tuple[int, ...]
"""(height, width) of a map; () for flat values."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Prices menus on a device by timing it."""

    timing: Timing
    predicted: ClassVar[bool] = False
    tested: ClassVar[bool] = True

    def price(
        self,
        graph: Graph,
        offer: Offer,
        rng: np.random.Generator,
        *,
        networks: int = NETWORKS,
        deadline: Deadline | None = None,
        planned_s: float = math.inf,
        tell: Callable[[str], None] = quiet,
        variants: Variants | None = None,
    ) -> Pricing:
        """The offer's menu with `latency_ms` terms.

        Random `networks` are timed whole; they correct a constant and one scale for each resolution and precision.
        At the deadline what was not timed yet is guessed (`in_time`); `Pricing.timed` tells how much was.
        """
        until = deadline or Deadline.never()
        sought = Sought.of(variants or Variants(graph, offer.menu), self.timing)
        drawn = spread_out(offer.menu, networks, rng)
        kernels_until = until.share(KERNELS_SHARE)
        watch = Watch(self.timing, fused_as_in(graph), kernels_until, tell)
        with_recipe = [u for u in sought.wanted if not u.in_place]
        quick_to_watch, anyway = watchable(self.timing) == FEW, len(with_recipe) < len(sought.wanted)
        chains_s = KERNELS_SHARE * planned_s * (WATCHED_ANYWAY if anyway else 1.0)
        if quick_to_watch and chains_beyond(with_recipe, graph, self.timing, chains_s):
            shown = to_watch(offer.menu, WATCHED, rng)
            watch.look((apply(graph, offer.menu.edits(a)) for a in shown), WATCHED)
        if not watch.blind:  # the networks that were watched are those that the tables are corrected on
            ms = watch.ms(sought.wanted)
            raw = Pricing(offer.menu, (), (), (*sought.parts(ms), *sought.looks(ms)))
            return _corrected(raw, graph, shown[: watch.reached], InTime(self.timing, until, tell))
        alone, whole = InTime(self.timing, kernels_until, tell), InTime(self.timing, until, tell)
        ms = kernel_ms(with_recipe, self.timing, alone)
        if len(with_recipe) < len(sought.wanted):
            watch.look((apply(graph, offer.menu.edits(a)) for a in drawn), watchable(self.timing))
            ms |= _without_recipe(sought.wanted, watch, ms)
        raw = Pricing(offer.menu, (), (), tuple(sought.parts(ms)))
        return _corrected(raw, graph, drawn, alone, whole)


@dataclass(frozen=True, slots=True)
class Sought:
    """The kernels at the operators of a menu's networks, and between them: those of conversions and of layouts."""

    variants: Variants
    own: Named
    borders: Named
    layouts: Named

    @classmethod
    def of(cls, variants: Variants, timing: Timing) -> Sought:
        """All that a menu can have on a device."""
        graph, menu = variants.graph, variants.menu
        at = decided_sites(graph, frozenset[str]().union(*map(sites_of, menu.decisions)))
        block, own = timing.facts.channel_block.get(32, 1), variants.cells(fused_as_in(graph))
        inside = partial(in_place, block=block)
        return cls(
            variants,
            [(c.op, programmed(pieces(c), variants.programs.get(c.op), inside)) for c in own],
            _between(variants, boundaries(graph, at), at, conversion),
            _between(variants, readings(graph, at), at, lambda value: unblocked(value, block)),
        )

    @property
    def wanted(self) -> list[Kernel]:
        """Every kernel, once."""
        found: dict[Kernel, None] = {}
        for _, parts in (*self.own, *self.borders, *self.layouts):
            for part in parts:
                found |= dict.fromkeys(part.ordered)
        return list(found)

    def parts(self, ms: Mapping[Kernel, float]) -> list[Part]:
        """Latency terms in groups: the constant, conversions, and kernels by resolution, precision and kind."""
        menu, graph = self.variants.menu, self.variants.graph
        constants = [Part(t.label, (t,), 1.0) for t in (call(), *_ends(menu))]
        alike = self._alike(ms)
        for name, parts in self.layouts:
            alike[graph[name].shape[1:], 32, ""] += latency(menu, parts, ms.__getitem__, f"{name} unblocked")
        groups = [Part(" ".join(map(str, key)).strip(), tuple(terms), SPREAD) for key, terms in alike.items() if terms]
        return [*constants, *self._conversions(ms), *groups]

    def looks(self, ms: Mapping[Kernel, float]) -> list[Part]:
        """What looking at the kernels added to these milliseconds, to be taken off again.

        No more than a quarter of what one takes: three or four times the guess leave something of it.
        """
        terms: list[Term] = []
        for name, parts in self.own:
            terms += latency(self.variants.menu, parts, lambda k: -min(LOOK_MS, ms[k] / 4), f"{name} looked at")
        return [Part("looks", tuple(terms), 1.0)]

    def _alike(self, ms: Mapping[Kernel, float]) -> dict[tuple[Size, int, str], list[Term]]:
        """Terms by the size of the map that a kernel makes, its precision, and its kind where it is timed in place.

        [measured] A ViT at 224 x 224 on an AMD EPYC: products of attention take 1.5 times what watched networks tell,
        dense layers, timed in chains, 1.05 times. With one factor for all of them narrow networks came out 11 % too
        fast, wide ones 4 % too slow: mean absolute error 5.3 %, and 3.9 with one for each kind.
        """
        found: dict[tuple[Size, int, str], list[Term]] = defaultdict(list)
        for name, parts in self.own:
            size, kind = _out_size(parts), _kind_in_place(parts)
            for bits in (32, 8):
                found[size, bits, kind] += latency(self.variants.menu, parts, ms.__getitem__, name, bits)
        return found

    def _conversions(self, ms: Mapping[Kernel, float]) -> list[Part]:
        """A part for each border and way: the two ways differ in changes of layout."""
        found = []
        for name, parts in self.borders:
            for from_bits, way in ((8, "to float"), (32, "to int8")):
                terms = latency(self.variants.menu, parts, lambda k: _one_way(k, ms[k]), f"{name} {way}", from_bits)
                if terms:
                    found.append(Part(terms[0].label, tuple(terms), 1.0))
        return found


def parts_of(variants: Variants, timing: Timing) -> list[Part]:
    """The terms of a menu on a device, however long it takes, not corrected on whole networks."""
    sought = Sought.of(variants, timing)
    ms = kernel_ms([u for u in sought.wanted if not u.in_place], timing)
    if len(ms) < len(sought.wanted):
        watch = Watch(timing, fused_as_in(variants.graph), Deadline.never())
        watch.look([variants.graph], 1)
        ms |= _without_recipe(sought.wanted, watch, ms)
    return sought.parts(ms)


def _without_recipe(wanted: Iterable[Kernel], watch: Watch, known: Mapping[Kernel, float]) -> dict[Kernel, float]:
    """Milliseconds of kernels without a recipe, in place, where a device can be watched; else by their work."""
    others = [u for u in wanted if u.in_place]
    return {u: guessed_ms(u, known) for u in others} if watch.blind else watch.ms(others)


def _corrected(raw: Pricing, graph: Graph, drawn: Sequence[Assignment], *ways: InTime) -> Pricing:
    """The tables corrected on these networks; the last of the ways times them."""
    made = corrected(raw, graph, drawn, ways[-1])
    asked, reached = sum(w.asked for w in ways), sum(w.reached for w in ways)
    return replace(made, timed=reached / max(1, asked))


def fused_as_in(graph: Graph) -> ByOperator[Kernel]:
    """Reads kernels with the activations that are fused to them in this graph.

    Where a block is dropped, the ReLU behind its addition is fused to the shortcut's convolution. No runtime takes
    longer for it, and to time those convolutions again took an eighth more chains on ResNet-20 (626 for 554).
    """
    acts = {name: kernel.act for name, kernel in kernels(graph).items()}

    def read(edited: Graph, o: Op) -> Kernel | None:
        found = fused(edited, o)
        if found is None or found.act == acts.get(o.name, found.act):
            return found
        return replace(found, act=acts[o.name])

    return ByOperator(read)


def latency(
    menu: Menu, parts: Iterable[Piece[Kernel]], value: Callable[[Kernel], float], label: str, bits: int = 0
) -> list[Term]:
    """The terms of a kernel's pieces by the value of a kernel, of those in these bits; none where there are none."""
    cells = [(p.on, p.numbers(value, lambda k: bits in (0, k.bits))) for p in parts]
    return [term(menu, "latency_ms", on, mine, label) for on, mine in cells if mine]


def call() -> Term:
    """What any network costs."""
    return Term("latency_ms", (), np.array(CALL_MS), "call")


def _between(variants: Variants, edges: Sequence[Edge], at: Sites, make: Callable[[Crossing], Kernel | None]) -> Named:
    """(operator, the kernels that stand between it and some readers) for each edge."""
    crossing = {c.op: c for c in variants.cells(crossings(edges, at))}
    found: list[tuple[str, Pieces]] = []
    for e in edges:
        parts = pieces(crossing[e.name])
        found.append((e.source, [p.of(make) for p in parts]))
    return found


def _one_way(kernel: Kernel, ms: float) -> float:
    """A kernel of conversion holds the way there and back, but before a pool; one more is never free."""
    return (ms / 2 if kernel.kind == "boundary" else ms) + CONVERSION_MS / 2


def _out_size(parts: Pieces) -> Size:
    """The size that a kernel makes, which is the same in all its cells; inside programs there may be others."""
    return next((kernel.out_size for p in parts for kernel in p.ordered), ())


def _kind_in_place(parts: Pieces) -> str:
    """The kind of an operator's kernels where these have no recipe, else none."""
    return next((kernel.kind for p in parts for kernel in p.ordered if kernel.in_place), "")


def _ends(menu: Menu) -> list[Term]:
    """What the precision of the first and of the last site adds at the network's ends."""
    decisions = [d for d, decision in enumerate(menu.decisions) if sites_of(decision)]
    found = []
    for d in dict.fromkeys([*decisions[:1], *decisions[-1:]]):
        low = [float(computed_in(o.edits) == 8) * CONVERSION_MS for o in menu.decisions[d].options]
        found.append(Term("latency_ms", (d,), np.array(low), f"ends {menu.decisions[d].name}"))
    return found
