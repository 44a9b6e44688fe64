"""Milliseconds of kernels on a device, each measured once in chains (`chains`), in families (`families`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph
from chipfit.core.kernel import Kernel
from chipfit.evaluate.chains import Recipe, recipe
from chipfit.evaluate.families import families_of
from chipfit.evaluate.in_time import InTime, by_weight, guessed_ms
from chipfit.evaluate.timing import Timing
from chipfit.space.offer import LEAST_STEP


def kernel_ms(kernels: Iterable[Kernel], timing: Timing, in_time: InTime | None = None) -> dict[Kernel, float]:
    """Marginal milliseconds of each kernel on the device; those that could not be timed, or not in time, are guessed.

    Widths that fill the same blocks of the device's kernels cost the same, and are measured once. Of a large family a
    grid is measured; where the device is not smooth between its points, so is what the grid cannot tell.
    """
    block, in_time = timing.facts.channel_block, in_time or InTime(timing, Deadline.never())
    filled = {u: _filled(u, block.get(u.bits, 1)) for u in kernels}
    families = families_of(filled.values())
    known = _timed([u for f in families for u in f.first], block, in_time)
    rough = [f for f in families if not f.smooth(known)]
    known |= _timed([u for f in rough for u in f.more], block, in_time)
    guessed = {u: guessed_ms(u, known) for f in families for u in f.grid if u not in known}
    ms = guessed | known
    for f in families:
        ms |= f.told(ms)
    return {u: ms[as_filled] for u, as_filled in filled.items()}


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


def _filled(u: Kernel, block: int) -> Kernel:
    """The kernel with the widths of its kernel rounded up to whole blocks.

    Below one block they count as they are, and so do odd ones (a layer of 30 channels as it came): those take longer
    than the next block.
    """
    groups = u.attr("groups", 1)
    if u.kind not in ("conv", "add") or groups not in (1, "dw"):
        return u
    cin, cout = (w if w < block or w % LEAST_STEP else -(-w // block) * block for w in (u.cin, u.cout))
    return replace(u, cin=cin, cout=cout)


def _with_needs(kernels: Iterable[Kernel], block: Mapping[int, int]) -> dict[Kernel, Recipe]:
    recipes: dict[Kernel, Recipe] = {}
    stack = sorted(kernels, key=repr)
    while stack:
        u = stack.pop()
        if u not in recipes:
            recipes[u] = recipe(u, block.get(u.bits, 1))
            stack.extend(recipes[u].needs)
    return recipes
