"""A layer's own program misses nothing, a program of full rank next to nothing, and worse programs more."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.compress.hessian import hessians
from chipfit.core.graph import Network
from chipfit.evaluate.program_score import Scores
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS

INPUTS = np.random.default_rng(0).standard_normal((48, 1, 28, 28)).astype(np.float32)
LAYER = "7"


@pytest.fixture(scope="module")
def network() -> Network:
    return trace(BUILDERS["vgg6"](), (1, 28, 28))


@pytest.fixture(scope="module")
def scores(network: Network) -> Scores:
    moments = hessians(network, INPUTS, np.random.default_rng(0))
    return Scores(network, [LAYER], INPUTS, {name: h.numpy() for name, h in moments.items()})


def test_the_layer_itself_misses_nothing(scores: Scores) -> None:
    error = scores.error(LAYER, "conv(x, KxK, M)")
    assert error is not None
    assert error < 1e-4


def test_less_rank_misses_more(scores: Scores) -> None:
    errors = [scores.error(LAYER, f"conv(x, Kx1, {rank}); conv(_, 1xK, M)") for rank in ("M", "M/2", "M/4", "M/8")]
    assert None not in errors
    assert errors == sorted(errors)  # type: ignore[type-var]
    assert 0.0 <= errors[0] < errors[-1] < 1.0  # type: ignore[operator]


def test_programs_that_end_in_no_layer_to_solve_for_are_told_too(scores: Scores) -> None:
    depthwise_last, grouped = (scores.error(LAYER, t) for t in ("pwconv(x, M); dwconv(_, KxK)", "gconv(x, KxK, M, 4)"))
    assert depthwise_last is not None
    assert grouped is not None
    assert 0.0 < depthwise_last < 1.0
    assert 0.0 < grouped < 1.0


def test_what_does_not_fit_has_no_error(scores: Scores) -> None:
    assert scores.error(LAYER, "down(x, 2); pwconv(_, M)") is None


def test_what_is_not_finite_has_no_error(scores: Scores) -> None:
    assert scores.error(LAYER, "sub(x, x); log(_); conv(_, KxK, M)") is None
