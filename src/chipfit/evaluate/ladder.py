"""How well each rung of a ladder of looks foretold what was wanted in the end.

Cheap looks prune what dear ones are spent on (`search.evolve`), which is right as far as their orders agree: a rung is
told by Kendall's rank correlation of its values with the truth. Only those that went on to be known in truth are in
it, which are the better part on every rung before, so that it understates what the rung is worth among all.

For operator programs the looks are, cheap ones first:

    F0  types, shapes, forms in int8 and in the file    `space.program.lower`
    F1  work and kernels' time                          `evaluate.looks`, `evaluate.programs`
    F2  error of the layer's answers after the fit      `evaluate.program_score`
    F3  whole networks timed, by turns                  `evaluate.grown`
    F4  harm to the answers after repair (nats)         `evaluate.damage`
    F5  quality of the network                          validation

F4 of the design is distillation layer by layer; beside a good refit it adds nothing [measured: .834 and .829 accuracy
on VGG6], so that the divergence after that refit stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import kendalltau

from chipfit.search.evolve import Tried

FEWEST = 3
"""Candidates that a rank correlation is of at least."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A rung after a search.

    Attributes:
        rung: its name.
        seen: candidates that had a value on it.
        went_on: those of them that had one on the next rung too, or stood on the last.
        known: those of them that are known in truth.
        kendall: rank correlation of its values with the truth, from -1 to 1; None for fewer than three of them, or
            where all are alike.
    """

    rung: str
    seen: int
    went_on: int
    known: int
    kendall: float | None


def standings(rungs: Sequence[str], tried: Sequence[Tried[Any]], truth: Mapping[int, float]) -> tuple[Standing, ...]:
    """Each rung with its rank correlation with the truth.

    Args:
        rungs: their names, in order.
        tried: every candidate that was looked at.
        truth: index in `tried` -> what was wanted in the end, in the direction of rungs: smaller is better.
    """
    return tuple(_standing(name, n, tried, truth) for n, name in enumerate(rungs))


def _standing(name: str, n: int, tried: Sequence[Tried[Any]], truth: Mapping[int, float]) -> Standing:
    values = {i: t.values[n] for i, t in enumerate(tried) if len(t.values) > n}
    further = [i for i in values if tried[i].passed or len(tried[i].values) > n + 1]
    known = [i for i in values if i in truth]
    foretold = [values[i] for i in known]
    wanted = [truth[i] for i in known]
    return Standing(name, len(values), len(further), len(known), rank_correlation(foretold, wanted))


def rank_correlation(values: Sequence[float], truth: Sequence[float]) -> float | None:
    """Kendall's tau-b of two rows of values; None for fewer than three, or where one of them is all alike."""
    if len(values) < FEWEST:
        return None
    tau = float(kendalltau(values, truth).statistic)
    return tau if tau == tau else None
