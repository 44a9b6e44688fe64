from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipfit.core.errors import BadInput, Infeasible
from chipfit.device.accelerator.explore import Front, explore
from chipfit.device.accelerator.parts import LIMITS, limited, part
from chipfit.device.accelerator.resources import fits, used
from chipfit.device.accelerator.v2 import CORE, FULL, Model, cycles, network_cycles
from chipfit.device.accelerator.work import Layer, works
from chipfit.nets.published import published
from chipfit.space.hardware import Designs, HardwareSpace, coarse, fine, ports

ZCU102 = part("zcu102")
MACS = {16: ZCU102.macs(16), 8: ZCU102.macs(8)}
Convolutions = Callable[[str], list[Layer]]


def chosen(front: Front) -> tuple[int, ...]:
    names = ("tm", "tn", "tr", "tc", "weight_port", "input_port", "output_port")
    return tuple(front.fastest()[name] for name in names)


COARSE = [("resnet18", 7, 10.958488), ("resnet34", 7, 16.400448), ("alexnet", 11, 3.228635)]


@pytest.mark.parametrize(("name", "tk", "ms"), COARSE)
def test_the_cores_best_of_the_coarse_grid(convolutions: Convolutions, name: str, tk: int, ms: float) -> None:
    designs = HardwareSpace(coarse(tk), MACS).all()
    assert len(designs) == 5184
    front = explore(convolutions(name), designs, ZCU102, CORE)
    assert front.legal == 2448
    assert front.latency_ms[0] == pytest.approx(ms, abs=5e-7)
    if name == "resnet18":
        assert chosen(front) == (130, 19, 64, 64, 18, 10, 2)


def test_the_cores_best_without_a_limit_of_memory(convolutions: Convolutions) -> None:
    roomy = replace(ZCU102, bram18=10**6)
    front = explore(convolutions("resnet18"), HardwareSpace(coarse(7), MACS).all(), roomy, CORE)
    assert front.latency_ms[0] == pytest.approx(10.017688, abs=5e-7)
    assert chosen(front)[:4] == (130, 19, 256, 256)


FINE = [
    ("resnet18", 7, 9.33824, (76, 33, 28, 28, 18, 10, 4)),
    ("resnet34", 7, 14.326236, (68, 37, 28, 28, 20, 8, 4)),
    ("alexnet", 11, 3.122165, (64, 39, 56, 56, 16, 6, 2)),
]


@pytest.mark.parametrize(("name", "tk", "ms", "best"), FINE)
def test_the_cores_best_of_the_fine_grid(
    convolutions: Convolutions, name: str, tk: int, ms: float, best: tuple[int, ...]
) -> None:
    front = explore(convolutions(name), HardwareSpace(fine(tk), MACS).all(), ZCU102, CORE)
    assert front.legal == 1_224_232
    assert front.latency_ms[0] == pytest.approx(ms, abs=5e-7)
    assert chosen(front) == best


def square_tiles(mac_bits: int) -> Designs:
    """The fine grid with Tr = Tc and all 32 words a cycle in use."""
    genes = fine(7) | {"mac_bits": (mac_bits,)}
    designs = HardwareSpace(genes, MACS).all()
    words = designs["weight_port"] + designs["input_port"] + designs["output_port"]
    return designs.take((designs["tr"] == designs["tc"]) & (words == 32))


@pytest.mark.parametrize(
    ("kept", "weight_bits", "value_bits", "mac_bits", "ms"),
    [
        (9, 16, 16, 16, 9.338),
        (9, 8, 16, 16, 8.097),
        (6, 8, 16, 16, 6.852),
        (5, 4, 16, 16, 5.955),
        (9, 8, 8, 8, 6.198),
        (6, 8, 8, 8, 5.422),
    ],
)
def test_the_cores_best_design_by_compression(
    convolutions: Convolutions, kept: int, weight_bits: int, value_bits: int, mac_bits: int, ms: float
) -> None:
    compressed = [
        replace(w, kept=kept if w.kernel == (3, 3) else 0, weight_bits=weight_bits, value_bits=value_bits)
        for w in convolutions("resnet18")
    ]
    front = explore(compressed, square_tiles(mac_bits), ZCU102, CORE)
    assert front.latency_ms[0] == pytest.approx(ms, abs=5e-4)


def small_grid(**genes: tuple[object, ...]) -> Designs:
    some = {"tm": (4, 8, 12, 24), "tr": (4, 7, 14), "tc": (4, 14), "tk": (7,), "ports": ports((1, 2, 5, 9), 16)}
    return HardwareSpace(some | genes, {16: 300, 8: 600}).all()


