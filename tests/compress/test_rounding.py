"""Rounding in turn stays on the grid and within its places, and costs less than rounding to the nearest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.compress.rounding import BLOCK, rounded_in_turn


def correlated(d: int, rng: np.random.Generator) -> torch.Tensor:
    """Second moments of inputs that are much alike, as neighbouring pixels are."""
    u = rng.normal(size=(4 * d, d)) + 2 * rng.normal(size=(4 * d, 1))
    return torch.from_numpy(u.T @ u / len(u)) + 0.01 * torch.eye(d).double()


def cost(made: torch.Tensor, weight: torch.Tensor, h: torch.Tensor) -> float:
    return float((((made - weight) @ h) * (made - weight)).sum())


@pytest.mark.parametrize("d", [9, BLOCK, 2 * BLOCK + 30])
def test_it_costs_much_less_than_the_nearest(d: int) -> None:
    rng = np.random.default_rng(d)
    h, weight = correlated(d, rng), torch.from_numpy(2 * rng.normal(size=(32, d)))
    made = rounded_in_turn(weight, h, -8, 7)
    nearest = torch.floor(weight + 0.5)
    assert torch.equal(made, made.round())
    assert cost(made, weight, h) < 0.7 * cost(nearest, weight, h)


def test_blocks_pass_on_what_one_column_after_another_would() -> None:
    d = BLOCK + 5
    rng = np.random.default_rng(0)
    h, weight = correlated(d, rng), torch.from_numpy(2 * rng.normal(size=(4, d)))
    order = h.diagonal().argsort(descending=True, stable=True)
    inverse = torch.linalg.inv(h[order][:, order])
    left = weight[:, order].clone()
    for j in range(d):  # the step as it is written for the inverse of what is left
        q = torch.floor(left[:, j] + 0.5).clamp(-8, 7)
        error = (left[:, j] - q) / inverse[j, j]
        left -= torch.outer(error, inverse[j])
        left[:, j] = q
        inverse = inverse - torch.outer(inverse[:, j], inverse[j]) / inverse[j, j]
        inverse[j, j] = 1.0
        inverse[j, :j] = inverse[:j, j] = 0.0
        inverse[j, j + 1 :] = inverse[j + 1 :, j] = 0.0
    assert torch.equal(rounded_in_turn(weight, h, -8, 7)[:, order], left)


def test_numbers_stay_and_ends_hold() -> None:
    h = correlated(6, np.random.default_rng(0))
    whole = torch.tensor([[1.0, -2, 3, 0, 1, -4]]).double()
    assert torch.equal(rounded_in_turn(whole, h, -4, 3), whole)
    assert float(rounded_in_turn(10 * whole, h, -4, 3).abs().max()) <= 4


def test_places_that_are_zero_stay_zero() -> None:
    rng = np.random.default_rng(1)
    h, free = correlated(90, rng), torch.from_numpy(rng.random((16, 90)) < 0.5)
    weight = torch.from_numpy(2 * rng.normal(size=(16, 90))) * free
    made = rounded_in_turn(weight, h, -8, 7, free)
    assert bool((made[~free] == 0).all())
    assert cost(made, weight, h) < cost(torch.floor(weight + 0.5), weight, h)
