"""`--minimize`: the least of a cost that still holds the limit on quality.

Nobody gave the budgets of such a run: they are steps that lead there, and end where nothing reaches them. Sizes and
counts, which no timing disturbs, are gone on with below the last step: half of the least that is good enough, then in
between it and what was too small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chipfit.core.metric import Metric
from chipfit.core.types import Limit
from chipfit.recipes.answer import Option
from chipfit.recipes.designs import Plan
from chipfit.recipes.settings import budget_text
from chipfit.report.budget import Budget
from chipfit.report.choose import latency_of
from chipfit.report.row import Row

CLOSE = 0.9
"""Nearer than this share to a step that was too small there is nothing left to try."""

MOST_MORE = 6
"""Steps that are taken beside those that a run begins with."""


@dataclass(frozen=True, slots=True)
class Smallest:
    """The cost that is made small, the quality that must be kept, and the user's own limits, all absolute."""

    cost: str
    floor: Limit
    limits: tuple[Limit, ...]
    metric: Metric

    def step(self, value: float) -> tuple[Limit, ...]:
        """The limits under which the cost is so much at most."""
        return (Limit(self.cost, value), *self.limits)

    def enough(self, given: Sequence[Option]) -> Option | None:
        """The option of least cost that holds the user's own limits; of equals the faster one."""
        within = Budget(budget_text(self.limits), self.limits, rounding=0.0)
        found: list[tuple[float, float, int, Option]] = []
        for option in given:
            row = Row.of(option.trial, self.metric)
            cost, quality = row.metric(self.cost), row.quality
            if option.trial.error is not None or cost is None or quality is None or row.latency is None:
                continue
            if self.floor.met(quality.value) and (not self.limits or within.met(row)):
                found.append((cost.bound, latency_of(row).bound, len(found), option))
        return min(found)[3] if found else None

    def next_step(self, given: Sequence[Option], tried: Sequence[float]) -> float | None:
        """What the cost is to be at most next; None where nothing is good enough, or nothing is left to try.

        `tried` are the steps so far, whatever came of them.

        >>> from chipfit.core.metric import ACCURACY
        >>> from chipfit.core.types import Candidate, Measurement, Trial
        >>> costs = Measurement("size_mb", 1.0, "counted"), Measurement("latency_ms", 1.0, "measured", "cpu")
        >>> good = Measurement("accuracy", 0.95, "measured", "validation")
        >>> option = Option(Trial(Candidate({}), (*costs, good)))
        >>> wanted = Smallest("size_mb", Limit("accuracy", 0.9, at_least=True), (), ACCURACY)
        >>> [wanted.next_step([option], tried) for tried in ([2.0], [2.0, 0.64], [0.95])]
        [0.5, 0.8, None]
        """
        best = self.enough(given)
        if best is None or self.cost == "latency_ms":
            return None
        cost = Row.of(best.trial, self.metric).metric(self.cost)
        assert cost is not None
        missed = max((value for value in tried if value < cost.bound), default=None)
        if missed is None:
            return cost.bound / 2
        return math.sqrt(cost.bound * missed) if missed < CLOSE * cost.bound else None

    def last(self, untouched: Sequence[Option]) -> Plan:
        """What holds the user's own limits whatever it costs: without any, all that is no dearer than what came."""
        limits = self.limits
        if not limits:
            rows = [Row.of(o.trial, self.metric) for o in untouched if o.trial.error is None]
            dearest = max(m.bound for r in rows if (m := r.metric(self.cost)) is not None)
            limits = (Limit(self.cost, dearest),)
        return Plan(limits, budget_text(limits), (), self.metric)
