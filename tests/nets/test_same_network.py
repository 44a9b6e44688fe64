"""Structures of ordinary code: what is traced computes what the module computes, built and in a file, at any batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from chipfit.core.errors import Untraceable
from chipfit.core.graph import Graph, Network
from chipfit.export.fold import fold
from chipfit.export.formats import writer
from chipfit.export.onnx import write as write_onnx
from chipfit.nets.build import build
from chipfit.nets.trace import trace

SHAPE = (3, 12, 12)


class Net(nn.Module):
    """A convolution of 3 to 8 channels, `body` on its output, and a head; `parts` become its attributes."""

    def __init__(self, body: Callable[[nn.Module, Tensor], Tensor], **parts: object) -> None:
        super().__init__()
        self.stem, self.next = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 10)
        self.body = body
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(self, self.stem(x))
        return y if y.dim() == 2 else self.head(y.mean((2, 3)))


def scrambled(module: nn.Module) -> nn.Module:
    """Biases, norms and slopes that matter."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.dim() == 1 or "gamma" in name:
                p.uniform_(0.5, 1.5)
        for m in module.modules():
            if isinstance(m, nn.BatchNorm2d) and m.running_var is not None:
                m.running_var.uniform_(0.5, 2.0)
                m.running_mean.normal_()
    return module.eval()


def agree(module: nn.Module, shape: tuple[int, ...] = SHAPE, formats: tuple[str, ...] = ()) -> Network:
    """The network, whose module, built network and files give the same answers in two batch sizes."""
    module = scrambled(module)
    network = trace(module, shape)
    session = ort.InferenceSession(write_onnx(network, batch=None).data, providers=["CPUExecutionProvider"])
    for n in (1, 5):
        x = torch.randn(n, *shape, generator=torch.Generator().manual_seed(n))
        with torch.no_grad():
            want = module(x.clone()).reshape(n, -1).numpy()
            built = build(network)(x.clone()).reshape(n, -1).numpy()
        scale = np.abs(want).max()
        np.testing.assert_allclose(built, want, rtol=0, atol=2e-5 * scale)
        file = session.run(None, {"input": x.numpy()})[0].reshape(n, -1)
        np.testing.assert_allclose(file, want, rtol=0, atol=2e-5 * scale)
    assert Graph.from_json(network.graph.to_json()) == network.graph
    return network


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _preactivation(m: nn.Module, y: Tensor) -> Tensor:
    shortcut = y[:, :, ::2, ::2]
    return F.conv2d(F.relu(y, inplace=True), m.next.weight, m.next.bias, 2, 1) + shortcut


def _changed_view(view: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Tensor], Tensor]:
    def body(m: nn.Module, y: Tensor) -> Tensor:
        y = y * 1.0 if y.requires_grad else y.clone()
        view(y).relu_()
        return m.next(y)

    return body


def _changed_after_reading(m: nn.Module, y: Tensor) -> Tensor:
    turned = y.transpose(2, 3)
    y.mul_(0.5).add_(1.0)
    return m.next(y) + turned


def _halves(m: nn.Module, y: Tensor) -> Tensor:
    a, b = y.chunk(2, 1)
    a.add_(b)
    b.mul_(3)
    return m.next(y)


IN_PLACE = {
    "a shortcut sliced before": _preactivation,
    "slice": _changed_view(lambda y: y[:, :4]),
    "slice in the middle": _changed_view(lambda y: y[:, 2:5]),
    "one channel": _changed_view(lambda y: y[:, 3]),
    "rows": _changed_view(lambda y: y[:, :, 2:-1]),
    "transpose": _changed_view(lambda y: y.transpose(1, 2)),
    "flatten": _changed_view(lambda y: y.flatten(1)),
    "detach": _changed_view(lambda y: y.detach()),
    "unbind": _changed_view(lambda y: y.unbind(1)[2]),
    "split": _changed_view(lambda y: y.split(4, 1)[1]),
    "read before": _changed_after_reading,
    "halves": _halves,
    "assignment": lambda m, y: m.next(_assigned(y)),
}


