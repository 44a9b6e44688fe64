"""Rows that are solved together, each within its own places, are what solving each alone gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.compress.hessian import flat, patches, pixels
from chipfit.compress.patterns import pattern_sets
from chipfit.compress.refit import Bounds, Rows, solve
from chipfit.compress.within import solved_within
from chipfit.core.kernel_patterns import kept
from chipfit.nets.build import build
from chipfit.nets.zoo import load_zoo
from compress.networks import noise


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


def test_a_pruned_layer_is_solved_to_the_end() -> None:
    """Of a trained layer, with what it reads: its error is that of solving every output alone."""
    network = load_zoo("fashion-mnist/resnet8").network
    o, x = network.graph["4.body.3"], noise(network, 48)
    values = {p.name: y for p, y in build(network).walk(torch.from_numpy(x))}
    at = pixels(o, len(x), 2000, np.random.default_rng(0))
    u = patches(o, values[o.inputs[0]].detach(), at).double()
    weight = torch.from_numpy(network.weights["4.body.3.weight"])
    free = flat(torch.from_numpy(kept(weight.numpy(), pattern_sets(network)[3][-1])))
    true = flat(weight).double()
    h = u.T @ u / len(u)
    h = h + 0.01 * h.diagonal().mean() * torch.eye(len(h))
    found = solved_within(h, true @ h, free)

    def error(w: torch.Tensor) -> float:
        return float((((w - true) @ h) * (w - true)).sum())

    best = torch.zeros_like(true)
    for row, places in enumerate(free):
        own = places.nonzero()[:, 0]
        best[row, own] = torch.linalg.solve(h[own][:, own], (true[row] @ h)[own])
    assert error(best) <= error(found) < 1.01 * error(best) < 0.8 * error(torch.where(free, true, 0.0))


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
