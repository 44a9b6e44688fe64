"""How each rival of the operator search brings a network under a budget, on the same tables, device and repair.

* `without`, `programs`: the recipe's design on the menu without programs, and with them.
* `depth`, `widths`: the exact optimum over dropped blocks alone, over widths alone; precisions free where they are.
* `greedy`: one operator after the other, the slowest first, each by the program that saves most for its harm: the
  published order of things.
* `lana`: a fixed list of operators, chosen by an exact solver, each distilled alone from its layer on the layer's own
  inputs (after LANA, Molchanov et al., 2107.10624), in place of fits and refits. Harm is as our tables have it.
* `by hand`: depth-wise and 1x1 convolutions in place of the slowest layers, as few of them as hold the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from bench import Bench
from gos_cases import BOTH, Bits, only
from gos_untrained import designed

from chipfit.compress.forward import batch
from chipfit.compress.pair import Original
from chipfit.compress.profile import stitch
from chipfit.compress.refit import refit
from chipfit.core.edits import Edit, Precision, Swap
from chipfit.core.errors import Infeasible
from chipfit.core.graph import Graph, Network
from chipfit.evaluate.design import Design
from chipfit.evaluate.slowest import slowest
from chipfit.evaluate.start import SHIP_INPUTS, Start
from chipfit.nets.build import build
from chipfit.space.edits import apply, computed_in, drops, narrowed_to
from chipfit.space.groups import sites
from chipfit.space.menu import Assignment, Decision, Option
from chipfit.space.program import alone, parse, place_of
from chipfit.space.program.seeds import SEPARABLE
from chipfit.space.programmed import programs_of, replaceable

DISTILLED_ON, DISTILLING_STEPS, DISTILLING_RATE = 256, 60, 5e-3
"""LANA's layer-wise training as measured beside the closed-form fits: Adam, full batches, squared error."""

Make = Callable[[Bench, Start, Bits, float], Network]
"""From a whole menu, the precisions and a budget (ms) to a network; Infeasible where it is out of reach."""


def _with_kinds(*kinds: str) -> Callable[[Decision, Option], bool]:
    return lambda decision, option: decision.kind in kinds


def _free(bits: Bits, allowed: Callable[[Decision, Option], bool]) -> Callable[[Decision, Option], bool]:
    """What is allowed, and precisions where there are two."""
    return lambda d, o: (d.kind == "precision" and bits is BOTH) or (d.kind != "precision" and allowed(d, o))


def without(bench: Bench, start: Start, bits: Bits, ms: float) -> Network:
    """Widths, depth and precisions."""
    return _found(only(start, _free(bits, lambda d, o: d.kind != "swap")), bench, ms)


def programs(bench: Bench, start: Start, bits: Bits, ms: float) -> Network:
    """The same and programs."""
    return _found(only(start, _free(bits, lambda d, o: True)), bench, ms)


def depth(bench: Bench, start: Start, bits: Bits, ms: float) -> Network:
    """Dropped blocks alone."""
    return _found(only(start, _free(bits, lambda d, o: drops(o.edits))), bench, ms)


def widths(bench: Bench, start: Start, bits: Bits, ms: float) -> Network:
    """Widths alone."""
    return _found(only(start, _free(bits, lambda d, o: narrowed_to(o.edits) is not None)), bench, ms)


def _found(start: Start, bench: Bench, ms: float) -> Network:
    return start.repaired(designed(start, bench, ms).assignment)


def greedy(bench: Bench, start: Start, bits: Bits, ms: float) -> Network:
    """One operator after the other, measured after each."""
    menu, places = start.menu, programs_of(start.menu)
    a = list(_begun(bench, start, bits))
    order = [row.op for row in slowest(start.entry.network.graph, bench.timing) if row.op in places]
    for layer in order:
        if _taken(bench, start, tuple(a)) <= ms:
            break
        d = places[layer].decision
        a[d] = min(range(1, len(menu.decisions[d].options)), key=lambda o, d=d: _harm_for_gain(start, tuple(a), d, o))
    if _taken(bench, start, tuple(a)) > ms:
        raise Infeasible(f"replacing every operator leaves more than {ms:.4g} ms", {})
    return start.repaired(tuple(a))