def _assigned(y: Tensor) -> Tensor:
    y = y.clone()
    y[:, :2] = y[:, 2:4] * 2
    y[:, 7] = y[:, 0]
    return y


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_operators_are_what_they_are(name: str) -> None:
    with torch.no_grad():
        agree(Net(IN_PLACE[name]))


GAMMA = {"gamma": lambda: nn.Parameter(torch.rand(8, 1, 1)), "first": lambda: nn.Parameter(torch.rand(1, 8, 1, 1))}

ARITHMETIC = {
    "x * 0.5": lambda m, y: m.next(y * 0.5),
    "x / 255": lambda m, y: m.next(y / 255),
    "x + 1": lambda m, y: m.next(y + 1),
    "1 - x": lambda m, y: m.next(1 - y),
    "-x": lambda m, y: m.next(-y),
    "x.sub(2, alpha=.5)": lambda m, y: m.next(y.sub(2, alpha=0.5)),
    "add with alpha": lambda m, y: torch.add(y, m.next(y), alpha=0.25),
    "sub with alpha": lambda m, y: torch.sub(y, m.next(y), alpha=3),
    "rsub": lambda m, y: m.next(torch.rsub(y, 2.0, alpha=0.5)),
    "2 * x - 1 in place": lambda m, y: m.next(y.mul_(2).sub_(1)),
    "0 + x": lambda m, y: m.next(sum([y, y * 2])),
    "normalised": lambda m, y: m.next((y - m.mean) / m.std),
    "normalised, flat buffers": lambda m, y: m.next((y - m.flat[:, None, None]) / m.flat.view(1, -1, 1, 1)),
    "a tensor made in forward": lambda m, y: m.next(y * torch.tensor([0.5]) + torch.ones(8, 1, 1)),
    "a plain attribute": lambda m, y: m.next(y - m.plain[0]),
    "under no_grad": lambda m, y: m.next(_halved(y)),
    "expand_as": lambda m, y: y * torch.sigmoid(m.next(y).mean((2, 3), keepdim=True)).expand_as(y),
    "expand": lambda m, y: y + m.next(y).amax((2, 3), keepdim=True).expand(-1, -1, 12, 12),
    "flat arithmetic": lambda m, y: m.head(m.next(y).mean((2, 3)) * 2 - m.flat) / 3,
}


def _halved(y: Tensor) -> Tensor:
    with torch.no_grad():
        return y * 0.5


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_with_constants(name: str) -> None:
    parts = {"mean": torch.rand(1, 8, 1, 1), "std": torch.rand(8, 1, 1) + 0.5, "flat": torch.rand(8) + 0.5}
    module = Net(ARITHMETIC[name], **parts, plain=[torch.rand(8, 1, 1)])
    assert agree(module).graph.total_params == count(module)


def test_scales_and_shifts_behind_one_another_are_one() -> None:
    parts = {"mean": torch.rand(8, 1, 1), "std": torch.rand(8, 1, 1) + 1}
    module = Net(lambda m, y: m.next(((y / 255 - m.mean) / m.std) * 2 + 1), **parts)
    network = agree(module)
    (o,) = [o for o in network.graph if o.kind == "affine"]
    assert (o["scale"], o["shift"], o["single"], o["learnt"]) == (1, 1, 0, 0)


@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 8, 1, 1), (1,), ()])
def test_learnt_scales_are_counted_and_trained(shape: tuple[int, ...]) -> None:
    module = Net(lambda m, y: y + m.gamma * m.next(y), gamma=nn.Parameter(torch.rand(shape)))
    network = agree(module)
    assert network.graph.total_params == count(module)
    (o,) = [o for o in network.graph if o.kind == "affine"]
    scale = build(network).layer(o).scale
    assert isinstance(scale, nn.Parameter)
    assert scale.numel() == module.gamma.numel()