@pytest.mark.parametrize("model", [FULL, CORE, replace(FULL, double_buffered=False)])
def test_the_front_is_that_of_every_design_timed(model: Model) -> None:
    network = works(published("resnet18", size=64, classes=10))
    designs = small_grid(tm_dw=(0, 16), mac_bits=(16, 8), unroll=(0, 1))
    small = limited(ZCU102, {"dsp": 300, "bram18": 260, "lutram": 6000})
    front = explore(network, designs, small, model)
    taken = used(designs, network, small, model)
    legal = fits(taken, small)
    total = network_cycles(network, designs, model)
    costs = np.column_stack([total, *(taken[name] for name in LIMITS)])[legal]
    assert (front.seen, front.legal) == (len(designs), legal.sum())
    found = np.column_stack([front.latency_ms * small.clock_mhz * 1e3, front.resources])
    for row in found:  # no design is as good in all and better in one
        no_worse = (costs <= row * (1 + 1e-12)).all(axis=1)
        assert not (no_worse & (costs < row * (1 - 1e-12)).any(axis=1)).any()
    for row in costs[:: max(1, len(costs) // 500)]:  # and each has one on the front that is no worse
        assert (found <= row * (1 + 1e-12)).all(axis=1).any()
    assert front.latency_ms[0] == pytest.approx(costs[:, 0].min() / (small.clock_mhz * 1e3))
    assert np.all(np.diff(front.latency_ms) >= 0)


@pytest.mark.parametrize("mac_bits", [16, 8])
def test_no_layer_takes_less_than_all_the_parts_multipliers_would(mac_bits: int) -> None:
    network = [w for w in works(published("mobilenet_v2", size=64, classes=10)) if isinstance(w, Layer)]
    eight = [replace(w, weight_bits=mac_bits, value_bits=mac_bits) for w in network]
    designs = small_grid(tm_dw=(0, 16), mac_bits=(mac_bits,), unroll=(0, 1), space_to_depth=(0, 1))
    products = ZCU102.macs(mac_bits) / ZCU102.dsp * used(designs, eight, ZCU102).dsp
    least = np.array([w.kept_macs for w in eight]) / products[:, None]
    for model in (FULL, CORE):
        assert np.all(cycles(eight, designs, model) >= least * (1 - 1e-12))


@settings(max_examples=10)
@given(st.integers(20, 400), st.integers(20, 400), st.sampled_from([FULL, CORE]))
def test_more_multipliers_never_slow_the_best_design_down(few: int, many: int, model: Model) -> None:
    network = works(published("mobilenet_v2", size=64, classes=10))
    designs = small_grid(tm=(2, 4, 8, 12), tn=(1, 2, 3, 4, 6, 8, 16, 32), tm_dw=(0, 4, 16), ports=ports((2, 9), 20))
    low, high = sorted((few, many))
    best = [explore(network, designs, limited(ZCU102, {"dsp": n, "bram18": 200}), model) for n in (low, high)]
    assert best[1].latency_ms[0] <= best[0].latency_ms[0]


def test_nothing_to_explore() -> None:
    with pytest.raises(BadInput, match="the grid has no design with a channel in; give smaller tm"):
        explore(works(published("resnet18")), HardwareSpace(coarse(7), {16: 8}).all(), ZCU102)
    front = explore([], small_grid(), ZCU102)
    assert front.latency_ms[0] == 0


def test_no_design_fits() -> None:
    network = works(published("resnet18", size=64))
    with pytest.raises(Infeasible, match="no design fits zcu102: the least that any takes is 48 bram18 of 3;") as e:
        explore(network, small_grid(tm=(4,), tn=(20,)), limited(ZCU102, {"bram18": 3}))
    assert e.value.nearest == {"bram18": 48}
    with pytest.raises(BadInput, match=r"'conv1' has a kernel of 7x7 and every design a smaller tk \(5 at most\)"):
        explore(works(published("resnet18")), small_grid(tk=(3, 5)), ZCU102)


def test_resources_that_no_one_design_meets_together() -> None:
    network = [Layer("conv", 64, 64, (14, 14), (3, 3))]
    designs = Designs.of(
        {"tm": [64, 8], "tn": [1, 8], "tr": [4, 14], "tc": [4, 14], "tk": 3}
        | {"weight_port": [1, 9], "input_port": 1, "output_port": 1}
    )
    tight = limited(ZCU102, {"port_bits": 48, "lutram": 64 * 16, "dsp": 64, "bram18": 40})
    with pytest.raises(Infeasible, match="each by another design; raise a limit"):
        explore(network, designs, tight)
