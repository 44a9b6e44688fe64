"""Root-mean-square norms that are written out are found, and nothing that only looks like one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chipfit.nets.trace import trace
from compress.networks import answers

ROWS, WIDTH = 6, 16


class Written(nn.Module):
    """A dense layer, a norm that `normalise` writes out, a scale, and another dense layer."""

    def __init__(self, normalise: Callable[[Tensor], Tensor], scales: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.normalise = normalise
        self.first, self.last = nn.Linear(8, WIDTH), nn.Linear(WIDTH, 4)
        self.scale = nn.Parameter(torch.rand(WIDTH)) if scales else 1.0

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.last(self.scale * self.normalise(self.first(x)))
        return answers.mean(1)


def by_root(x: Tensor) -> Tensor:
    """As in libraries of language models."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def by_quotient(x: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(2, keepdim=True) + 1e-5)


def over_rows(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


def of_another(x: Tensor) -> Tensor:
    return x * torch.rsqrt(torch.relu(x).pow(2).mean(-1, keepdim=True) + 1e-6)


@pytest.mark.parametrize("scales", [0, 1])
@pytest.mark.parametrize(("normalise", "eps"), [(by_root, 1e-6), (by_quotient, 1e-5)])
def test_a_norm_is_one_operator_with_its_scale(normalise: Callable[[Tensor], Tensor], eps: float, scales: int) -> None:
    module = Written(normalise, scales).eval()
    network = trace(module, (ROWS, 8))
    (norm,) = (o for o in network.graph if o.kind == "rms_norm")
    assert (norm["weight"], norm["eps"]) == (scales, pytest.approx(eps))
    assert not {"reciprocal", "sqrt", "affine"} & {o.kind for o in network.graph}
    x = np.random.default_rng(0).standard_normal((3, ROWS, 8)).astype(np.float32)
    np.testing.assert_allclose(answers(network, x), module(torch.from_numpy(x)).detach(), atol=1e-5)


@pytest.mark.parametrize("normalise", [over_rows, of_another])
def test_what_is_no_norm_of_its_tokens_stays(normalise: Callable[[Tensor], Tensor]) -> None:
    module = Written(normalise).eval()
    network = trace(module, (ROWS, 8))
    assert "rms_norm" not in {o.kind for o in network.graph}
    x = np.random.default_rng(0).standard_normal((3, ROWS, 8)).astype(np.float32)
    np.testing.assert_allclose(answers(network, x), module(torch.from_numpy(x)).detach(), atol=1e-5)