FORMS = {
    "mean over one axis after the other": lambda m, y: m.head(m.next(y).mean(3).mean(2)),
    "mean from the last": lambda m, y: m.head(m.next(y).mean(-1).mean(-1)),
    "mean with kept axes": lambda m, y: y * m.next(y).mean(2, keepdim=True).mean(3, keepdim=True),
    "amax": lambda m, y: m.head(m.next(y).amax((2, 3))),
    "amax one after the other": lambda m, y: m.head(m.next(y).amax(-1).amax(-1)),
    "adaptive max pool": lambda m, y: m.head(F.adaptive_max_pool2d(m.next(y), 1).flatten(1)),
    "adaptive max pool to 4": lambda m, y: m.next(F.adaptive_max_pool2d(y, 4)),
    "adaptive pool to the size there is": lambda m, y: m.next(F.adaptive_avg_pool2d(y, (12, 12))),
    "adaptive pool to one side": lambda m, y: m.next(F.adaptive_avg_pool2d(y, (None, 4))),
    "adaptive pool to a third": lambda m, y: m.next(F.adaptive_avg_pool2d(y, (4, 6))),
    "log_softmax": lambda m, y: F.log_softmax(m.head(y.mean((2, 3))), dim=-1),
    "log of channels": lambda m, y: m.next(F.log_softmax(y, 1)),
    "softmax in float32": lambda m, y: F.softmax(m.head(y.mean((2, 3), dtype=torch.float32)), 1, dtype=torch.float32),
    "softmax of channels": lambda m, y: m.next(F.softmax(y, -3)),
    "clamp": lambda m, y: m.next(y.clamp(-0.5, 0.25)),
    "clamp to 6": lambda m, y: m.next((y * 5).clamp(0, 6)),
    "clamp below": lambda m, y: m.next(y.clamp(min=0.1)),
    "relu as clamp": lambda m, y: m.next(y.clamp_min(0)),
    "hardtanh": lambda m, y: m.next(F.hardtanh(y)),
    "tanh gelu": lambda m, y: m.next(F.gelu(y * 3, approximate="tanh")),
    "gelu": lambda m, y: m.next(F.gelu(y * 3)),
    "prelu": lambda m, y: m.next(m.prelu(y)),
    "prelu, one slope": lambda m, y: m.next(m.slope(y)),
    "view by hand": lambda m, y: m.flat(y[:, :, :1, :3].reshape(y.size(0), -1)),
    "squeeze": lambda m, y: m.head(F.avg_pool2d(m.next(y), 12).squeeze(-1).squeeze(-1)),
    "unsqueeze": lambda m, y: y * m.head2(y.mean((2, 3))).unsqueeze(-1).unsqueeze(-1),
    "select": lambda m, y: m.head(m.next(y)[:, :, 3, -1]),
    "strided slice with stop": lambda m, y: m.next(y[:, :, :10:2, :10:2]),
    "strided slice, odd": lambda m, y: m.next(y[:, :, 1::2, 1::2]),
    "strided slice to the end": lambda m, y: m.next(y[:, :, :11:2, ::2]),
    "strided slice, unlike": lambda m, y: m.next(y[:, :, ::2, ::3]),
    "option A": lambda m, y: m.wide(F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))),
    "a selection that drops channels": lambda m, y: m.narrow(F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, -2, 0))),
    "a selection padded in space": lambda m, y: m.next(F.pad(y[:, :, ::2, ::2], (1, 1, 0, 2))),
    "pad and crop": lambda m, y: m.next(F.pad(y, (2, -1, -3, 1))),
    "ceil pool": lambda m, y: m.next(F.avg_pool2d(y, 5, 3, 1, ceil_mode=True, count_include_pad=False)),
    "dropout in evaluation": lambda m, y: m.next(F.dropout(y, 0.5, m.training)),
    "to float32": lambda m, y: m.next(y.to(torch.float32).float().type_as(y)),
    "sub-graph of autocast off": lambda m, y: _without_autocast(m, y),
}  # fmt: skip


