"""Designs of all arms after one short distillation from the original, at equal CPU seconds and one fixed rate.

An arm is trained for as many CPU seconds as the menu without programs is (the recipe's schedule): programs cost more a
step. Where both menus reach a budget, the one with programs has the ms that the other measured as its budget. What the
recipe gives is the better of the two on validation: the rival without programs is always trained too.

Where the menu without programs does not reach a budget, both have the tightest that it does reach: a gain needs two.

* `gain_35`, `gain_25`: test accuracy, with programs less without, mean over networks; int8 on the menu.
* `gain_fp32_35`: the same in float, as on devices without int8.
* `never_worse`: the least gain of what the recipe gives, over networks and budgets.
* `speedup_4_of_6`: times faster than the untouched float network, at most a point behind it fine-tuned: the fourth best
  network. `speedup_residual`: the least of the residual ones.
* `by_hand_worst`, `by_hand_better`: against depth-wise and 1x1 convolutions put in by hand: worst gain, networks that
  gain.
* `search_s`: seconds of analysis, search and menu, the network that takes longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from bench import Arm, Bench, measured
from codesign_refined import cpu_s_per_step
from gos_arms import ARMS
from gos_cases import BOTH, CIFAR20, CIFAR56, FLOAT, RESNET20, SIX, Bits, Case, Cases
from gos_normed import normed
from gos_untrained import designed
from harness import Options, Rows, Target, at_least, at_most, table

from chipfit.core.errors import Infeasible, OutOfTime
from chipfit.core.graph import Network
from chipfit.train.optimiser import rates

SEEDS = (0, 1, 2)
SHARES = (0.50, 0.35, 0.25)
MIDDLE = 1
"""Which of the rates that suit a network all its arms have: found for each, rate and programs would be confounded."""
FIRST = (CIFAR56, BOTH, 0.35)
"""What is trained first: where programs once ended lower, at a lower rate."""
NORMED = "programs, normed"
RESIDUAL = (RESNET20, CIFAR20, CIFAR56)
REACHED = 1.05
"""Of the least ms that tables foretell: what files reach when they are measured."""
TURNS = 5
"""In which the CPU seconds of two networks' steps are told, of which the median counts."""
EQUAL = 1.0
"""Points behind the fine-tuned original at which a speed-up counts."""


def tuned(cases: Cases, options: Options) -> None:
    """All rows, the repeat of what once was negative first."""
    if options.quick or options.here:
        return
    for seed in SEEDS[: options.seeds]:
        case, bits, share = FIRST
        trained(cases, case, bits, share, seed, ("without", "programs", NORMED))
        for case in SIX:
            original(cases, case, seed)
            for share in SHARES:
                trained(cases, case, BOTH, share, seed, tuple(ARMS))
            trained(cases, case, FLOAT, 0.35, seed, ("without", "programs"))


def tag(case: Case, bits: Bits, share: float, arm: str) -> str:
    """How the rows of an arm are called, without the seed."""
    return f"{case.name}/tuned {bits.word} {share:.0%}/{arm}"


def trained(cases: Cases, case: Case, bits: Bits, share: float, seed: int, arms: Sequence[str]) -> None:
    """The rows of these arms at a budget; those that do not reach it have one that says so."""
    bench, rows = cases.bench(case), cases.rows
    if bench is None:
        return
    budget_ms = budget_of(cases, bench, case, bits, share)
    for arm in arms:
        key = f"{tag(case, bits, share, arm)}/{seed}"
        if key in rows.rows or f"{tag(case, bits, share, arm)}/none" in rows.rows:
            continue
        ms = rows.rows.get(f"{tag(case, bits, share, 'without')}/{seed}", {}).get("ms", budget_ms)
        try:
            network = reached(cases, case, bits, arm, min(ms, budget_ms))
        except (Infeasible, OutOfTime) as e:
            rows.get(f"{tag(case, bits, share, arm)}/none", lambda e=e: {"note": str(e)})
            continue
        steps = steps_for(cases, case, bits, share, seed, network)
        measured(bench, [Arm(key, network, seed, steps, rate_of(network), validated=True)], case.model)


def budget_of(cases: Cases, bench: Bench, case: Case, bits: Bits, share: float) -> float:
    """A share of the untouched network's ms, or the least that the menu without programs reaches where that is more."""

    def least() -> dict[str, float]:
        try:
            designed(cases.start(case, bits, programs=False), bench, 1e-9)
        except Infeasible as e:
            return {"ms": e.nearest["latency_ms"]}
        return {"ms": 0.0}

    reached = cases.rows.get(f"{case.name}/least {bits.word}", least)["ms"]
    return max(share * cases.reference_ms(case, bits), REACHED * float(reached))


_REACHED: dict[tuple[Case, Bits, str, float], Network] = {}


def reached(cases: Cases, case: Case, bits: Bits, arm: str, ms: float) -> Network:
    """The network of an arm, the same for all seeds."""
    key = (case, bits, arm, round(ms, 6))
    if key not in _REACHED:
        bench = cases.bench(case)
        assert bench is not None
        start = cases.whole(case)
        if arm == NORMED:
            _REACHED[key] = normed(start, reached(cases, case, bits, "programs", ms))
        else:
            _REACHED[key] = ARMS[arm](bench, start, bits, ms)
    return _REACHED[key]


def steps_for(cases: Cases, case: Case, bits: Bits, share: float, seed: int, network: Network) -> int:
    """Steps that take the CPU seconds of the arm without programs, or of the recipe's schedule of the original."""
    bench = cases.bench(case)
    assert bench is not None
    other = bench.rows.rows.get(f"{tag(case, bits, share, 'without')}/{seed}")
    if other is None:
        return bench.steps
    plain = reached(cases, case, bits, "without", budget_of(cases, bench, case, bits, share))
    return max(1, round(other["steps"] * times_faster(network, plain, bench)))