def _begun(bench: Bench, start: Start, bits: Bits) -> Assignment:
    """The untouched network in its faster precision, as an assignment."""
    menu = start.menu
    low = tuple(_in_int8(d) if bits is BOTH else 0 for d in menu.decisions)
    return min((menu.as_is, low), key=lambda a: _taken(bench, start, a))


def _in_int8(decision: Decision) -> int:
    return next((n for n, o in enumerate(decision.options) if computed_in(o.edits) == 8), 0)


def _taken(bench: Bench, start: Start, a: Assignment) -> float:
    graph = apply(start.entry.network.graph, start.menu.edits(a))
    return bench.timing.graphs([graph], "quick")[0].value


def _harm_for_gain(start: Start, a: Assignment, d: int, o: int) -> float:
    """Nats for each ms that a program saves; infinite where it saves nothing."""
    other = (*a[:d], o, *a[d + 1 :])
    harm, saved = (sign * (start.menu.total(m, other) - start.menu.total(m, a))
                   for m, sign in (("damage", 1), ("latency_ms", -1)))  # fmt: skip
    return harm / saved if saved > 0 else np.inf


def by_hand(bench: Bench, start: Start, bits: Bits, ms: float) -> Network:
    """Depth-wise and 1x1 convolutions in the slowest layers."""
    graph = start.entry.network.graph
    free = set(replaceable(graph)[1:])
    order = [row.op for row in slowest(graph, bench.timing) if row.op in free]
    low: list[Edit] = [Precision(site.name, 8) for site in sites(graph)]
    for n in range(len(order) + 1):
        swaps: list[Edit] = [Swap(layer, SEPARABLE.text) for layer in order[:n]]
        ways = [swaps, *([[*swaps, *low]] if bits is BOTH else [])]
        took = [m.value for m in bench.timing.graphs([apply(graph, edits) for edits in ways], "quick")]
        if min(took) <= ms:
            return repaired(start, ways[int(np.argmin(took))])
    raise Infeasible(f"with depth-wise and 1x1 convolutions throughout it takes more than {ms:.4g} ms", {})


def repaired(start: Start, edits: Sequence[Edit]) -> Network:
    """The network after edits that need not be on the menu, repaired as designs are."""
    network, repair = start.entry.network, start.inputs[start.parts.compensation][:SHIP_INPUTS]
    stitched = stitch(network, start.profile, edits)
    return refit(network, stitched, edits, repair, np.random.default_rng(0), start.plan.shipped)


def lana(bench: Bench, start: Start, bits: Bits, ms: float) -> Network:
    """Programs and precisions by the exact solver, each program distilled alone."""
    part = only(start, _free(bits, _with_kinds("swap")))
    design: Design = designed(part, bench, ms)
    edits = part.menu.edits(design.assignment)
    made = stitch(start.entry.network, start.profile, edits)
    swaps = [e for e in edits if isinstance(e, Swap)]
    inputs = start.inputs[start.parts.compensation][:DISTILLED_ON]
    return Network(made.graph, {**made.weights, **distilled(start.entry.network, swaps, made, inputs)})


def distilled(network: Network, swaps: Sequence[Swap], made: Network, inputs: np.ndarray) -> Mapping[str, np.ndarray]:
    """Arrays of the programs, each trained to answer like its layer on what the layer reads in the original."""
    original = Original(network, batch(inputs))
    original.want({n for e in swaps for n in (e.layer, network.graph[e.layer].inputs[0])})
    found: dict[str, np.ndarray] = {}
    for swap in swaps:
        instead = alone(parse(swap.program), place_of(network.graph, swap.layer))
        x, goal = (original.value(n) for n in (network.graph[swap.layer].inputs[0], swap.layer))
        found |= _trained(instead, made, x, goal)
    return found


def _trained(instead: Graph, made: Network, x: torch.Tensor, goal: torch.Tensor) -> Mapping[str, np.ndarray]:
    own = {name: made.weights[name] for o in instead for name in instead.weight_shapes(o)}
    net = build(Network(instead, own))
    optimiser = torch.optim.Adam(net.parameters(), DISTILLING_RATE)
    x, goal = x.clone(), goal.clone()
    for _ in range(DISTILLING_STEPS):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(net(x), goal).backward()
        optimiser.step()
    return net.network().weights


ARMS: Mapping[str, Make] = {
    "without": without, "programs": programs, "greedy": greedy, "lana": lana, "depth": depth, "widths": widths,
    "by hand": by_hand,
}  # fmt: skip