def _without_autocast(m: nn.Module, y: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return m.next(y)


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_ordinary_code(name: str) -> None:
    parts = {"prelu": nn.PReLU(8), "slope": nn.PReLU(), "wide": nn.Conv2d(16, 8, 1), "narrow": nn.Conv2d(6, 8, 1)}
    agree(Net(FORMS[name], **parts, flat=nn.Linear(24, 10), head2=nn.Linear(8, 8)))


def test_a_selection_is_one_convolution_only_where_it_is_exact() -> None:
    convs = {
        stop: sum(o.kind == "conv" for o in trace(Net(lambda m, y, s=stop: m.next(y[:, :, :s:2, :s:2])), SHAPE).graph)
        for stop in (12, 11, 10)
    }
    assert convs == {12: 3, 11: 3, 10: 2}


# ties


def _tied(**changes: object) -> nn.Module:
    """Two convolutions with one weight, the second made with these arguments."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.a = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.b = nn.Conv2d(8, 8, 3, **{"padding": 1, **changes})
            self.b.weight = self.a.weight
            self.norm, self.other = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
            self.other.weight, self.other.bias = self.norm.weight, self.norm.bias
            self.head = nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.norm(self.a(F.relu(self.stem(x)))))
            return self.head(F.relu(self.other(self.b(y))).mean((2, 3)))

    return Tied()


TIES = {
    "other bias": {},
    "one without bias": {"bias": False},
    "other stride": {"stride": 2},
    "other dilation": {"dilation": 2, "padding": 2},
    "other padding": {"padding": 0},
}


@pytest.mark.parametrize("name", TIES)
def test_tied_weights(name: str) -> None:
    module = _tied(**TIES[name])
    network = agree(module)
    assert network.graph.total_params == count(module)
    built = build(network)
    layers = [built.layer(o) for o in network.graph if o.kind == "conv"][1:]
    assert layers[0].weight is layers[1].weight
    assert sum(p.numel() for p in built.parameters()) == count(module)
    assert built.network().digest() == network.digest()
    again = trace(built, SHAPE)
    assert again.graph.key == network.graph.key
    for format in ("tflite", "ncnn", "safetensors"):
        assert writer(format)(network).data


class Twice(nn.Module):
    """A block used twice, a layer under two names, and a bias that is another layer's too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.PReLU(8))
        self.alias = self.block[0]
        self.extra = nn.Conv2d(8, 8, 1)
        self.extra.bias = self.stem.bias
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(self.block(self.stem(x)))
        return self.head(self.extra(self.alias(y)).mean((2, 3)))


def test_shared_modules_and_biases() -> None:
    module = Twice()
    network = agree(module)
    assert network.graph.total_params == count(module)
    convs = [o for o in network.graph if o.kind == "conv" and o["kernel"] == (3, 3)]
    assert len({o.weights for o in convs}) == 2
    assert len({o.weights for o in network.graph if o.kind == "prelu"}) == 1


class Folded(nn.Module):
    """One weight in five places: with a norm, another, a scale, a scale and a bias of its own, and as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.a, self.b = (nn.Conv2d(8, 8, 3, padding=1, bias=bias) for bias in (False, True))
        self.b.weight = self.a.weight
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))
        self.gamma, self.head = nn.Parameter(torch.rand(8, 1, 1)), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](self.a(self.stem(x))))
        y = F.relu(self.norms[1](self.a(y)))
        y = F.relu(self.norms[1](self.a(y)))
        y = F.relu(self.gamma * self.b(F.relu(self.gamma * self.a(y))))
        return self.head((self.a(y) + self.b(y)).mean((2, 3)))


def test_what_is_folded_into_a_shared_weight_stays_apart() -> None:
    module = Folded()
    network = agree(module)
    assert network.graph.total_params == count(module)
    folded = fold(network).graph
    convs = {o.array("weight") for o in folded if o.kind == "conv"} - {"stem.weight"}
    assert len(convs) == 5
    assert not any(o.kind in ("batch_norm", "affine") for o in folded)


class Names(nn.Module):
    """Layers with names that have a meaning elsewhere."""

    LAYERS = ("input", "output", "logits", "keys", "pop", "conv", "relu", "layers", "a/q", "a@2", "a b", "é", "weight")

    def __init__(self) -> None:
        super().__init__()
        for name in self.LAYERS:
            self.add_module(name, nn.Conv2d(3, 3, 3, padding=1))
        self.a = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1))
        self.add_module("a/0", nn.Conv2d(3, 3, 1))
        self.head = nn.Linear(3, 10)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.LAYERS:
            x = x + getattr(self, name)(F.relu(x))
        return self.head(getattr(self, "a/0")(self.a(x)).mean((2, 3)))


def test_names_are_given_once() -> None:
    network = agree(Names())
    names = [o.name for o in network.graph]
    assert len(set(names)) == len(names)
    assert names[0] == "input"
    for format in ("tflite", "ncnn", "openvino", "safetensors"):
        assert writer(format)(network).data


# weights that forward computes


class Standardised(nn.Conv2d):
    """Weight standardisation."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, w / (w.std((1, 2, 3), keepdim=True) + 1e-5), self.bias, 1, 1)


COMPUTED = {
    "standardised": lambda: Standardised(8, 8, 3, padding=1),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(8, 8, 3, padding=1)),
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1)),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_computed_weights_become_what_they_are(name: str) -> None:
    torch.manual_seed(0)
    network = agree(Net(lambda m, y: m.made(F.relu(y)), made=COMPUTED[name]()))
    assert sum(o.kind == "conv" for o in network.graph) == 2
    assert network.graph.total_params == count(Net(lambda m, y: y))  # one convolution like `next` in its place


