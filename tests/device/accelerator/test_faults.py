"""Each fault of the released performance model, shown there, and that the corrected one is without it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph
from chipfit.device.accelerator import hotnas2020
from chipfit.device.accelerator.hotnas2020 import ConvLayer, Design, Engine, layer_cycles, layers_of, network_ms
from chipfit.device.accelerator.parts import part
from chipfit.device.accelerator.resources import fits, used
from chipfit.device.accelerator.v2 import CORE, FULL, cycles
from chipfit.device.accelerator.work import Layer, Stream, works
from chipfit.nets.published import Sheet, published
from chipfit.space.hardware import Designs

NAMES = ("tm", "tn", "tr", "tc", "tk", "weight_port", "input_port", "output_port")
PORTS = (10**6,) * 3
"""Ports that never decide."""


def both(tm: int, tn: int, tr: int, tc: int, tk: int, *ports: int, tm_dw: int = 0) -> tuple[Design, Designs]:
    """One design in both models."""
    engine = Engine(tm, tn, tr, tc, tk, *ports)
    parameters = dict(zip(NAMES, (tm, tn, tr, tc, tk, *ports), strict=True))
    return Design(engine, replace(engine, tm=tm_dw) if tm_dw else None), Designs.of(parameters | {"tm_dw": tm_dw})


def old(layer: ConvLayer, design: Design) -> float:
    return float(layer_cycles(layer, design).latency)


def new(layer: Layer, designs: Designs) -> float:
    return float(cycles([layer], designs, CORE)[0, 0])


def test_1_shapes_along_the_order_of_registration() -> None:
    graph = published("resnet18")
    assert layers_of(graph)[-1].rows == 1
    last = [w for w in works(graph) if isinstance(w, Layer) and w.op.startswith("conv")][-1]
    assert last.size == (7, 7)


RESNET18, MOBILENET = (
    Design(Engine(70, 36, 64, 64, 7, 18, 6, 6)),
    Design(Engine(160, 12, 32, 32, 3, 10, 10, 10), Engine(576, 1, 32, 32, 3, 10, 10, 10)),
)
ALEXNET = Design(Engine(70, 36, 64, 32, 11, 18, 6, 2))


def true_layers(name: str) -> list[ConvLayer]:
    found = [w for w in works(published(name)) if isinstance(w, Layer) and w.op.startswith("conv")]
    return [ConvLayer(w.outputs, w.inputs, *w.size, w.kernel[0], w.stride[0], w.padding[0], w.depthwise) for w in found]


@pytest.mark.parametrize(
    ("name", "shapes", "strides"), [("resnet18", 14.8816, 20.14432), ("resnet34", 27.60688, 31.07104)]
)
def test_1_and_2_repaired_one_after_the_other(name: str, shapes: float, strides: float) -> None:
    layers = true_layers(name)
    once = [replace(layer, stride=1, padding=0) for layer in layers]
    assert float(network_ms(layers, RESNET18)) == pytest.approx(shapes, rel=1e-9)
    assert float(network_ms(once, RESNET18)) == pytest.approx(strides, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "design", "ms"), [("alexnet", ALEXNET, 7.05622), ("mobilenet_v2", MOBILENET, 13.691712)]
)
def test_2_repaired(name: str, design: Design, ms: float) -> None:
    once = [replace(layer, stride=1, padding=0) for layer in true_layers(name)]
    assert float(network_ms(once, design)) == pytest.approx(ms, rel=1e-9)


def test_2_strides_counted_twice() -> None:
    design, designs = both(8, 8, 16, 16, 3, *PORTS)
    assert old(ConvLayer(8, 8, 16, 16, 3, 2, 1), design) == 9 * 8 * 8
    assert new(Layer("", 8, 8, (16, 16), (3, 3), (2, 2), (1, 1)), designs) == 9 * 16 * 16


def test_2_no_halo_around_input_tiles() -> None:
    design, designs = both(8, 8, 16, 16, 3, 10**6, 1, 10**6)
    assert old(ConvLayer(8, 8, 16, 16, 3, 2, 1), design) == 8 * 16 * 16
    assert new(Layer("", 8, 8, (16, 16), (3, 3), (2, 2), (1, 1)), designs) == 8 * 33 * 33


def test_3_memory_is_not_enforced() -> None:
    assert hotnas2020.bram18(RESNET18.conv) > hotnas2020.BRAM18
    chosen = hotnas2020.explore(layers_of(published("resnet18")), hotnas2020.conv_designs(7)).design
    assert hotnas2020.bram18(chosen.conv) > hotnas2020.BRAM18
    _, designs = both(70, 36, 256, 256, 7, 18, 6, 6)
    zcu102 = part("zcu102")
    assert not fits(used(designs, works(published("resnet18")), zcu102, CORE), zcu102)[0]
    assert not fits(used(designs, works(published("vgg16")), zcu102, FULL), zcu102)[0]


def test_4_depthwise_channel_tiles_are_squared() -> None:
    design, designs = both(8, 8, 8, 8, 3, *PORTS, tm_dw=576)
    assert old(ConvLayer(960, 960, 8, 8, 3, 1, 0, depthwise=True), design) == 4 * 9 * 64
    assert new(Layer("", 960, 960, (8, 8), (3, 3), groups=960), designs) == 2 * 9 * 64


def test_5_whole_tiles_of_weights_at_the_edges() -> None:
    design, designs = both(64, 32, 8, 8, 1, 1, 10**6, 10**6)
    assert old(ConvLayer(10, 3, 8, 8, 1, 1, 0), design) == 64 * 32
    assert new(Layer("", 10, 3, (8, 8)), designs) == 64  # 10 x 3 weights take less than 64 steps of arithmetic
    assert cycles([Layer("", 70, 32, (1, 1))], designs, FULL)[0, 0] == pytest.approx(70 * 32 + 64 * 32, rel=1e-3)


def test_6_dense_layers_additions_and_pools_are_free() -> None:
    alexnet = published("alexnet")
    assert len(layers_of(alexnet)) == 5
    dense = [w for w in works(alexnet) if isinstance(w, Layer) and w.op.startswith("linear")]
    _, designs = both(70, 36, 64, 32, 11, 18, 6, 2)
    assert cycles(dense, designs).sum() / 2e5 > 16
    resnet = works(published("resnet18"))
    assert {w.kind for w in resnet if isinstance(w, Stream)} == {"add", "max_pool", "global_pool"}
    assert all(cycles([w], designs)[0, 0] > 0 for w in resnet)


def odd(groups: int, kernel: tuple[int, int]) -> Graph:
    sheet = Sheet(8, channels=8)
    pairs = {"kernel": kernel, "stride": (1, 1), "padding": (kernel[0] // 2, kernel[1] // 2), "dilation": (1, 1)}
    sheet.put("conv", ["input"], (8, 8, 8), groups=groups, bias=0, **pairs)
    return sheet.graph("conv1")


@pytest.mark.parametrize(("groups", "kernel"), [(4, (3, 3)), (1, (3, 1))])
def test_7_groups_and_oblong_kernels_end_the_program(groups: int, kernel: tuple[int, int]) -> None:
    graph = odd(groups, kernel)
    with pytest.raises(BadInput, match="no rule for 'conv1'"):
        layers_of(graph)
    (layer,) = works(graph)
    assert isinstance(layer, Layer)
    _, designs = both(8, 8, 8, 8, 3, *PORTS)
    assert new(layer, designs) == kernel[0] * kernel[1] * 64


def test_one_channel_in_passes_for_depthwise() -> None:
    sheet = Sheet(8, channels=1)
    graph = sheet.graph(sheet.conv("input", 8, 3))
    assert layers_of(graph)[0].depthwise
    (layer,) = works(graph)
    assert isinstance(layer, Layer)
    assert not layer.depthwise


def test_9_bits_speed_up_nothing_but_weights() -> None:
    design, designs = both(8, 8, 8, 8, 1, 10**6, 1, 10**6)
    assert old(ConvLayer(8, 8, 8, 8, 1, 1, 0, weight_bits=8), design) == 8 * 64
    assert new(Layer("", 8, 8, (8, 8), weight_bits=8, value_bits=8), designs) == 8 * 64 / 2
    assert part("zcu102").macs(8) == 2 * hotnas2020.DSP


def test_a_kernel_above_tk_runs() -> None:
    design, designs = both(8, 8, 8, 8, 3, *PORTS)
    assert old(ConvLayer(8, 8, 8, 8, 5, 1, 0), design) == 25 * 64
    assert new(Layer("", 8, 8, (8, 8), (5, 5)), designs) == float("inf")
