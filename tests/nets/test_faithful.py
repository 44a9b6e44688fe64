"""What was traced is held against the user's module: wrong rules are found and named, modules are left as they were."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chipfit.core.errors import BadInput, ChipfitError, Untraceable
from chipfit.core.graph import Graph, Network, Op
from chipfit.nets import faithful
from chipfit.nets.answers import ask, relative_error, undisturbed
from chipfit.nets.faithful import FAR, NEAR, allowed_error, traced
from chipfit.nets.load import entry_of
from chipfit.nets.trace import trace

SHAPE = (3, 12, 12)
Change = Callable[[Network], Network]


class Small(nn.Module):
    """A convolution, an average pool, a residual block written with functions, a head."""

    def __init__(self, end: Callable[[Tensor], Tensor] = lambda y: y) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.norm.running_var.fill_(2.0)
        self.pool, self.b = nn.AvgPool2d(3, 2, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.head, self.end = nn.Linear(8, 5), end

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(F.relu(self.norm(self.a(x))))
        return self.end(self.head((y + self.b(y)).mean((2, 3))))


def having(kind: str, **attrs: object) -> Change:
    """The network with other attributes of its operators of a kind."""

    def change(network: Network) -> Network:
        ops = tuple(o.having(**attrs) if o.kind == kind else o for o in network.graph)  # type: ignore[arg-type]
        return Network(Graph(ops, network.graph.output), network.weights)

    return change


def as_kind(kind: str, other: str) -> Change:
    """The network with operators of a kind taken for others."""

    def change(network: Network) -> Network:
        swapped = tuple(
            Op(o.name, other, o.inputs, o.shape, o.attrs, o.weights, o.bits) if o.kind == kind else o
            for o in network.graph
        )
        return Network(Graph(swapped, network.graph.output), network.weights)

    return change


def with_weight(name: str, value: float) -> Change:
    """The network with an array moved by a value."""
    return lambda n: Network(n.graph, {k: a + np.float32(value) * (k == name) for k, a in n.weights.items()})


WRONG: dict[str, tuple[Change, str]] = {
    "pool": (having("avg_pool", count_include_pad=0), r"'avg_pool' \('pool'\)"),
    "stride kept, padding lost": (having("avg_pool", ceil=1), "cannot be computed|'avg_pool'"),
    "eps": (having("batch_norm", eps=0.1), r"'batch_norm' \('norm'\)"),
    "add taken for sub": (as_kind("add", "sub"), r"'sub' \('add'\)"),
    "add taken for mul": (as_kind("add", "mul"), r"'mul' \('add'\)"),
    "activation": (as_kind("relu", "hard_swish"), r"'hard_swish' \('relu'\)"),
    "a weight a little off": (with_weight("b.weight", 1e-3), r"'conv' \('b'\)"),
    "the last bias": (with_weight("head.bias", 1e-2), r"'linear' \('head'\)"),
}


def patched(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """Makes every trace wrong in this way."""
    monkeypatch.setattr(faithful, "trace", lambda module, shape: change(trace(module, shape)))


@pytest.mark.parametrize("name", WRONG)
def test_the_first_operator_that_differs_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    change, operator = WRONG[name]
    patched(monkeypatch, change)
    with pytest.raises(Untraceable, match=operator) as e:
        traced("mine", Small(), SHAPE)
    assert "\n" not in str(e.value)
    assert str(e.value).startswith("mine")


@pytest.mark.parametrize("name", ["pool", "eps", "add taken for sub"])
@pytest.mark.parametrize("end", [lambda y: F.softmax(y, 1), torch.sigmoid, lambda y: torch.tanh(y).reshape(-1, 5)])
def test_what_a_saturated_end_hides_is_seen(
    monkeypatch: pytest.MonkeyPatch, name: str, end: Callable[[Tensor], Tensor]
) -> None:
    scaled = Small(end)
    scaled.head.weight.data *= 1e4
    patched(monkeypatch, WRONG[name][0])
    with pytest.raises(Untraceable, match=WRONG[name][1]):
        traced("mine", scaled, SHAPE)


@pytest.mark.parametrize("name", ["pool", "eps", "add taken for sub"])
def test_what_a_constant_answer_hides_is_seen(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    module = Small()
    nn.init.zeros_(module.head.weight)
    traced("mine", module, SHAPE)
    patched(monkeypatch, WRONG[name][0])
    with pytest.raises(Untraceable, match=WRONG[name][1]):
        traced("mine", module, SHAPE)


def test_all_zeros_are_an_answer() -> None:
    module = Small()
    nn.init.zeros_(module.head.weight)
    nn.init.zeros_(module.head.bias)
    _, answers = traced("mine", module, SHAPE)
    assert not answers.outputs.any()


def test_a_fault_that_only_wide_inputs_show_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clamped(Small):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.relu6(x))

    patched(monkeypatch, as_kind("relu6", "relu"))
    with pytest.raises(Untraceable, match=r"'relu' \('relu6'\)"):
        traced("mine", Clamped(), SHAPE)


def test_a_fault_that_only_real_inputs_show_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs far from all random ones: there, and only there, another function answers otherwise."""
    layers = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)
    layers[0].weight.data = torch.eye(4)
    layers[0].bias.data.fill_(-1000.0)
    module = nn.Sequential(*layers)
    patched(monkeypatch, as_kind("relu", "relu6"))
    traced("mine", module, (4,))
    with pytest.raises(Untraceable, match=r"'relu6' \('1'\)"):
        traced("mine", module, (4,), np.full((2, 4), 2000.0, np.float32))


