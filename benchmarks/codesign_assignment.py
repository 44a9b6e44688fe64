"""One design, one network of 20 layers: the best bits and patterns of each layer, proven, beside the rivals.

ResNet-18 on the published coarse grid's best design for it (130 x 19 multipliers, tiles of 64 x 64, ports of 18, 10 and
2 words, 200 MHz, the model's core). Each convolution has 16, 12, 8, 6 or 4 bits, each 3x3 one 0 to 4 zeros in its
pattern: 25^16 5^4 networks. Known: 10.958488 ms untouched, 8.548428 ms at the fastest, so that 9 ms can be met and
8 ms cannot.

There are no weights here, so that damage is made up: a layer's share of all weights to the power of 1/2, times a
sensitivity of its own (log-normal, seeded), times what it loses: (share of taps)^2 + 4^(3 - bits). It is the same in
all arms.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from codesign_arms import evolved, reinforced
from harness import Options, Rows, Target, at_least, at_most, table

from chipfit.core.errors import Infeasible
from chipfit.core.types import Limit
from chipfit.device.accelerator.parts import part
from chipfit.device.accelerator.v2 import CORE, ms
from chipfit.device.accelerator.work import Layer, Shrunk, works
from chipfit.nets.published import published
from chipfit.search.assign import assign
from chipfit.search.codesign import codesign
from chipfit.search.design_costs import Tabled
from chipfit.search.lagrangian import greedy
from chipfit.space.hardware import Designs
from chipfit.space.menu import Decision, Menu, Option, Term

PART = part("zcu102")
DESIGN = Designs.of(
    {"tm": 130, "tn": 19, "tr": 64, "tc": 64, "tk": 7, "weight_port": 18, "input_port": 10, "output_port": 2}
)
BITS = (16, 12, 8, 6, 4)
ZEROS = (0, 1, 2, 3, 4)
DENSE_MS, FASTEST_MS = 10.958488, 8.548428
LIMITS_MS = (8.75, 9.0, 9.5, 10.0)
SENSITIVITIES = 2
"""Seeds of the layers' sensitivities."""


def options_of(layer: Layer) -> list[Shrunk]:
    """What may be done to a layer, first nothing."""
    taps = layer.kernel[0] * layer.kernel[1]
    zeros = ZEROS if layer.kernel == (3, 3) else (0,)
    return [Shrunk(taps - z, bits, 16) for z in zeros for bits in BITS]


def menu_of(seed: int) -> tuple[Menu, Tabled]:
    """The menu with its made-up damage, and its latencies on the one design."""
    graph = published("resnet18")
    layers = {w.op: w for w in works(graph) if isinstance(w, Layer) and graph[w.op].kind == "conv"}
    options = {op: options_of(layer) for op, layer in layers.items()}
    rng = np.random.default_rng(seed)
    weights = np.array([layer.macs / np.prod(layer.size) for layer in layers.values()])
    harm = np.sqrt(weights / weights.sum()) * rng.lognormal(0.0, 1.0, len(layers))
    decisions, terms, tables = [], [], []
    for i, (op, shrunk) in enumerate(options.items()):
        decisions.append(Decision(op, "bits", tuple(Option(f"{s.kept} taps, {s.weight_bits} bits") for s in shrunk)))
        taps = shrunk[0].kept
        lost = [(1 - s.kept / taps) ** 2 + (4.0 ** (3 - s.weight_bits) if s.weight_bits < 16 else 0.0) for s in shrunk]
        terms.append(Term("damage", (i,), harm[i] * np.array(lost), op))
        records = [work for s in shrunk for work in works(graph, {op: s}) if work.op == op]
        tables.append(ms(records, DESIGN, PART, CORE))
    scopes = tuple((i,) for i in range(len(decisions)))
    return Menu(graph.key, tuple(decisions), tuple(terms)), Tabled(scopes, tuple(tables))


