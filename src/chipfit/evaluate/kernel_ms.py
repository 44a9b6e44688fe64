"""Milliseconds of kernels on a device, each measured once in chains (`chains`), in families (`families`)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from math import prod

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph
from chipfit.core.kernel import Kernel
from chipfit.core.kernel import kernels as kernels_of
from chipfit.evaluate.chains import Recipe, recipe
from chipfit.evaluate.families import families_of, filled
from chipfit.evaluate.in_time import InTime, by_weight, guessed_ms, work
from chipfit.evaluate.timing import Timing


def kernel_ms(kernels: Iterable[Kernel], timing: Timing, in_time: InTime | None = None) -> dict[Kernel, float]:
    """Marginal milliseconds of each kernel on the device; those that could not be timed, or not in time, are guessed.

    Widths that fill the same blocks of the device's kernels cost the same, and are measured once. Of a large family a
    grid is measured; where the device is not smooth between its points, so is what the grid cannot tell.
    """
    block, in_time = timing.facts.channel_block, in_time or InTime(timing, Deadline.never())
    whole = {u: filled(u, block.get(u.bits, 1)) for u in kernels}
    families = families_of(whole.values())
    known = _timed([u for f in families for u in f.first], block, in_time)
    rough = [f for f in families if not f.smooth(known)]
    known |= _timed([u for f in rough for u in f.more], block, in_time)
    guessed = {u: guessed_ms(u, known) for f in families for u in f.grid if u not in known}
    ms = guessed | known
    for f in families:
        ms |= f.told(ms)
    return {u: ms[as_filled] for u, as_filled in whole.items()}


START_S, PER_MB_S, RUNS = 0.025, 0.012, 25
"""Of a chain's quick timing: seconds to write, load and begin with it, more for each megabyte, runs of it."""


def chains_beyond(kernels: Collection[Kernel], network: Graph, timing: Timing, seconds: float) -> bool:
    """True where the chains of these kernels would take longer than so many seconds, at the pace of the network."""
    if math.isinf(seconds):
        return False
    (whole,) = timing.graphs([network], "quick")
    pace_s = whole.value / 1e3 / sum(map(work, kernels_of(network).values()))
    block = timing.facts.channel_block
    families = families_of({filled(u, block.get(u.bits, 1)) for u in kernels})
    recipes = _with_needs({u for f in families for u in f.first}, block)
    taken_s = 0.0
    for graph in _graphs(recipes, recipes):
        weights_mb = sum(prod(shape) for o in graph for shape in graph.weight_shapes(o).values()) * 4 / 1e6
        taken_s += START_S + PER_MB_S * weights_mb + RUNS * pace_s * sum(map(work, kernels_of(graph).values()))
        if taken_s > seconds:
            return True
    return False


def _timed(kernels: Iterable[Kernel], block: Mapping[int, int], in_time: InTime) -> dict[Kernel, float]:
    """Marginal milliseconds of these kernels, and of those that their prices need, as far as the time reaches."""
    recipes = _with_needs(set(kernels), block)
    graphs = _graphs(recipes, by_weight(list(recipes)))
    timed = zip(graphs, in_time.graphs(graphs), strict=True)
    return _values_of(recipes, {g.key: m.value for g, m in timed if m is not None and np.isfinite(m.value)})


def _graphs(recipes: Mapping[Kernel, Recipe], order: Iterable[Kernel]) -> list[Graph]:
    """What has to be timed, each once, so that the first kernels are known first, with what they need."""
    found: dict[str, Graph] = {}

    def add(u: Kernel) -> None:
        for n in recipes[u].needs:
            add(n)
        for g in recipes[u].graphs:
            found.setdefault(g.key, g)

    for u in order:
        add(u)
    return list(found.values())


def _values_of(recipes: Mapping[Kernel, Recipe], measured: Mapping[str, float]) -> dict[Kernel, float]:
    """Milliseconds of the kernels whose graphs, and whose needs', were all timed."""
    ms: dict[Kernel, float | None] = {}

    def value(u: Kernel) -> float | None:
        if u not in ms:
            r = recipes[u]
            needs, taken = [value(n) for n in r.needs], [measured.get(g.key) for g in r.graphs]
            known = [n for n in needs if n is not None], [t for t in taken if t is not None]
            whole = len(known[0]) == len(needs) and len(known[1]) == len(taken)
            ms[u] = r.value(known[1], known[0]) if whole else None
        return ms[u]

    return {u: v for u in recipes if (v := value(u)) is not None}


def _with_needs(kernels: Iterable[Kernel], block: Mapping[int, int]) -> dict[Kernel, Recipe]:
    recipes: dict[Kernel, Recipe] = {}
    stack = sorted(kernels, key=repr)
    while stack:
        u = stack.pop()
        if u not in recipes:
            recipes[u] = recipe(u, block.get(u.bits, 1))
            stack.extend(recipes[u].needs)
    return recipes
