"""The rivals of the exact joint search, all asked the same and all counted alike.

A *pass* is one evaluation of damage: 256 images through a network. The exact search and Lagrangian greedy need one for
each option of the menu, and then none: damage is a table. Evolution and REINFORCE need one for each network that they
try and that is not too slow; what they have tried is remembered. Latencies are free in all arms. Here the table stands
in for the passes, so that all arms agree on what is good.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chipfit.core.types import Limit, Measurement, Trial
from chipfit.search.nsga2 import Nsga2
from chipfit.search.reinforce import Genes, Reward, reinforce
from chipfit.space.choices import MenuSpace
from chipfit.space.menu import Assignment, Menu

POPULATION = 32


@dataclass
class Counted:
    """The menu of one design as what children are asked of: each damage is counted once, and the best remembered."""

    menu: Menu
    limit_ms: float
    known: dict[Assignment, float] = field(default_factory=dict)
    best: float = float("inf")
    trace: list[float] = field(default_factory=list)

    def latency_ms(self, assignment: Assignment) -> float:
        """Latency, infinite for what breaks a tie."""
        return self.menu.total("latency_ms", assignment) if self.menu.valid(assignment) else float("inf")

    def damage(self, assignment: Assignment) -> float:
        """Damage, by a pass the first time."""
        if assignment not in self.known:
            value = self.known[assignment] = self.menu.total("damage", assignment)
            if self.latency_ms(assignment) <= self.limit_ms:
                self.best = min(self.best, value)
            self.trace.append(self.best)
        return self.known[assignment]

    def row(self, began: float, equal: int) -> dict[str, Any]:
        """The best damage within the limit, after all passes and after as many as the table takes; None for none."""
        after = self.trace[min(equal, len(self.trace)) - 1] if self.trace else float("inf")
        best, early = (x if np.isfinite(x) else None for x in (self.best, after))
        return {"damage": best, "passes": len(self.trace), "at_equal": early, "cpu_s": time.process_time() - began}


def evolved(menu: Menu, limit_ms: float, passes: int, equal: int, seed: int) -> dict[str, Any]:
    """NSGA-II for damage under the latency limit; what is too slow competes by its excess, without a pass."""
    began, counted = time.process_time(), Counted(menu, limit_ms)
    space = MenuSpace(menu)
    limit = Limit("latency_ms", limit_ms)
    strategy = Nsga2(space, [("damage", False)], np.random.default_rng(seed), [limit], POPULATION)
    for _ in range(20 * passes // POPULATION):
        asked = strategy.ask(POPULATION)
        if not asked or len(counted.trace) >= passes:
            break
        trials = []
        for candidate in asked:
            assignment = space.assignment(candidate)
            latency = counted.latency_ms(assignment)
            damage = counted.damage(assignment) if latency <= limit_ms else 0.0
            numbers = (Measurement("latency_ms", latency, "simulated"), Measurement("damage", damage, "measured"))
            trials.append(Trial(candidate, numbers))
        strategy.tell(trials)
    return counted.row(began, equal)


def reinforced(
    menu: Menu, limit_ms: float, fastest_ms: float, episodes: int, equal: int, seed: int, *, faithful: bool
) -> dict[str, Any]:
    """The published controller. Damage becomes an accuracy of 89 (none) to 80 (that of the fastest network)."""
    began, counted = time.process_time(), Counted(menu, limit_ms)
    fastest = tuple(int(np.argmin(t)) for t in _own(menu, "latency_ms"))
    worst = menu.total("damage", fastest)
    reward = Reward((80.0, 89.0), (fastest_ms, limit_ms))

    def accuracy(genes: Genes) -> float:
        return 89.0 - 9.0 * counted.damage(genes) / worst

    sizes = [int(n) for n in menu.sizes]
    reinforce(
        sizes, accuracy, counted.latency_ms, reward, np.random.default_rng(seed), episodes=episodes, faithful=faithful
    )
    return counted.row(began, equal)


def _own(menu: Menu, metric: str) -> Sequence[np.ndarray]:
    """The table of each decision, of a menu whose terms are over one decision each."""
    by_decision = {t.on[0]: t.table for t in menu.terms if t.metric == metric and len(t.on) == 1}
    return [by_decision[d] for d in range(len(menu.decisions))]
