"""Tracing: the graph computes what the module computes, and says what it cannot follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chipfit.core.errors import BadInput, Untraceable
from chipfit.core.graph import Graph
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from models.awkward import AWKWARD, INPUT_SHAPE
from models.cifar_resnet import resnet20

# parameters and MACs of the published definitions
ZOO = {
    "lenet5": (215_370, 3_024_384),
    "dscnn": (6_442, 1_085_376),
    "mobilenetv2": (38_602, 1_323_512),
    "vgg6": (72_666, 7_338_880),
    "resnet8": (77_754, 9_345_920),
    "resnet20": (272_186, 31_021_952),
    "vit": (456_394, 25_074_624),
}


def scrambled(module: nn.Module) -> nn.Module:
    """Batch norms with statistics that matter."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_var, 0.5, 2.0)
            nn.init.normal_(m.running_mean)
            nn.init.uniform_(m.weight, 0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize("name", ZOO)
def test_zoo_counts(name: str) -> None:
    graph = trace(BUILDERS[name](), (1, 28, 28)).graph
    assert (graph.total_params, graph.total_macs) == ZOO[name]


@pytest.mark.parametrize("name", AWKWARD)
def test_built_graph_computes_the_module(name: str) -> None:
    torch.manual_seed(0)
    module = scrambled(AWKWARD[name]())
    network = trace(module, INPUT_SHAPE)
    x = torch.randn(4, *INPUT_SHAPE)
    torch.testing.assert_close(build(network)(x), module(x), atol=1e-5, rtol=1e-5)
    again = trace(build(network), INPUT_SHAPE)
    assert again.graph.key == network.graph.key
    assert Graph.from_json(network.graph.to_json()) == network.graph


def test_option_a_shortcut_becomes_a_selection() -> None:
    module = scrambled(resnet20())
    network = trace(module, (3, 32, 32))
    selections = [o for o in network.graph if o.kind == "conv" and o["kernel"] == (1, 1)]
    assert [(o.shape, o["stride"]) for o in selections] == [((32, 16, 16), (2, 2)), ((64, 8, 8), (2, 2))]
    assert not any(o.kind in ("slice", "pad") for o in network.graph)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(build(network)(x), module(x), atol=1e-4, rtol=1e-4)


class Odd(nn.Module):
    def __init__(self, body: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, self.conv(x))  # type: ignore[operator,no-any-return]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (lambda m, y: m.norm(y), "running statistics"),
        (lambda m, y: (y, y), "more than one tensor"),
        (lambda m, y: y.transpose(0, 1), "batch"),
        (lambda m, y: torch.softmax(y, 0), "over the batch"),
        (lambda m, y: y.argmax(1), "int64"),
        (lambda m, y: y + torch.rand(8, 16, 16), "another|own"),
        (lambda m, y: torch.bernoulli(torch.sigmoid(y)), "random"),
        (lambda m, y: y + F.one_hot(torch.arange(len(y)) % 4, 1 << 22).float().sum(), "constant of .* GB"),
        (lambda m, y: y if y.sum() > 0 else -y, "cannot be traced"),
    ],
)
def test_names_what_no_network_computes(body: object, named: str) -> None:
    with pytest.raises(Untraceable, match=named):
        trace(Odd(body), INPUT_SHAPE)


def test_wrong_input_shape_is_one_line() -> None:
    with pytest.raises(BadInput, match=r"does not take an input of shape \(1, 16, 16\)") as e:
        trace(AWKWARD["Concat"](), (1, 16, 16))
    assert "\n" not in str(e.value)


def test_build_names_a_weight_of_the_wrong_shape() -> None:
    network = trace(AWKWARD["Flat"](), INPUT_SHAPE)
    network.weights["hidden.weight"] = network.weights["hidden.weight"][:, :-1]
    with pytest.raises(ValueError, match=r"'hidden.weight' is of shape \(24, 255\)"):
        build(network)


def test_trained_weights_come_back() -> None:
    network = trace(AWKWARD["Shared"](), INPUT_SHAPE)
    back = build(network).network()
    assert back.digest() == network.digest()
