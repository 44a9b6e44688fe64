"""A built network trains what is learnt, keeps what is constant, and keeps ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chipfit.nets.build import build
from chipfit.nets.trace import trace
from models.awkward import AWKWARD, INPUT_SHAPE


@pytest.mark.parametrize("name", ["Scaled", "Tied"])
def test_a_step_changes_what_is_learnt_and_nothing_else(name: str) -> None:
    torch.manual_seed(0)
    before = trace(AWKWARD[name](), INPUT_SHAPE)
    module = build(before).train()
    assert sum(p.numel() for p in module.parameters()) == before.graph.total_params
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    module(torch.randn(8, *INPUT_SHAPE)).square().sum().backward()
    optimiser.step()
    after = module.network()
    constant = {o.array(r) for o in before.graph if o.kind == "affine" and not o["learnt"] for r in ("scale", "shift")}
    for key, array in before.weights.items():
        assert np.array_equal(array, after.weights[key]) == (key in constant), key
    with torch.inference_mode():
        x = torch.randn(4, *INPUT_SHAPE)
        torch.testing.assert_close(build(after)(x), module.eval()(x), atol=1e-5, rtol=1e-5)


def test_shared_arrays_are_one_tensor() -> None:
    network = trace(AWKWARD["Tied"](), INPUT_SHAPE)
    module = build(network)
    a, b, d = (module.layer(network.graph[name]) for name in "abd")
    assert a.weight is b.weight is d.weight
    assert a.bias is not b.bias
    assert module.layer(network.graph["c"]).bias is module.layer(network.graph["stem"]).bias
