"""What programs gain without training, and what they cost in whole files: no gradient, no label.

* `gain_untrained`: test accuracy of repaired designs, menu with programs less menu without, at one budget in float.
* `vgg6_speed`: ms at which the menu with programs is as accurate as the other is at half of the float time.
* `slower`: programs of these designs that are slower than their layer in the whole exported network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bench import Bench, scored
from gos_cases import CIFAR20, FLOAT, RESNET20, VGG6, Bits, Case, Cases
from harness import Options, Rows, Target, at_least, at_most, table

from chipfit.compress.profile import stitch
from chipfit.core.deadline import Deadline
from chipfit.core.edits import Swap
from chipfit.core.errors import Infeasible, OutOfTime
from chipfit.core.types import Artifact, Limit, Plain
from chipfit.evaluate.design import Design
from chipfit.evaluate.start import Start
from chipfit.recipes.optimum import corrected, optimum
from chipfit.space.edits import from_plain, to_plain

SHARES = (0.50, 0.35, 0.25)
BUDGETS = {VGG6: SHARES, CIFAR20: SHARES, RESNET20: SHARES}
"""Shares of the float latency."""
SPEED_SHARES = (0.45, 0.40, 0.375, 0.35, 0.30)
"""Of the float latency, below half of it."""
TOLERATED = 1.02
"""A program counts as slower from here on: what two sittings of one file differ by."""


def untrained(cases: Cases, options: Options, of: Sequence[Case]) -> None:
    """The rows of these cases."""
    asked = options.pick(quick=(VGG6,), here=(VGG6, CIFAR20), whole=tuple(BUDGETS))
    for case in (c for c in of if c in asked and cases.bench(c) is not None):
        for share in options.pick(quick=SHARES[:1], here=SHARES[:2], whole=BUDGETS[case]):
            for programs in (False, True):
                repaired(cases, case, FLOAT, share, programs=programs)
            in_whole_file(cases, case, FLOAT, share)
        if case is VGG6:
            for share in options.pick(quick=(), here=SPEED_SHARES[1:4:2], whole=SPEED_SHARES):
                repaired(cases, VGG6, FLOAT, share, programs=True)


def tag(case: Case, bits: Bits, share: float, programs: bool) -> str:
    """How a row is called without its seed."""
    return f"{case.name}/untrained {bits.word} {share:.1%}/{'programs' if programs else 'without'}"


def repaired(cases: Cases, case: Case, bits: Bits, share: float, *, programs: bool) -> dict[str, Any]:
    """The row of a repaired design; a note where the menu does not reach the budget."""
    key = f"{tag(case, bits, share, programs)}/0"
    bench = cases.bench(case)
    assert bench is not None
    if key not in cases.rows.rows:
        budget_ms = share * cases.reference_ms(case, bits)
        start = cases.start(case, bits, programs=programs)
        try:
            design = designed(start, bench, budget_ms)
        except (Infeasible, OutOfTime) as e:
            why = str(e)
            return cases.rows.get(key, lambda: {"note": why, "budget_ms": budget_ms})
        artifact = bench.deployer.export(start.repaired(design.assignment))
        found = about(start, design, budget_ms) | {"ms": bench.deployer.latency([artifact], "final")[0].value}
        scored(bench, key, 0, artifact.data, found)
    return cases.rows.rows[key]


def designed(start: Start, bench: Bench, budget_ms: float, seed: int = 0) -> Design:
    """The recipe's design for a budget: the optimum as measured, corrected by real scores.

    Raises:
        Infeasible: the menu does not reach the budget.
        OutOfTime: the solver did not.
    """
    limits = [Limit("latency_ms", budget_ms)]
    plain = optimum(start, limits, bench.timing, deadline=Deadline.after(120.0))
    return corrected(start, plain, limits, bench.timing, seed, Deadline.after(60.0))


def about(start: Start, design: Design, budget_ms: float) -> dict[str, Any]:
    """What is recorded of a design."""
    edits = start.menu.edits(design.assignment)
    return {
        "budget_ms": budget_ms, "predicted_ms": design.predicted_ms, "edits": to_plain(edits),
        "damage": start.menu.total("damage", design.assignment),
        "swaps": sum(isinstance(e, Swap) for e in edits),
    }  # fmt: skip


def in_whole_file(cases: Cases, case: Case, bits: Bits, share: float) -> None:
    """For each kind of program in a design: the file against the one whose layers compute themselves again."""
    row = cases.rows.rows.get(f"{tag(case, bits, share, True)}/0", {})
    bench = cases.bench(case)
    key = f"{case.name}/slower {bits.word} {share:.1%}/0"
    if bench is None or "edits" not in row or key in cases.rows.rows:
        return
    cases.rows.get(key, lambda: {"ratios": ratios(bench, cases.start(case, bits, programs=True), row["edits"])})


def ratios(bench: Bench, start: Start, plain: Sequence[Plain]) -> Mapping[str, float]:
    """Layer and program to time with it / time without it, each alone taken out of the design."""
    edits = from_plain(plain)
    whole = exported(bench, start, edits)
    found = {}
    for swap in (e for e in edits if isinstance(e, Swap)):
        without = exported(bench, start, [e for e in edits if e != swap])
        measured = bench.timing.ratio(whole, [without])
        found[f"{swap.layer}: {swap.program}"] = measured.value if measured is not None else float("nan")
    return found


def exported(bench: Bench, start: Start, edits: Sequence[Any]) -> Artifact:
    """The file of a network after edits, repaired no further: only its time is asked."""
    return bench.deployer.export(stitch(start.entry.network, start.profile, edits))


def untrained_targets(rows: Rows) -> list[Target]:
    """The table, and what was promised."""
    lines, gains = [], []
    for case, shares in BUDGETS.items():
        for share in shares:
            pair = [rows.rows.get(f"{tag(case, FLOAT, share, p)}/0", {}) for p in (False, True)]
            if not any(pair):
                continue
            points = [100 * r["accuracy"] if "accuracy" in r else None for r in pair]
            gain = points[1] - points[0] if None not in points else None
            gains += [] if gain is None else [gain]
            ms = [r.get("ms", "") for r in pair]
            lines.append((case.name, f"{share:.0%}", *ms, *("" if p is None else p for p in points), gain or "",
                          pair[1].get("swaps", "")))  # fmt: skip
    if lines:
        print("\nRepaired and not trained, float: test accuracy in points (blank: the budget is not reached)")
        columns = ("network", "budget", "ms without", "ms with", "without", "with programs", "gain", "programs")
        table(columns, lines)
    slow = [r for k, row in rows.rows.items() if "/slower " in k for r in row["ratios"].items()]
    print(f"\n{len(slow)} programs in designs; slowest in the whole file: {max((r for _, r in slow), default=None)}")
    return [
        at_least("gain_untrained", min(gains, default=None), 2.0),
        at_most("vgg6_speed", speed(rows), 0.75),
        at_most("slower", sum(r > TOLERATED for _, r in slow) if slow else None, 0),
    ]


def speed(rows: Rows) -> float | None:
    """Least ms of VGG6 with programs, as accurate as without them at half of the float time, as a share of that."""
    plain = rows.rows.get(f"{tag(VGG6, FLOAT, 0.5, False)}/0", {})
    every = [rows.rows.get(f"{tag(VGG6, FLOAT, s, True)}/0", {}) for s in (*SHARES, *SPEED_SHARES)]
    enough = [r["ms"] for r in every if "accuracy" in r and r["accuracy"] >= plain.get("accuracy", np.inf)]
    return min(enough) / plain["ms"] if enough else None