@pytest.mark.parametrize("name", ["normalised", "expand_as", "2 * x - 1 in place"])
def test_the_graph_is_traced_from_what_is_built_of_it(name: str) -> None:
    parts = {"mean": torch.rand(1, 8, 1, 1), "std": torch.rand(8, 1, 1) + 0.5, "flat": torch.rand(8) + 0.5}
    network = trace(scrambled(Net(ARITHMETIC[name], **parts)), SHAPE)
    assert trace(build(network), SHAPE).graph.key == network.graph.key


def test_equal_values_of_different_parameters_stay_apart() -> None:
    def two(m: nn.Module, y: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(y, m.a * 2, padding=1).relu(), m.b * 2, padding=1)

    a = torch.randn(8, 8, 3, 3)
    network = agree(Net(two, a=nn.Parameter(a.clone()), b=nn.Parameter(a.clone())))
    assert not network.graph.sharing
    assert sum(p.numel() for p in build(network).parameters()) == 2 * a.numel() + 3 * 8 * 9 + 8 + 8 * 10 + 10


@pytest.mark.parametrize(
    "body",
    [
        lambda m, y: torch.add(m.next(torch.add(y, m.gamma, alpha=2)), m.gamma, alpha=3),
        lambda m, y: m.next(y * torch.sigmoid(m.gamma)) * (1 - torch.sigmoid(m.gamma)),
        lambda m, y: m.next(y * m.gamma) * (1 - m.gamma) + m.gamma.exp().view(1, 8, 1, 1),
    ],
)
def test_a_parameter_changed_in_several_ways_stays_one_that_is_trained(body: object) -> None:
    module = Net(body, gamma=nn.Parameter(torch.arange(8.0).view(8, 1, 1)))
    network = agree(module)
    assert network.graph.total_params == sum(p.numel() for p in module.parameters())
    assert network.graph.sharing


