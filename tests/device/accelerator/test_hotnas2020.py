"""Every recorded figure of the released model, to the digit (1e-9: its sums ran in another order)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph
from chipfit.device.accelerator.hotnas2020 import (
    ConvLayer,
    Design,
    Engine,
    Variant,
    bram18,
    conv_designs,
    dsp,
    explore,
    layer_cycles,
    layers_of,
    network_cycles,
    network_ms,
    two_engine_designs,
)
from chipfit.nets.published import Sheet, published

EXACT = 1e-9
Table = list[dict[str, str]]
Read = Callable[[str], Table]


def conv(tm: int, tn: int, tr: int, tc: int, tk: int, *ports: int) -> Design:
    return Design(Engine(tm, tn, tr, tc, tk, *ports))


def two(tm: int, tn: int, tk: int, ports: tuple[int, int, int], tm_dw: int, tk_dw: int) -> Design:
    return Design(Engine(tm, tn, 32, 32, tk, *ports), Engine(tm_dw, 1, 32, 32, tk_dw, *ports))


def recorded(row: dict[str, str]) -> ConvLayer:
    names = ("outputs", "inputs", "rows", "columns", "kernel", "stride", "padding")
    return ConvLayer(*(int(row[n]) for n in names), depthwise=row["depthwise"] == "1")


ALEXNET = conv(70, 36, 64, 32, 11, 18, 6, 2)
RESNET18 = conv(70, 36, 64, 64, 7, 18, 6, 6)
MOBILENET_C = two(160, 12, 3, (10, 10, 10), 576, 3)
MOBILENET_B = two(100, 23, 3, (6, 10, 14), 192, 3)
MNASNET_C = two(100, 18, 3, (10, 10, 10), 704, 5)
MNASNET_B = two(70, 33, 3, (10, 10, 10), 192, 5)
MNASNET05_C = two(100, 16, 3, (6, 10, 14), 832, 5)
MNASNET05_B = two(70, 33, 3, (6, 10, 14), 192, 5)

TABLES: list[tuple[str, Variant, str, Design, float]] = [
    *(("alexnet", v, "clamped", ALEXNET, 404_830) for v in ("padded", "unclamped", "clamped")),
    ("mobilenetv2", "clamped", "clamped", MOBILENET_C, 1_258_579.2),
    ("mobilenetv2", "unclamped", "unclamped", MOBILENET_B, 1_745_897.314286),
    ("mnasnet1_0", "clamped", "clamped", MNASNET_C, 1_188_511.2),
    ("mnasnet1_0", "unclamped", "unclamped", MNASNET_B, 2_283_316.0),
    ("mnasnet0_5", "clamped", "clamped", MNASNET05_C, 798_281.6),
    ("mnasnet0_5", "unclamped", "unclamped", MNASNET05_B, 1_419_780.4),
    ("resnet18", "padded", "padded", RESNET18, 1_257_440),
    ("resnet18", "clamped", "clamped", RESNET18, 1_254_656),
]


@pytest.mark.parametrize(("name", "variant", "column", "design", "total"), TABLES)
def test_cycles_of_each_recorded_layer(
    table: Read, name: str, variant: Variant, column: str, design: Design, total: float
) -> None:
    layers = [recorded(row) for row in table(name)]
    found = [float(layer_cycles(layer, design, variant).latency) for layer in layers]
    assert found == pytest.approx([float(row[column]) for row in table(name)], abs=1e-6)  # six recorded decimals
    assert float(network_cycles(layers, design, variant)) == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize(("name", "variant", "column", "design", "total"), [t for t in TABLES if t[1] == "clamped"])
def test_bottleneck_of_each_recorded_layer(
    table: Read, name: str, variant: Variant, column: str, design: Design, total: float
) -> None:
    labels = [layer_cycles(recorded(row), design, variant).bottleneck for row in table(name)]
    assert labels == [row["label"] for row in table(name)]


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("alexnet", "alexnet"),
        ("mobilenetv2", "mobilenet_v2"),
        ("mnasnet1_0", "mnasnet1_0"),
        ("mnasnet0_5", "mnasnet0_5"),
        ("resnet18", "resnet18"),
    ],
)
def test_a_graph_is_traced_to_the_recorded_layers(table: Read, name: str, drawn: str) -> None:
    assert list(layers_of(published(drawn))) == [recorded(row) for row in table(name)]


WIDE = conv(130, 19, 64, 64, 7, 18, 6, 6)
VGG = conv(70, 36, 256, 32, 3, 10, 6, 10)
DENSE = conv(70, 36, 64, 64, 7, 10, 14, 6)

PADDED: list[tuple[str, Design, float]] = [
    ("alexnet", ALEXNET, 4.0483),
    ("resnet18", RESNET18, 12.5744),
    ("resnet34", RESNET18, 20.77232),
    ("resnet50", WIDE, 31.513391111111115),
    ("resnet101", WIDE, 42.52410222222224),
    ("resnet152", WIDE, 52.954644444444476),
    ("wide_resnet50_2", WIDE, 62.63556),
    ("wide_resnet101_2", WIDE, 95.38776),
    ("vgg11", conv(130, 19, 64, 64, 3, 10, 6, 14), 42.96028571428571),
    ("vgg13", VGG, 67.84992),
    ("vgg16", VGG, 91.02528),
    ("vgg19", VGG, 114.20064),
    ("squeezenet1_1", conv(70, 36, 64, 64, 3, 6, 14, 10), 5.081707142857143),
    ("squeezenet1_0", conv(130, 19, 64, 64, 7, 6, 10, 14), 9.51259761904762),
    ("densenet121", DENSE, 35.94061333333333),
    ("densenet169", DENSE, 44.79733333333333),
    ("densenet201", DENSE, 55.76221333333333),
    ("densenet161", conv(100, 25, 64, 64, 7, 10, 14, 6), 75.81187333333334),
]


@pytest.mark.parametrize(("name", "design", "ms"), PADDED)
def test_recorded_latency_of_one_engine(name: str, design: Design, ms: float) -> None:
    assert float(network_ms(layers_of(published(name)), design, "padded")) == pytest.approx(ms, rel=EXACT)


@pytest.mark.parametrize(
    ("name", "variant", "design", "ms"),
    [
        ("alexnet", "unclamped", ALEXNET, 4.0483),
        ("alexnet", "clamped", ALEXNET, 4.0483),
        ("resnet18", "unclamped", RESNET18, 12.54656),
        ("resnet18", "clamped", RESNET18, 12.54656),
        ("resnet34", "unclamped", RESNET18, 20.74448),
        ("resnet34", "clamped", RESNET18, 20.74448),
        ("mobilenet_v2", "clamped", MOBILENET_C, 12.585792),
        ("mobilenet_v2", "unclamped", MOBILENET_B, 17.458973142857147),
        ("mnasnet1_0", "clamped", MNASNET_C, 11.885112),
        ("mnasnet1_0", "unclamped", MNASNET_B, 22.83316),
        ("mnasnet0_5", "clamped", MNASNET05_C, 7.982816),
        ("mnasnet0_5", "unclamped", MNASNET05_B, 14.197804),
    ],
)
def test_recorded_latency_by_variant(name: str, variant: Variant, design: Design, ms: float) -> None:
    layers = layers_of(published(name))
    assert float(network_ms(layers, design, variant)) == pytest.approx(ms, rel=EXACT)
    assert float(network_ms(layers, design, variant, mhz=200)) == pytest.approx(ms / 2, rel=EXACT)


CIFAR = [
    ("resnet18", conv(130, 19, 32, 32, 3, 18, 2, 10), 6.872905555555555),
    ("resnet34", conv(130, 19, 32, 32, 3, 18, 2, 10), 12.885985555555555),
    ("resnet50", conv(130, 19, 32, 32, 3, 18, 6, 6), 14.537427777777776),
]


@pytest.mark.parametrize(
    ("name", "design", "ms"), [*CIFAR, ("densenet121", conv(70, 36, 32, 32, 3, 18, 6, 6), 8.029626666666667)]
)
def test_recorded_latency_on_small_pictures(name: str, design: Design, ms: float) -> None:
    layers = layers_of(published(name, size=32, classes=10))
    assert float(network_ms(layers, design)) == pytest.approx(ms, rel=EXACT)


LEGAL = {7: 2088, 3: 2448, 11: 1152}


@pytest.mark.parametrize(("name", "design", "ms"), PADDED)
def test_the_exploration_finds_the_recorded_design(name: str, design: Design, ms: float) -> None:
    layers = layers_of(published(name))
    tk = max(layer.kernel for layer in layers)
    found = explore(layers, conv_designs(tk), "padded", swapped_memory=True)
    assert found.design == design
    assert found.cycles / 1e5 == pytest.approx(ms, rel=EXACT)
    assert found.legal == LEGAL[tk]


@pytest.mark.parametrize(
    ("name", "variant", "tks", "design", "ms"),
    [
        ("mobilenet_v2", "clamped", (3, 3), MOBILENET_C, 12.585792),
        ("mnasnet1_0", "clamped", (3, 5), MNASNET_C, 11.885112),
        ("mnasnet0_5", "clamped", (3, 5), MNASNET05_C, 7.982816),
        ("mobilenet_v2", "unclamped", (3, 3), MOBILENET_B, 17.458973142857147),
        ("mnasnet1_0", "unclamped", (3, 5), MNASNET_B, 22.83316),
        ("mnasnet0_5", "unclamped", (3, 5), MNASNET05_B, 14.197804),
    ],
)
def test_the_exploration_of_two_engines(
    name: str, variant: Variant, tks: tuple[int, int], design: Design, ms: float
) -> None:
    found = explore(layers_of(published(name)), two_engine_designs(*tks), variant)
    assert found.legal == 4608
    assert found.cycles / 1e5 == pytest.approx(ms, rel=EXACT)
    assert found.design == design


@pytest.mark.parametrize(("name", "design", "ms"), CIFAR)
def test_the_exploration_on_small_pictures(name: str, design: Design, ms: float) -> None:
    found = explore(layers_of(published(name, size=32, classes=10)), conv_designs(3))
    assert found.cycles / 1e5 == pytest.approx(ms, rel=EXACT)
    assert found.design == design


@pytest.mark.parametrize(
    ("name", "design", "ms"),
    [
        ("resnet18", conv(70, 36, 256, 256, 7, 18, 6, 6), 12.24521),
        ("resnet34", conv(70, 36, 256, 256, 7, 18, 6, 6), 20.44313),
        ("alexnet", conv(70, 36, 64, 64, 11, 14, 6, 2), 3.98175),
    ],
)
def test_the_exploration_without_a_check_of_memory(name: str, design: Design, ms: float) -> None:
    layers = layers_of(published(name))
    found = explore(layers, conv_designs(max(layer.kernel for layer in layers)))
    assert found.legal == 5184
    assert found.cycles / 1e5 == pytest.approx(ms, abs=5e-6)  # five recorded decimals
    assert found.design == design


def test_resources_of_the_published_designs() -> None:
    assert bram18(RESNET18.conv) == 3368
    assert bram18(ALEXNET.conv) == 2944
    assert dsp(RESNET18) == 2520
    assert dsp(MOBILENET_C) == 160 * 12 + 576
    # depth-wise: bI and bO of 576 channels at one memory each, bW of 576
    assert MOBILENET_C.depthwise is not None
    assert bram18(MOBILENET_C.depthwise, depthwise=True) == 2 * 576 + 2 * 576 + 576


def test_fewer_bits_and_taps() -> None:
    """By hand: W_p = 10 ports 10 words of 16 bits, 26 of 6; 5 of 9 taps leave 5 x 8 x 8 cycles of arithmetic."""
    layer, design = ConvLayer(8, 8, 8, 8, 3, 1, 1), conv(8, 8, 8, 8, 3, 10, 64, 64)
    dense = layer_cycles(layer, design)
    assert float(dense.latency) == 9 * 8 * 8
    few = layer_cycles(replace(layer, ones=5, weight_bits=6), design)
    assert float(few.computing) == 5 * 8 * 8
    assert float(few.weights) == pytest.approx(8 * 8 * 9 / 26)
    assert float(dense.totals["W"]) == pytest.approx(8 * 8 * 9 / 10)


def test_many_designs_at_once_are_each_by_itself() -> None:
    layers, designs = layers_of(published("mnasnet1_0")), two_engine_designs(3, 5)
    together = network_cycles(layers, designs)
    assert designs.depthwise is not None
    for place in (0, 1234, 4607):
        ports = (int(p[place]) for p in (designs.conv.weight_port, designs.conv.input_port, designs.conv.output_port))
        alone = two(int(designs.conv.tm[place]), int(designs.conv.tn[place]), 3, tuple(ports), 0, 5)
        alone = Design(alone.conv, replace(alone.conv, tm=int(designs.depthwise.tm[place])))
        assert float(network_cycles(layers, alone)) == pytest.approx(together[place], rel=1e-12)


def drawn(groups: int = 1, kernel: tuple[int, int] = (3, 3)) -> Graph:
    sheet = Sheet(8, channels=8)
    pairs = {"kernel": kernel, "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    sheet.put("conv", ["input"], (8, 8, 8), groups=groups, bias=0, **pairs)
    return sheet.graph("conv1")


def test_what_the_release_ended_at_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="no rule for 'conv1', a convolution in 4 groups; use v2"):
        layers_of(drawn(groups=4))
    with pytest.raises(BadInput, match=r"'conv1', whose kernel \(3, 1\) is not square"):
        layers_of(drawn(kernel=(3, 1)))
    with pytest.raises(BadInput, match="no engine for them"):
        network_cycles(layers_of(drawn(groups=8)), RESNET18)


def test_no_design_within_memory() -> None:
    one = Design(Engine(*(np.array([v]) for v in (220, 11, 256, 256, 7, 2, 2, 2))))
    with pytest.raises(BadInput, match="smaller tiles"):
        explore([ConvLayer(8, 8, 8, 8, 3, 1, 1)], one, swapped_memory=True)
