from __future__ import annotations

import numpy as np

from chipfit.core.protocols import Strategy
from chipfit.core.types import Candidate, Limit, Measurement, Trial
from chipfit.search.nsga2 import Nsga2
from chipfit.search.random import Random
from chipfit.space.choices import Choices, MenuSpace
from chipfit.space.menu import Decision, Menu, Option
from chipfit.testing import StrategyLaws

SPACE = Choices({"a": (1, 2, 3, 4, 5), "b": (1, 2, 3), "c": ("x", "y")})


def reply(candidate: Candidate) -> Trial:
    a, b = float(candidate.values["a"]), float(candidate.values["b"])  # type: ignore[arg-type]
    metrics = {"accuracy": a / (1 + b), "latency_ms": a + 2 * b + (candidate.values["c"] == "x")}
    return Trial(candidate, tuple(Measurement(n, v, "counted") for n, v in metrics.items()))


class TestRandom(StrategyLaws):
    def strategy(self, seed: int) -> Strategy:
        return Random(SPACE, np.random.default_rng(seed))

    def reply(self, candidate: Candidate) -> Trial:
        return reply(candidate)

    def size(self) -> int:
        return 30


class TestNsga2(TestRandom):
    def strategy(self, seed: int) -> Strategy:
        goals = [("accuracy", True), ("latency_ms", False)]
        return Nsga2(SPACE, goals, np.random.default_rng(seed), limits=[Limit("latency_ms", 7)], population=6)


class TestNsga2OnAMenu(StrategyLaws):
    """A tied menu: fewer candidates than gene vectors."""

    def strategy(self, seed: int) -> Strategy:
        decisions = tuple(Decision(n, "width", tuple(Option(str(i)) for i in range(3))) for n in ("a", "b", "c"))
        space = MenuSpace(Menu("g", decisions, ties=(((0, 1), (1, 2)), ((1, 0), (2, 2)))))
        return Nsga2(space, [("damage", False)], np.random.default_rng(seed), population=4)

    def reply(self, candidate: Candidate) -> Trial:
        total = sum(int(v) for v in candidate.values.values())  # type: ignore[call-overload]
        return Trial(candidate, (Measurement("damage", float(total), "counted"),))

    def size(self) -> int:
        valid = [(a, b, c) for a, b, c in np.ndindex(3, 3, 3) if (a == 1) == (b == 2) and (b == 0) == (c == 2)]
        return len(valid)