def times_faster(network: Network, other: Network, bench: Bench) -> float:
    """CPU seconds of another network's training steps over those of a network, in turns on one thread."""
    torch.set_num_threads(1)
    turns = [[cpu_s_per_step(n, bench.dataset) for n in (other, network)] for _ in range(TURNS)]
    return float(np.median([a / b for a, b in turns]))


def original(cases: Cases, case: Case, seed: int) -> None:
    """The untouched network, fine-tuned for the recipe's schedule."""
    bench = cases.bench(case)
    if bench is not None:
        network = bench.entries[case.model].network
        arm = Arm(f"{case.name}/tuned original/{seed}", network, seed, bench.steps, rate_of(network))
        measured(bench, [arm], case.model)


def rate_of(network: Network) -> float:
    """The peak rate at which a network is trained in every arm."""
    return rates(network.graph)[MIDDLE]


def gains(rows: Rows, bits: Bits, share: float, arm: str = "programs", other: str = "without") -> dict[str, float]:
    """Network to test accuracy of an arm less that of another, in points, mean over seeds that have both."""
    found = {}
    for case in SIX:
        pairs = [[rows.rows.get(f"{tag(case, bits, share, a)}/{seed}") for a in (arm, other)] for seed in SEEDS]
        both = [100 * (a["accuracy"] - b["accuracy"]) for a, b in pairs if a is not None and b is not None]
        if both:
            found[case.name] = float(np.mean(both))
    return found


def tuned_targets(rows: Rows) -> list[Target]:
    """The table of all arms, and what was promised."""
    lines: list[tuple[Any, ...]] = []
    for case in SIX:
        for bits, share in ((BOTH, 0.50), (BOTH, 0.35), (BOTH, 0.25), (FLOAT, 0.35)):
            points = {a: _mean(rows, tag(case, bits, share, a), "accuracy") for a in (*ARMS, NORMED)}
            if any(p is not None for p in points.values()):
                ms = _mean(rows, tag(case, bits, share, "programs"), "ms")
                lines.append((case.name, f"{bits.word} {share:.0%}", "" if ms is None else ms,
                              *("" if p is None else 100 * p for p in points.values())))  # fmt: skip
    if lines:
        print("\nTrained for equal CPU seconds: test accuracy in points, mean over seeds")
        table(("network", "budget", "ms with programs", *ARMS, NORMED), lines)
    hand = [min(g) for share in SHARES if (g := list(gains(rows, BOTH, share, other="by hand").values()))]
    better = {n for share in SHARES for n, g in gains(rows, BOTH, share, other="by hand").items() if g > 0}
    searches = [row["s"] for key, row in rows.rows.items() if key.endswith("/search s")]
    speeds = {case: s for case in SIX if (s := speed_up(rows, case)) is not None}
    ranked = sorted(speeds.values(), reverse=True)
    residual = [speeds[case] for case in RESIDUAL if case in speeds]
    return [
        at_least("gain_35", _over(gains(rows, BOTH, 0.35)), 0.5),
        at_least("gain_25", _over(gains(rows, BOTH, 0.25)), 1.0),
        at_least("gain_fp32_35", _over(gains(rows, FLOAT, 0.35)), 1.5),
        at_least("never_worse", worst(rows), -0.3),
        at_least("speedup_4_of_6", ranked[3] if len(ranked) > 3 else None, 2.2),
        at_least("speedup_residual", min(residual) if len(residual) == len(RESIDUAL) else None, 3.0),
        at_least("by_hand_worst", min(hand, default=None), 0.0),
        at_least("by_hand_better", len(better) if hand else None, 3),
        at_most("search_s", max(searches, default=None), 600, absolute=True),
    ]


def worst(rows: Rows) -> float | None:
    """The least gain of the better on validation over the arm without programs."""
    found = []
    for case in SIX:
        for bits, share in ((BOTH, 0.50), (BOTH, 0.35), (BOTH, 0.25), (FLOAT, 0.35)):
            arms = [rows.of(tag(case, bits, share, arm), SEEDS) for arm in ("without", "programs")]
            each = [
                100 * (max(pair, key=lambda r: r["validation"])["accuracy"] - pair[0]["accuracy"])
                for pair in zip(*arms, strict=False)
            ]
            found += [float(np.mean(each))] if each else []
    return min(found, default=None)


def speed_up(rows: Rows, case: Case) -> float | None:
    """Times faster than the untouched float network, of the fastest arm of the recipe near enough to the original."""
    reference, whole = (
        rows.rows.get(f"{case.name}/reference fp32"),
        _mean(rows, f"{case.name}/tuned original", "accuracy"),
    )
    if reference is None or whole is None:
        return None
    near = []
    for share in SHARES:
        for arm in ("without", "programs"):
            accuracy = _mean(rows, tag(case, BOTH, share, arm), "accuracy")
            if accuracy is not None and 100 * (whole - accuracy) <= EQUAL:
                near.append(_mean(rows, tag(case, BOTH, share, arm), "ms"))
    return reference["ms"] / min(near) if near else 1.0


def _mean(rows: Rows, arm: str, what: str) -> float | None:
    values = [row[what] for row in rows.of(arm, SEEDS) if what in row]
    return float(np.mean(values)) if values else None


def _over(found: dict[str, float]) -> float | None:
    return float(np.mean(list(found.values()))) if len(found) == len(SIX) else None
