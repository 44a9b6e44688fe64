"""The surgeon against plain least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from chipfit.compress.hessian import hessians, ridged
from chipfit.compress.obs import ChannelReader, Reader, compensated, order_of, removal_order
from chipfit.core.graph import Network
from chipfit.space.groups import channel_groups
from compress.networks import noise


def problem(seed: int, channels: int = 6, s: int = 3, outputs: int = 4) -> tuple[Tensor, Tensor, np.ndarray]:
    g = torch.Generator().manual_seed(seed)
    d = channels * s
    mix = torch.randn(d, d, generator=g, dtype=torch.float64)
    columns = torch.randperm(d, generator=g).view(channels, s).numpy()
    return torch.randn(outputs, d, generator=g, dtype=torch.float64), mix @ mix.T / d + 0.1 * torch.eye(d), columns


def error(weight: Tensor, h: Tensor, keep: list[int]) -> float:
    """Least squared error with these columns only, by brute force."""
    root = torch.linalg.cholesky(h).T
    best = torch.linalg.lstsq(root[:, keep], root @ weight.T).solution
    return float((root[:, keep] @ best - root @ weight.T).square().sum())


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_the_growth_of_the_error(seed: int) -> None:
    weight, h, columns = problem(seed)
    reader, alive = Reader(weight, h, columns), list(range(6))
    for gone in (4, 0, 3):
        before = error(weight, h, columns[alive].ravel().tolist())
        scores = reader.scores(torch.tensor(alive))
        for i, c in enumerate(alive):
            rest = columns[[a for a in alive if a != c]].ravel().tolist()
            assert float(scores[i]) == pytest.approx(error(weight, h, rest) - before, rel=1e-6)
        reader.remove(gone)
        alive.remove(gone)


def test_removing_one_by_one_is_one_least_squares() -> None:
    weight, h, columns = problem(7)
    reader = Reader(weight, h, columns)
    for channel in (1, 5, 2):
        reader.remove(channel)
    keep = torch.from_numpy(columns[[0, 3, 4]].ravel())
    torch.testing.assert_close(reader.weight[:, keep], compensated(weight, h, keep))
    assert reader.weight[:, columns[[1, 5, 2]].ravel()].abs().max() < 1e-9


def test_two_readers_decide_together() -> None:
    """Channel 0 matters to the second reader alone, channel 1 to nobody."""
    h, columns = torch.eye(3, dtype=torch.float64), np.arange(3)[:, None]
    first = Reader(torch.tensor([[0.1, 0.2, 3.0]]).double(), h, columns)
    second = Reader(torch.tensor([[2.0, 0.0, 0.0]]).double(), h, columns)
    assert order_of([first, second], 3) == (1, 0, 2)


def test_without_h_the_order_is_that_of_energy() -> None:
    reader = Reader(
        torch.tensor([[3.0, 1.0, 2.0]]).double(), torch.tensor([1.0, 1.0, 4.0]).double(), np.arange(3)[:, None]
    )
    assert order_of([reader], 3) == (1, 0, 2)
    keep = torch.tensor([0, 2])
    torch.testing.assert_close(compensated(reader.weight, torch.ones(3).double(), keep), reader.weight[:, keep])


def test_a_copy_goes_first() -> None:
    """Of two columns that are always alike one is free, however large its weight."""
    g = torch.Generator().manual_seed(2)
    u = torch.randn(500, 5, generator=g).double()
    u[:, 3] = u[:, 1]
    weight = torch.tensor([[1.0, 9.0, 1.0, 9.0, 1.0]]).double()
    reader = Reader(weight, ridged(u.T @ u / 500, 1e-4), np.arange(5)[:, None])
    assert order_of([reader], 5)[0] in (1, 3)


def test_every_group_has_an_order(net: Network) -> None:
    h = hessians(net, noise(net, 32), np.random.default_rng(0))
    for g in channel_groups(net.graph).groups:
        assert sorted(removal_order(net, g, h)) == list(range(g.size))


def test_a_coarse_order_gives_up_what_an_exact_one_does(net: Network) -> None:
    """Where taps are alike, several channels at a time: the channels that nobody misses go first in both."""
    h = hessians(net, noise(net, 32), np.random.default_rng(0))
    for g in channel_groups(net.graph).groups:
        coarse, exact = removal_order(net, g, h, coarse=True), removal_order(net, g, h)
        assert sorted(coarse) == list(range(g.size))
        half = g.size // 2
        if half < 3:  # of four heads with weights that nobody trained any two are as good as the others
            continue
        assert len(set(coarse[:half]) & set(exact[:half])) >= 0.6 * half


def test_the_form_for_channels_is_solved_as_the_whole_matrix_is() -> None:
    weight, h, _ = problem(3, channels=5, s=1)
    g = torch.Generator().manual_seed(1)
    weight, whole = torch.randn(4, 15, generator=g).double(), torch.block_diag(h, h, h)
    keep = torch.tensor([0, 2, 3, 5, 7, 8, 10, 12, 13])
    torch.testing.assert_close(compensated(weight, h, keep), compensated(weight, whole, keep))
    columns = np.arange(15).reshape(3, 5).T
    coarse, same = ChannelReader(weight, h, columns), ChannelReader(weight, whole, columns)
    assert order_of([coarse], 5) == order_of([same], 5)


def test_several_at_once_are_one_least_squares() -> None:
    weight, h, columns = problem(7)
    one_by_one, together = Reader(weight, h, columns), Reader(weight, h, columns)
    for channel in (1, 5, 2):
        one_by_one.remove(channel)
    together.remove(1, 5, 2)
    torch.testing.assert_close(one_by_one.weight, together.weight)


def test_with_one_tap_channels_are_columns() -> None:
    weight, h, columns = problem(3, channels=8, s=1)
    order = order_of([Reader(weight, h, columns)], 8)
    assert order_of([ChannelReader(weight, h, columns)], 8) == order
    diagonal = h.diagonal().clone()
    assert order_of([ChannelReader(weight, diagonal, columns)], 8) == order_of([Reader(weight, diagonal, columns)], 8)
