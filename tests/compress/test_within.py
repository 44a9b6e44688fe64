"""Rows that are solved together, each within its own places, are what solving each alone gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.compress.refit import Bounds, Rows, solve
from chipfit.compress.within import solved_within


def ill_conditioned(d: int, rng: np.random.Generator) -> torch.Tensor:
    """Second moments whose eigenvalues span three decades, as with the usual ridge."""
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return torch.from_numpy(basis @ np.diag(np.logspace(0, -3, d)) @ basis.T)


@pytest.mark.parametrize("d", [9, 72])
def test_each_row_is_solved_within_its_places(d: int) -> None:
    rng = np.random.default_rng(d)
    h, right = ill_conditioned(d, rng), torch.from_numpy(rng.normal(size=(20, d)))
    free = torch.from_numpy(rng.random((20, d)) < 0.5)
    free[0] = False
    found = solved_within(h, right, free)
    want = torch.zeros_like(right)
    for row, places in enumerate(free):
        at = places.nonzero()[:, 0]
        want[row, at] = torch.linalg.solve(h[at][:, at], right[row, at])

    def loss(w: torch.Tensor) -> torch.Tensor:
        return 0.5 * ((w @ h) * w).sum(1) - (w * right).sum(1)

    assert bool((found[~free] == 0).all())
    assert bool((loss(found) <= 0.9 * loss(want)).all()), "nearly all of what there is to gain"
    everywhere, easy = torch.ones_like(free), h + torch.eye(d)
    torch.testing.assert_close(
        solved_within(easy, right, everywhere), torch.linalg.solve(easy, right.T).T, rtol=0.03, atol=0.03
    )


def test_a_fit_within_places_is_better_than_cutting_the_free_one() -> None:
    rng = np.random.default_rng(0)
    u = torch.from_numpy(rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))).float()
    true = torch.from_numpy(rng.normal(size=(3, 6))).float()
    rows = Rows(u, u @ true.T + 1.5, torch.ones(3), torch.zeros(3))
    free = torch.tensor([[True, True, False] * 2] * 3)
    prior = torch.where(free, true, 0.0).double()
    w, b = solve(rows, prior, intercept=True, rounds=0, within=Bounds(free))
    assert bool((w[~free] == 0).all())

    def error(w: torch.Tensor, b: torch.Tensor) -> float:
        return float((u.double() @ w.T + b - rows.goal).square().mean())

    cut, offset = solve(rows, true.double(), intercept=True, rounds=0)
    assert error(w, b) < 0.9 * error(torch.where(free, cut, 0.0), offset)


def test_what_is_rounded_at_last_gets_the_intercept_for_it() -> None:
    rng = np.random.default_rng(0)
    u = torch.from_numpy(rng.uniform(1, 2, (500, 4))).float()
    true = torch.from_numpy(rng.normal(size=(3, 4))).float()
    rows = Rows(u, u @ true.T, torch.ones(3), torch.zeros(3))
    w, b = solve(rows, true.double(), intercept=True, rounds=0, within=Bounds(None, lambda w, _: (2 * w).floor() / 2))
    assert bool(((2 * w) == (2 * w).round()).all())
    assert float((u.double() @ w.T + b - rows.goal).mean(0).abs().max()) < 1e-5, "right on average"
