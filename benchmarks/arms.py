"""How each rival of the hot-start benchmark narrows a network to a budget, on the same device and rounding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from bench import Bench
from torch import nn

from chipfit.core.data import Dataset
from chipfit.core.errors import Infeasible
from chipfit.core.graph import Network
from chipfit.core.types import Limit
from chipfit.evaluate.screen import all_int8
from chipfit.evaluate.timing import Timing
from chipfit.nets.trace import trace
from chipfit.search.assign import assign
from chipfit.search.uniform import narrowings
from chipfit.space import edits as on_graph
from chipfit.space.edits import computed_in, drops
from chipfit.space.menu import Assignment, Menu
from chipfit.space.offer import LEAST_STEP
from chipfit.train.loop import as_tensor, normaliser

STEPS = 9
"""Bisections of a rival's pruning ratio."""


def faster(network: Network, timing: Timing) -> tuple[Network, float]:
    """The better of fp32 and all-int8 for this structure."""
    both = [network, all_int8(network)]
    ms = [m.value for m in timing.graphs([n.graph for n in both], "quick")]
    best = int(np.argmin(ms))
    return both[best], ms[best]


def bisected(make: Callable[[float], Network], budget_ms: float, timing: Timing) -> Network | None:
    """The least pruning ratio whose network holds the budget as measured; None where not even the largest does."""
    low, high = 0.0, 1.0
    best, ms = faster(make(0.97), timing)
    if ms > budget_ms:
        return None
    for _ in range(STEPS):
        ratio = (low + high) / 2
        network, ms = faster(make(ratio), timing)
        if ms <= budget_ms:
            high, best = ratio, network
        else:
            low = ratio
    return best


def pruner(
    module: nn.Module, input_shape: tuple[int, ...], dataset: Dataset, criterion: str
) -> Callable[[float], Network]:
    """DepGraph (torch-pruning), ranked globally by group L2 norm or by Taylor expansion, widths in the same steps."""
    example = torch.zeros(1, *input_shape)

    def make(ratio: float) -> Network:
        net = copy.deepcopy(module)
        importance = (
            tp.importance.GroupMagnitudeImportance(p=2) if criterion == "l2" else tp.importance.GroupTaylorImportance()
        )
        last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1:]
        pruning = tp.pruner.MetaPruner(
            net, example, importance=importance, global_pruning=True, pruning_ratio=ratio, max_pruning_ratio=0.97,
            round_to=LEAST_STEP, ignored_layers=last,
        )  # fmt: skip
        if criterion == "taylor":
            _gradients(net, dataset)
        pruning.step()
        net.zero_grad()
        return trace(net, input_shape)

    return make


def _gradients(net: nn.Module, dataset: Dataset) -> None:
    """Gradients of the loss over 1,024 training inputs, which the Taylor criterion reads."""
    rows = np.random.default_rng(0).permutation(len(dataset.train))[:1024]
    part = dataset.train.take(rows)
    assert part.targets is not None
    net.eval()
    x = normaliser(dataset)(as_tensor(part))
    for inputs, targets in zip(x.split(128), torch.from_numpy(part.targets).split(128), strict=True):
        nn.functional.cross_entropy(net(inputs), targets).backward()


def uniform(
    bench: Bench, name: str, budget_ms: float, bits: Sequence[int] = (32, 8), *, nearest: bool = False
) -> Network | None:
    """Every width by one factor, repaired as ours are: of the widest that hold in each precision, the less damaged.

    Where none holds as measured, with `nearest` the fastest one, which is then granted more time than the budget.
    """
    start = bench.start(name)
    graph, menu = start.entry.network.graph, start.menu
    tried: list[tuple[float, Assignment]] = []
    holding: list[tuple[float, Assignment]] = []
    for b in bits:
        candidates = narrowings(menu, b)
        ms = [m.value for m in bench.timing.graphs([on_graph.apply(graph, menu.edits(a)) for a in candidates], "quick")]
        tried += zip(ms, candidates, strict=True)
        holding += [(menu.total("damage", a), a) for v, a in zip(ms, candidates, strict=True) if v <= budget_ms][-1:]
    if not holding and not nearest:
        return None
    return start.repaired(min(holding or tried)[1])


def depth_only(bench: Bench, budget_ms: float) -> Network | None:
    """The exact optimum over dropped blocks alone, in each precision; the less damaged one that holds when measured."""
    start = bench.start("resnet20")
    best: tuple[float, Network] | None = None
    for bits in (32, 8):
        menu = _restricted(start.menu, bits)
        scale = 1.0
        for _ in range(6):
            try:
                a = assign(menu, [Limit("latency_ms", budget_ms * scale)])
            except Infeasible:
                break
            network = start.repaired(_as_full(start.menu, menu, a))
            ms = bench.timing.graphs([network.graph], "quick")[0].value
            if ms <= budget_ms:
                damage = menu.total("damage", a)
                best = (damage, network) if best is None or damage < best[0] else best
                break
            scale *= budget_ms / ms * 0.995
    return best[1] if best else None


def _restricted(menu: Menu, bits: int) -> Menu:
    """The menu with widths as they are or dropped, and one precision."""
    kept = [_allowed(d, bits) for d in menu.decisions]
    decisions = tuple(
        replace(d, options=tuple(d.options[o] for o in k)) for d, k in zip(menu.decisions, kept, strict=True)
    )
    terms = tuple(replace(t, table=t.table[np.ix_(*(kept[d] for d in t.on))] if t.on else t.table) for t in menu.terms)
    return replace(menu, decisions=decisions, terms=terms, ties=())


def _allowed(decision: Any, bits: int) -> list[int]:
    if decision.kind == "precision":
        return [i for i, o in enumerate(decision.options) if (computed_in(o.edits) or 32) == bits]
    return [0] + [i for i, o in enumerate(decision.options) if drops(o.edits)]


def _as_full(full: Menu, part: Menu, a: Assignment) -> Assignment:
    labels = [d.options[o].label for d, o in zip(part.decisions, a, strict=True)]
    return tuple(
        next(i for i, o in enumerate(d.options) if o.label == label)
        for d, label in zip(full.decisions, labels, strict=True)
    )