@pytest.mark.parametrize("offset", [1e4, 1e7])
def test_rounding_is_no_fault(offset: float) -> None:
    """Sums that cancel lose digits in float32, in another order others; in float64 nothing differs."""
    torch.manual_seed(0)
    conv, head = nn.Conv2d(64, 64, 3, padding=1), nn.Linear(64, 5)
    conv.bias.data += offset
    head.weight.data -= head.weight.data.mean(1, keepdim=True)  # takes the offset away again
    module = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    network, answers = traced("mine", module, (64, 8, 8))
    with torch.inference_mode():
        got = faithful.build(network)(torch.from_numpy(answers.inputs)).numpy()
    assert answers.error(got) > faithful.DOUBT * answers.allowed  # or this test shows nothing


def test_what_is_allowed_follows_the_depth() -> None:
    def deep(n: int) -> Graph:
        layers = [nn.Conv2d(3, 3, 1) for _ in range(n - 1)]
        return trace(nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2)).graph

    assert allowed_error(deep(20)) == NEAR
    assert allowed_error(deep(21)) == FAR


def test_each_kind_of_input_has_its_own_scale() -> None:
    want = np.array([[1.0], [1000.0]])
    got = np.array([[1.01], [1000.0]])
    assert relative_error(want, got, ("normal", "wide")) == pytest.approx(0.01)
    assert relative_error(want, np.array([[np.nan], [1000.0]]), ("normal", "wide")) == float("inf")
    assert relative_error(want, want[:1], ("normal", "wide")) == float("inf")


ENDS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "dropout": (lambda y: F.dropout(y, 0.5), "each time it is asked"),
    "noise": (lambda y: y + torch.rand(1), "each time it is asked"),
    "softmax of the batch": (lambda y: F.softmax(y, 0), "mixes the inputs of a batch"),
    "mean of the batch": (lambda y: y - y.mean(0, keepdim=True), "mixes the inputs of a batch"),
    "infinite": (lambda y: y / 0, "not finite"),
    "for a batch of one": (lambda y: y.view(1, -1), "for a batch of"),
}


@pytest.mark.parametrize("name", ENDS)
def test_modules_whose_answers_are_of_no_use_are_refused(name: str) -> None:
    end, line = ENDS[name]
    with pytest.raises(BadInput, match=line) as e:
        traced("mine", Small(end), SHAPE)
    assert "\n" not in str(e.value)


