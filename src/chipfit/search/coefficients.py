"""Assignment with searched coefficients: when the sum of damages misjudges, let a few real scores correct it.

SPDY (Frantar and Alistarh, 2022): each decision's damage is multiplied by a coefficient c ~ U(0, 1), the assignment is
solved exactly for these, and the assignment (not the coefficients) is scored on the real network. Random coefficients
first, then local search that draws 10 % of the best ones again.

What differs, and why: an assignment that comes up twice is scored once, since many coefficients lead to one answer;
and what won on `score` must beat the plain optimum on `confirm` (other data) as well, because the best of a hundred
noisy scores is partly luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chipfit.core.deadline import Deadline
from chipfit.core.errors import OutOfTime
from chipfit.core.types import Limit
from chipfit.search.one_design import solved
from chipfit.space.menu import Assignment, Menu

_REDRAWN = 0.1


@dataclass(frozen=True, slots=True)
class Corrected:
    """The best assignment found, and the (decisions,) coefficients that lead to it; ones for the plain optimum."""

    assignment: Assignment
    scale: NDArray[np.float64]


def search_coefficients(
    menu: Menu,
    limits: Sequence[Limit],
    score: Callable[[Assignment], float],
    rng: np.random.Generator,
    *,
    objective: str = "damage",
    random_rounds: int = 50,
    patience: int = 50,
    max_solves: int = 150,
    confirm: Callable[[Assignment], float] | None = None,
    deadline: Deadline | None = None,
) -> Corrected:
    """The assignment within the limits with the least `score` among those that coefficients lead to.

    Args:
        menu: decisions and their costs.
        limits: absolute limits.
        score: what the sum of the objective's terms stands for, such as the KL divergence of the stitched network;
            lower is better. Called once for each distinct assignment.
        rng: draws the coefficients.
        objective: the metric whose terms the coefficients multiply.
        random_rounds: solves with independent coefficients.
        patience: local search ends after so many solves without gain.
        max_solves: exact solves altogether, the plain one not counted.
        confirm: a second score on other data; unless it too prefers the winner, the plain optimum is returned.
        deadline: no solve or score begins after it.

    Raises:
        Infeasible: no assignment is within the limits.
        OutOfTime: the deadline came before the plain optimum was found.
    """
    until = deadline or Deadline.never()
    plain = solved(menu, limits, objective=objective, deadline=deadline)
    n = len(menu.decisions)
    best, best_at = plain, np.ones(n)
    scores = {plain: score(plain)}
    idle = 0
    for solve in range(max_solves):
        local = solve >= random_rounds
        if until.passed() or (local and idle >= patience):
            break
        at = _redrawn(best_at, rng) if local else rng.uniform(0.0, 1.0, n)
        found = _solved(menu, limits, objective, at, until)
        if found is None or (found not in scores and until.passed()):
            break
        if found not in scores:
            scores[found] = score(found)
        idle = idle + 1 if local else 0
        if scores[found] < scores[best]:
            best, best_at, idle = found, at, 0
    if best != plain and confirm is not None and not confirm(best) < confirm(plain):
        return Corrected(plain, np.ones(n))
    return Corrected(best, best_at)


def _redrawn(at: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The coefficients with a tenth of them (at least one) drawn again."""
    new = at.copy()
    which = rng.choice(len(at), max(1, round(_REDRAWN * len(at))), replace=False)
    new[which] = rng.uniform(0.0, 1.0, len(which))
    return new


def _solved(
    menu: Menu, limits: Sequence[Limit], objective: str, at: NDArray[np.float64], until: Deadline
) -> Assignment | None:
    """The optimum for these coefficients, or None when the time ran out first."""
    try:
        return solved(menu, limits, objective=objective, scale=at, deadline=until)
    except OutOfTime:
        if not until.passed():
            raise
        return None