def _autocast(m: nn.Module, y: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return m.next(y).float()


def _second(y: Tensor) -> Tensor:
    y = y.clone()
    y[:, ::2].mul_(2)
    return y


TAKEN = {
    "softmax in double": lambda m, y: F.softmax(y, 1, dtype=torch.float64).float(),
    "double": lambda m, y: y.double().float(),
    "reflect": lambda m, y: F.pad(y, (1, 1, 1, 1), mode="reflect"),
    "filled": lambda m, y: F.pad(y, (1, 1, 1, 1), value=0.5),
    "dilated": lambda m, y: F.max_pool2d(y, 2, dilation=2),
    "divisor": lambda m, y: F.avg_pool2d(y, 2, padding=1, count_include_pad=False, divisor_override=3),
    "a map of constants": lambda m, y: y + m.map,
    "a constant per row": lambda m, y: y * m.map[0, :, :1],
    "dividing by values": lambda m, y: y / (m.next(y).abs() + 1),
    "one axis": lambda m, y: m.next(y.mean(2, keepdim=True)),
    "a mean of columns": lambda m, y: m.next(y).mean(3).flatten(1)[:, :10],
    "pools of rows": lambda m, y: F.max_pool2d(y.flatten(1, 2), 2)[:, :8, 0],
    "means of rows": lambda m, y: F.avg_pool2d(y.flatten(1, 2), 2)[:, :8, 0],
    "in place, every second": lambda m, y: _second(y),
    "concatenated constant": lambda m, y: torch.cat([y[:, 4:], m.map[None, 4:].expand(len(y), -1, -1, -1)], 1),
}  # fmt: skip
"""What rules do not carry over: it is taken as it is, or has become known since."""


@pytest.mark.parametrize("name", TAKEN)
def test_what_rules_do_not_carry_over_is_the_module_all_the_same(name: str) -> None:
    agree(Net(TAKEN[name], map=torch.rand(8, 12, 12)))


# what is refused, and how


class Attributes(nn.Module):
    """A layer whose weight is used as it is and changed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.stem(x))
        return self.head(F.conv2d(y, self.conv.weight.flip(3), padding=1).mean((2, 3)))


class Reshaped(nn.Module):
    """A 1x1 convolution whose weight is a dense layer's too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.stem(x)).mean((2, 3))
        return self.head(F.linear(y, self.conv.weight.flatten(1), self.conv.bias))


class Counting(nn.Module):
    """A buffer that each call changes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1.0)
        return self.head((self.stem(x) * self.calls).mean((2, 3)))


REFUSED = {
    "half": (lambda m, y: y.half().float(), "dtype=torch.float16"),
    "autocast": (_autocast, "autocast|bfloat16"),
    "softmax over the batch": (lambda m, y: F.softmax(y, 0), "'softmax' over the batch axis"),
    "softmax from behind": (lambda m, y: F.softmax(y, -4), "'softmax' over the batch axis"),
    "log over the batch": (lambda m, y: F.log_softmax(y, 0), "'log_softmax' over the batch axis"),
    "concatenation of inputs": (lambda m, y: torch.cat([y, y], 0)[:3], "batch"),
    "training norm": (lambda m, y: F.batch_norm(y, None, None, training=True), "running statistics"),
    "random": (lambda m, y: y + torch.randn(8, 1, 1), "'randn' makes values of its own"),
    "a constant as answer": (lambda m, y: m.map.mean((1, 2))[None].expand(3, 8), "its input does not set"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_carried_over_is_refused_in_one_line(name: str) -> None:
    body, line = REFUSED[name]
    with pytest.raises(Untraceable, match=line) as e:
        trace(Net(body, map=torch.rand(8, 12, 12)), SHAPE)
    assert "\n" not in str(e.value)


def test_a_parameter_in_two_shapes_is_one_array() -> None:
    torch.manual_seed(0)
    network = agree(Reshaped())
    assert network.graph.total_params == sum(p.numel() for p in Reshaped().parameters())


def test_a_layers_weight_that_is_changed_elsewhere_stays_one_parameter() -> None:
    network = agree(Attributes())
    assert network.graph.total_params == sum(p.numel() for p in Attributes().parameters())
    assert [o.kind for o in network.graph if o.kind in ("conv", "opaque")] == ["conv", "conv", "opaque"]


def test_state_is_refused() -> None:
    with pytest.raises(Untraceable, match="changes buffer 'calls'"):
        trace(Counting(), SHAPE)


def test_an_argument_with_a_default_is_no_input() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: float = 1.0) -> Tensor:
            return (x * y).flatten(1)

    network = agree(Two())  # a default that does nothing
    assert [o.kind for o in network.graph] == ["input", "flatten"]
