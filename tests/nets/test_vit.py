"""The zoo's transformer: what training leaves out is there when it answers."""

from __future__ import annotations

import torch
from torch import Tensor

from chipfit.nets.vit import ViT


def lengths(net: ViT, x: Tensor) -> list[int]:
    """Tokens that each block reads."""
    found: list[int] = []
    hooks = [b.register_forward_hook(lambda _, given, __: found.append(given[0].shape[1])) for b in net.blocks]
    net(x)
    for hook in hooks:
        hook.remove()
    return found


def test_patches_are_left_out_in_training_alone_and_others_each_time() -> None:
    torch.manual_seed(0)
    net, x = ViT(depth=2, width=16, heads=2, side=12).eval(), torch.randn(3, 1, 12, 12)
    with torch.inference_mode():
        want = net(x)
        net.left_out = 0.5
        assert torch.equal(net(x), want)
    assert lengths(net, x) == [10, 10]
    net.train()
    assert lengths(net, x) == [5, 5]
    drawn = {tuple(net._seen(10).tolist()) for _ in range(20)}
    assert len(drawn) > 10
    assert all(seen[0] == 0 and len(set(seen)) == 5 for seen in drawn), "the class token is always seen"
    net.left_out = 0.0
    assert lengths(net, x) == [10, 10]
