"""How well cheap looks at candidates ordered them as dear ones do.

Cheap looks prune what dear ones are spent on (`search.evolve`), which is right as far as their orders agree: told by
Kendall's rank correlation. Only those that went on to be known in truth are in it, which are the better part on every
look before, so that it understates what a look is worth among all.

For operator programs the looks are, cheap ones first:

F0  types, shapes, forms in int8 and in the file    `space.program.lower`
F1  work and kernels' time                          `evaluate.looks`, `evaluate.programs`
F2  error of the layer's answers after the fit      `evaluate.program_score`
F3  whole networks timed, by turns                  `evaluate.grown`
F4  harm to the answers after repair (nats)         `evaluate.damage`
F5  quality of the network                          validation

Distillation layer by layer, once meant for F4, adds nothing beside a good refit [measured on VGG6, accuracy .834 with
the refit, .829 with both], so that the divergence after that refit stands there.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import kendalltau

FEWEST = 3
"""Candidates that a rank correlation is of at least."""


def rank_correlation(values: Sequence[float], truth: Sequence[float]) -> float | None:
    """Kendall's tau-b of two rows of values; None for fewer than three, or where one of them is all alike."""
    if len(values) < FEWEST:
        return None
    tau = float(kendalltau(values, truth).statistic)
    return tau if tau == tau else None