def test_weights_that_are_not_numbers_are_named() -> None:
    module = Small()
    module.b.weight.data[0] = float("nan")
    with pytest.raises(BadInput, match="from layer 'b' on, whose weights are not"):
        traced("mine", module, SHAPE)


def test_inputs_of_the_data_that_overflow_are_not_blamed_on_the_weights() -> None:
    with pytest.raises(BadInput, match="not finite to inputs of the data from layer '.*' on; see how these are scaled"):
        ask("mine", Small().eval(), SHAPE, np.full((2, *SHAPE), 3e38, np.float32))


def test_wide_inputs_may_overflow() -> None:
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    for layer, factor in zip(module, (1e19, 5e18), strict=True):
        layer.weight.data = torch.eye(3) * factor  # standard normal inputs stay below 3e38, wider ones do not
    _, answers = traced("mine", module, (3,))
    assert answers.kinds[:4] == ("normal",) * 4
    assert len(answers.kinds) < 8
    assert np.isfinite(answers.outputs).all()


def test_the_module_is_left_as_it_was() -> None:
    class Counting(Small):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            x += 0.0
            return super().forward(x)

    module = Small().train()
    module.norm.eval()  # frozen, as fine-tunes have it
    before = {k: v.clone() for k, v in module.state_dict().items()}
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    want = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    threads = torch.get_num_threads()
    entry_of("mine", "mine", module, SHAPE)
    assert (torch.rand(1), random.random(), np.random.rand()) == want
    assert torch.get_num_threads() == threads
    assert module.training
    assert not module.norm.training
    assert module.pool.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    counting = Counting().eval()
    ask("mine", counting, SHAPE)


def test_buffers_that_forward_replaces_or_grows_are_put_back() -> None:
    class Observing(Small):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("last", torch.zeros(2))
            self.register_buffer("least", torch.zeros(0))

        def forward(self, x: Tensor) -> Tensor:
            self.last = x.flatten()[:2] + self.last
            self.least.resize_(3).fill_(1.0)
            return super().forward(x)

    module = Observing()
    before = module.last
    with undisturbed(module):
        module(torch.ones(2, *SHAPE))
    assert module.last is before
    assert not module.last.any()
    assert module.least.shape == (0,)


def test_half_precision_is_computed_in_float_and_left_alone() -> None:
    module = Small().half()
    entry = entry_of("mine", "mine", module, SHAPE)
    assert module.a.weight.dtype == torch.float16
    assert entry.network.weights["a.weight"].dtype == np.float32


def test_a_network_that_cannot_be_computed_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, lambda n: Network(n.graph, {k: a for k, a in n.weights.items() if k != "head.bias"}))
    with pytest.raises(Untraceable, match="cannot be computed"):
        traced("mine", Small(), SHAPE)


def test_what_torch_prints_of_a_failed_export_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    branching = Small(end=lambda y: y if y.sum() > 0 else -y)
    with pytest.raises(Untraceable):
        traced("mine", branching, SHAPE)
    out, err = capfd.readouterr()
    assert not out + err


def test_the_error_is_one_of_ours() -> None:
    assert issubclass(Untraceable, ChipfitError)
    assert Untraceable.exit_code == 2


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (torch.sigmoid, faithful.SATURATED),
        (lambda y: torch.sigmoid(y).view(-1, 5, 1), faithful.SATURATED),
        (lambda y: y.softmax(1), faithful.SATURATED),
        (F.relu, 0.0),
    ],
)
def test_answers_of_a_sigmoid_have_a_scale_however_small_they_are(
    end: Callable[[Tensor], Tensor], expected: float
) -> None:
    """As those of a detector on pictures that show nothing, which runtimes round to 1e-7."""
    _, answers = traced("small", Small(end), SHAPE)
    assert answers.least == expected
    want = np.full((2, 4), 4e-5, np.float32)
    assert relative_error(want, want + 1.2e-7, ("data", "data"), expected) < NEAR or not expected
    assert relative_error(want, want * 2, ("data", "data"), expected) > FAR