def solved(seed: int, limit_ms: float, options: Options) -> dict[str, Any]:
    """The exact answer with its proof, what HiGHS says, and the rivals."""
    menu, costs = menu_of(seed)
    limit = Limit("latency_ms", limit_ms)
    joint = codesign(menu, costs, [limit])
    priced = costs.priced(menu, 0)
    began = time.process_time()
    other = priced.total("damage", assign(priced, [limit]))
    highs_s = time.process_time() - began
    began = time.process_time()
    hull = greedy(menu, costs, limit)
    greedy_s = time.process_time() - began
    table_passes = int((menu.sizes - 1).sum())
    passes = options.pick(quick=200, here=1000, whole=2000)
    row = {
        "damage": joint.value, "gap": joint.gap, "cpu_s": joint.cpu_s, "highs": other, "highs_s": highs_s,
        "passes": table_passes, "greedy": hull.value if hull else None, "greedy_s": greedy_s,
    }  # fmt: skip
    arms = {
        "evolution": evolved(priced, limit_ms, passes, table_passes, seed),
        "reinforce": reinforced(priced, limit_ms, FASTEST_MS, passes, table_passes, seed, faithful=False),
        "released": reinforced(priced, limit_ms, FASTEST_MS, passes, table_passes, seed, faithful=True),
    }
    return row | {f"{arm}_{name}": value for arm, found in arms.items() for name, value in found.items()}


def known() -> dict[str, Any]:
    """The two latencies that are known, and that 8 ms is out of reach."""
    menu, costs = menu_of(0)
    fastest = codesign(menu, costs, [], objective="latency_ms")
    try:
        codesign(menu, costs, [Limit("latency_ms", 8.0)])
        nearest = 0.0
    except Infeasible as error:
        nearest = error.nearest["latency_ms"]
    dense = costs.priced(menu, 0).total("latency_ms", menu.as_is)
    return {"dense_ms": dense, "fastest_ms": fastest.value, "nearest_ms": nearest}


def assignment(rows: Rows, options: Options) -> list[Target]:
    """The rows of the assignment of one design, its table, and its targets."""
    ends = rows.get("assignment/known", known)
    seeds = options.pick(quick=1, here=1, whole=SENSITIVITIES)
    limits = options.pick(quick=LIMITS_MS[1:2], here=LIMITS_MS[1:3], whole=LIMITS_MS)
    cases = [(seed, limit) for seed in range(seeds) for limit in limits]
    found = []
    for seed, limit in cases:
        found.append(rows.get(f"assignment/{limit:g}ms/{seed}", lambda: solved(seed, limit, options)))  # noqa: B023
    print(f"\nResNet-18 on one design, {len(found)} cases: damage over the best; passes of 256 images")
    table(
        ["arm", "median", "worst", "median at the table's passes", "passes", "CPU s"],
        [
            ("exact", 1.0, 1.0, "", found[0]["passes"], _mean(found, "cpu_s")),
            ("HiGHS", *_over(found, "highs"), "", found[0]["passes"], _mean(found, "highs_s")),
            ("Lagrangian greedy", *_over(found, "greedy"), "", found[0]["passes"], _mean(found, "greedy_s")),
            *(_rival(found, name) for name in ("evolution", "reinforce", "released")),
        ],
    )
    off = max(abs(ends["dense_ms"] - DENSE_MS), abs(ends["fastest_ms"] - FASTEST_MS))
    apart = max(abs(row["highs"] / row["damage"] - 1) for row in found)
    return [
        at_most("assignment_known_off_ms", off, 5e-7),
        at_most("assignment_gap", max(row["gap"] for row in found), 0),
        at_most("assignment_highs_differs", apart, 1e-6),
        at_most("assignment_cpu_s", max(row["cpu_s"] for row in found), 1, absolute=True),
        at_least("assignment_never_worse", min(min(_ratios(found, arm)) for arm in RIVALS), 1 - 1e-9),
    ]


RIVALS = ("greedy", "evolution_damage", "reinforce_damage", "released_damage")


def _mean(found: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in found]))


def _over(found: list[dict[str, Any]], name: str) -> tuple[float, float]:
    """Median and worst damage over the best; infinite where nothing was found within the limit."""
    ratios = _ratios(found, name)
    return float(np.median(ratios)), float(np.max(ratios))


def _ratios(found: list[dict[str, Any]], name: str) -> list[float]:
    return [float("inf") if row[name] is None else row[name] / row["damage"] for row in found]


def _rival(found: list[dict[str, Any]], name: str) -> tuple[Any, ...]:
    equal = float(np.median(_ratios(found, f"{name}_at_equal")))
    return (name, *_over(found, f"{name}_damage"), equal, _mean(found, f"{name}_passes"), _mean(found, f"{name}_cpu_s"))
