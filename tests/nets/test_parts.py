"""Parts of one parameter in different layers: arrays of their own where no element is in two, as it is elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chipfit.core.opaque import taken_as_they_are
from chipfit.nets.build import build
from chipfit.nets.rules.constants import Cut
from chipfit.nets.trace import trace

SHAPE = (6, 8)


class Cutting(nn.Module):
    """One weight and one bias for three layers, which `body` cuts them up for."""

    def __init__(self, body: Callable[[Cutting, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight, self.bias = nn.Parameter(torch.randn(24, 8)), nn.Parameter(torch.randn(24))
        self.head = nn.Linear(8, 4)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self, x).mean(1))


def _gated(x: Tensor, weights: tuple[Tensor, ...], biases: tuple[Tensor, ...]) -> Tensor:
    a, b, c = (F.linear(x, w, bias) for w, bias in zip(weights, biases, strict=True))
    return a * torch.sigmoid(b) + c


APART = {
    "chunks": lambda m, x: _gated(x, m.weight.chunk(3), m.bias.chunk(3)),
    "slices": lambda m, x: _gated(
        x, (m.weight[:8], m.weight[8:16], m.weight[16:]), (m.bias[:8], m.bias[8:16], m.bias[16:])
    ),
    "every third": lambda m, x: _gated(
        x, tuple(m.weight[n::3] for n in range(3)), tuple(m.bias[n::3] for n in range(3))
    ),
    "of a view": lambda m, x: _gated(x, m.weight.view(3, 8, 8).unbind(0), m.bias.view(3, 8).unbind(0)),
    "columns": lambda m, x: _gated(x, tuple(w.t() for w in m.weight.t().chunk(3, 1)), m.bias.chunk(3)),
    "joined and split": lambda m, x: _gated(
        x, m.weight.chunk(3), torch.cat([m.bias[:8], m.bias[8:16], m.bias[16:]]).split(8)
    ),
}  # fmt: skip


def _agree(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    x = torch.randn(2, *shape)
    built = build(trace(module.eval(), shape))
    with torch.inference_mode():
        torch.testing.assert_close(built(x), module(x), atol=1e-5, rtol=1e-5)
    return built


@pytest.mark.parametrize("name", APART)
def test_parts_without_an_element_in_common_are_arrays_of_their_own(name: str) -> None:
    module = Cutting(APART[name])
    network = trace(module.eval(), SHAPE)
    assert not list(taken_as_they_are(network.graph))
    assert network.graph.total_params == sum(p.numel() for p in module.parameters())
    _agree(module)


def test_a_part_used_twice_is_one_array() -> None:
    module = Cutting(lambda m, x: F.linear(F.linear(x, m.weight[:8]), m.weight[:8]) + F.linear(x, m.weight[8:16]))
    network = trace(module.eval(), SHAPE)
    assert len({w for o in network.graph if o.kind == "linear" for w in network.graph.weight_shapes(o)}) == 4
    _agree(module)


def test_parts_that_overlap_stay_one_parameter() -> None:
    """What is computed with one of them is taken as it is."""
    module = Cutting(lambda m, x: F.linear(x, m.weight[:8]) + F.linear(x, m.weight[4:12]))
    network = trace(module.eval(), SHAPE)
    assert list(taken_as_they_are(network.graph))
    _agree(module)


@pytest.mark.parametrize(
    "attention",
    [
        lambda: nn.MultiheadAttention(8, 2, kdim=4, vdim=4, batch_first=True),
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    ],
    ids=["keys of another width", "keys of the same width"],
)
def test_attention_to_other_tokens(attention: Callable[[], nn.MultiheadAttention]) -> None:
    class Across(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention()
            self.keys, self.head = nn.Linear(8, self.attention.kdim), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            keys = self.keys(x)
            return self.head(self.attention(x, keys, keys, need_weights=False)[0].mean(1))

    assert not list(taken_as_they_are(trace(Across().eval(), SHAPE).graph))
    _agree(Across())


def test_queries_that_are_learnt_attend_to_each_other_first() -> None:
    """As those of a detection transformer: attention among constants is one."""

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.queries = nn.Parameter(torch.randn(1, 4, 8))
            self.layer, self.head = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(self.queries.expand(len(x), -1, -1), x).mean(1))

    _agree(Decoder())


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (slice(0, 4), slice(4, 8), False), (slice(0, 5), slice(4, 8), True), (slice(0, 8, 2), slice(1, 8, 2), False),
        (slice(0, 8, 2), slice(0, 8, 3), True),
    ],
)  # fmt: skip
def test_cuts_of_one_memory(a: slice, b: slice, expected: bool) -> None:
    memory = torch.zeros(8, 3)
    assert Cut.of(memory[a]).overlaps(Cut.of(memory[b])) is expected
    assert Cut.of(memory[b]).overlaps(Cut.of(memory[a])) is expected
