"""Operators that no rule takes: they are taken as they are, and the network is the module all the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chipfit.core import opaque
from chipfit.core.graph import Graph, Network
from chipfit.core.opaque import program, taken_as_they_are
from chipfit.nets.build import build
from chipfit.nets.faithful import traced
from chipfit.nets.opaque import operator, run
from chipfit.nets.trace import trace
from chipfit.space.groups import channel_groups

SHAPE = (3, 8, 8)


class Odd(nn.Module):
    """A convolution, something odd, a dense layer."""

    def __init__(self, body, features: int = 6 * 8 * 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.register_buffer("places", torch.tensor([2, 0, 1, 5, 4, 3]))
        self.gain = nn.Parameter(torch.rand(6, 8, 8))
        self.head = nn.Linear(features, 4)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self, torch.relu(self.conv(x))).flatten(1))


def sorted_by(m: Odd, y: Tensor) -> Tensor:
    order = y.argsort(dim=3)  # whole numbers between two operators
    return torch.gather(y, 3, order)


BODIES = {
    "cumsum": lambda m, y: torch.cumsum(y, 1),
    "circular": lambda m, y: F.pad(y, (1, 1, 1, 1), mode="circular")[:, :, 1:-1, 1:-1],
    "index": lambda m, y: y[:, m.places],
    "sorted": sorted_by,
    "masked": lambda m, y: y.masked_fill(y > y.cumsum(2), 0.5),
    "two values": lambda m, y: torch.sort(y, dim=2)[0] + torch.cummax(y, dim=3)[0],
    "parameter": lambda m, y: torch.cumsum(y, 1).lerp(y, m.gain),
    "batch in a shape": lambda m, y: torch.cumsum(y.new_zeros(y.shape[0], 6, 8, 8) + y, 1),
    "without gradients": lambda m, y: y + _no_grad(y),
    "unfold": lambda m, y: F.fold(F.unfold(y, 3, padding=1), (8, 8), 3, padding=1),
}


@torch.no_grad()
def _no_grad(y: Tensor) -> Tensor:
    return torch.cumprod(y, 2)


@pytest.fixture(params=BODIES, scope="module")
def pair(request: pytest.FixtureRequest) -> tuple[nn.Module, Network]:
    torch.manual_seed(1)
    module = Odd(BODIES[request.param]).eval()
    return module, trace(module, SHAPE)


@torch.no_grad()
def test_the_network_is_the_module_at_any_batch_size(pair) -> None:
    module, network = pair
    built = build(network)
    for n in (1, 5):
        x = torch.randn(n, *SHAPE)
        torch.testing.assert_close(built(x), module(x), atol=1e-5, rtol=1e-5)
    assert any(o.kind == opaque.KIND for o in network.graph)


def test_graphs_with_opaque_operators_come_back_from_text(pair) -> None:
    _, network = pair
    back = Graph.from_json(network.graph.to_json())
    assert back == network.graph
    assert back.key == network.graph.key
    again = build(network).network()
    assert again.digest() == network.digest()


def test_parameters_of_opaque_operators_are_trained_and_counted() -> None:
    module = Odd(BODIES["parameter"])
    network = trace(module, SHAPE)
    assert network.graph.total_params == sum(p.numel() for p in module.parameters())
    built = build(network)
    built(torch.randn(2, *SHAPE)).sum().backward()
    assert all(p.grad is not None for p in built.parameters())


def test_a_recurrent_layer_is_one_operator_with_its_arrays() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.LSTM(5, 7, batch_first=True, bidirectional=True)
            self.head = nn.Linear(14, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rows(x)[0][:, -1])

    torch.manual_seed(0)
    module = Reader().eval()
    network, _ = traced("reader", module, (9, 5))
    (o,) = [o for o in network.graph if o.kind == opaque.KIND]
    assert o.weights == "rows"
    assert {a.role for a in program(o).arrays} > {name for name, _ in module.rows.named_parameters()}
    assert network.graph.total_params == sum(p.numel() for p in module.parameters())
    assert "lstm" in [what for _, what, _ in taken_as_they_are(network.graph)]
    assert network.graph.macs(o) == 9 * 2 * (28 * 5 + 28 * 7)


@torch.no_grad()
def test_several_values_of_one_operator_are_computed_once() -> None:
    class States(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.LSTM(5, 7, 2)
            self.head = nn.Linear(14, 3)

        def forward(self, x: Tensor) -> Tensor:
            _, (h, c) = self.rows(x.transpose(0, 1))  # the batch second, as in the states
            return self.head(torch.cat([h[-1], c[0]], 1))

    torch.manual_seed(0)
    module = States().eval()
    network, _ = traced("states", module, (9, 5))
    assert sum(o.kind == opaque.KIND for o in network.graph) == 1
    x = torch.randn(4, 9, 5)
    torch.testing.assert_close(build(network)(x), module(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_numbers_the_inputs_of_a_batch_is_made_for_each() -> None:
    class Nearest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            n, points, _ = x.shape
            near = torch.cdist(x, x).topk(2, largest=False)[1]
            places = (near + torch.arange(n).view(-1, 1, 1) * points).flatten()
            return self.head(x.reshape(n * points, 3)[places].view(n, points, 2, 3).mean((1, 2)))

    module = Nearest().eval()
    network, _ = traced("nearest", module, (6, 3))
    x = torch.randn(5, 6, 3)
    torch.testing.assert_close(build(network)(x), module(x), atol=1e-5, rtol=1e-5)


def test_what_touches_an_opaque_operator_is_frozen_with_its_name() -> None:
    network = trace(Odd(BODIES["cumsum"]), SHAPE)
    reasons = dict(channel_groups(network.graph).frozen)
    assert "cumsum" in reasons["conv"]
    ((name, what, why),) = taken_as_they_are(network.graph)
    assert (name, what, why) == ("cumsum", "cumsum", "no rule")
    assert [(name, what) for name, what, _ in taken_as_they_are(network.graph)] == [("cumsum", "cumsum")]


def test_equal_pieces_have_one_key_whatever_the_reason_is_called() -> None:
    graph = trace(Odd(BODIES["cumsum"]), SHAPE).graph
    ops = tuple(o.having(why="another word") if o.kind == opaque.KIND else o for o in graph)
    assert Graph(ops, graph.output).key == graph.key


@pytest.mark.parametrize(
    "name",
    [
        "relu_.default",
        "from_file.default",
        "rand.default",
        "os.system",
        "add",
        "no.default",
        "add.out",
    ],
)
def test_only_functions_of_tensors_run(name: str) -> None:
    with pytest.raises(ValueError, match=r"ATen operator|is no function|reads no tensor"):
        operator(name)


def test_random_numbers_are_not_drawn_whatever_a_program_says() -> None:
    x = torch.ones(2, 3)
    step = opaque.Step("dropout.default", ({"input": 0}, 0.5, False), {})
    torch.testing.assert_close(run(opaque.Program((step,), {"step": 0}), {}, (x,)), x)
    for odd in (
        opaque.Step("dropout.default", ({"input": 0}, 0.5, True), {}),
        opaque.Step("bernoulli.default", ({"input": 0},), {}),
    ):
        with pytest.raises(ValueError, match="random"):
            run(opaque.Program((odd,), {"step": 0}), {}, (x,))


def test_text_that_is_no_program_is_refused() -> None:
    with pytest.raises(ValueError, match="not the program of an operator"):
        opaque.read('{"steps": [["relu.default"]]}')


def test_numbers_of_words_as_floats_are_asked_for_as_such() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(11, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.table(x.long()).mean(1))

    network, answers = traced("words", Words().eval(), (6,))
    assert answers.inputs.min() >= 0
    assert 5 < answers.inputs.max() <= 10
    assert network.graph.input_shape == (6,)
    assert answers.error(build(network)(torch.from_numpy(answers.inputs)).detach().numpy()) < 1e-5


def test_whole_numbers_are_an_input_of_their_own() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(11, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.head(self.table(x).cumsum(1)[:, -1])}

    network, answers = traced("words", Words().eval(), (6,), integer=True)
    assert network.graph.ops[0]["integer"] == 1
    assert answers.inputs.dtype == "float32"
    assert answers.error(build(network)(torch.from_numpy(answers.inputs)).detach().numpy()) < 1e-5


class Windows(nn.Module):
    """Windows of a map merged with the batch, a dense layer in each, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 1)
        self.inside = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).permute(0, 2, 3, 1)
        b, h, w, c = y.shape
        y = y.view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        y = torch.roll(F.gelu(self.inside(y)), (3,), (1,)).softmax(-1)
        y = y.view(b, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h * w, c)
        y = self.head(y.transpose(0, 1)).transpose(0, 1)  # the batch second
        return torch.stack([y, -y], 1).flatten(1)


@torch.no_grad()
def test_a_batch_that_is_merged_or_moved_is_followed() -> None:
    torch.manual_seed(0)
    module = Windows().eval()
    network, _ = traced("windows", module, SHAPE)
    assert not any(o.kind == opaque.KIND for o in network.graph)
    assert [o.shape for o in network.graph if o.kind == "linear"] == [(4, 16, 6), (64, 4)]
    x = torch.randn(3, *SHAPE)
    torch.testing.assert_close(build(network)(x), module(x), atol=1e-5, rtol=1e-5)
