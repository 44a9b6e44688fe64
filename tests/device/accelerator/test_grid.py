from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chipfit.core.errors import BadInput, Infeasible
from chipfit.device.accelerator.chosen import best, described
from chipfit.device.accelerator.grid import grid, plainest, port_words, shared_out
from chipfit.device.accelerator.named import limited_name, target
from chipfit.device.accelerator.parts import LIMITS, part
from chipfit.device.accelerator.resources import check
from chipfit.device.accelerator.v2 import network_cycles
from chipfit.device.accelerator.work import Work, works
from chipfit.nets.published import published
from recipes import small

ZCU102 = part("zcu102")


@pytest.fixture(scope="module")
def resnet18() -> tuple[Work, ...]:
    return works(published("resnet18"))


def test_genes_that_cost_nothing_never_make_a_network_slower(resnet18: tuple[Work, ...]) -> None:
    designs = grid(resnet18, ZCU102)
    some = designs.take(np.arange(0, len(designs), 97))
    on = network_cycles(resnet18, some)
    for genes in ({"unroll": 0}, {"space_to_depth": 0}, {"unroll": 0, "space_to_depth": 0}):
        off = network_cycles(resnet18, some.having(**genes))
        assert np.all(on <= off)


def test_the_plainest_design_is_as_fast_and_has_no_idle_gene() -> None:
    own = works(small.plain_graph())
    found = best(own, target("accel:zcu102"))
    assert network_cycles(own, found.design)[0] == pytest.approx(found.latency_ms * ZCU102.clock_mhz * 1e3)
    without = works(published("mobilenet_v2"))
    design = grid(without, ZCU102).take([0])
    assert plainest(design.having(tn=1), without)["unroll"][0] == 0


@pytest.mark.parametrize("name", ["pynq-z2", "zcu102", "u250"])
def test_a_bus_is_shared_out_whole(name: str) -> None:
    words = port_words(part(name))
    shared = np.array(shared_out(words))
    assert np.all(shared.sum(axis=1) == words)
    assert np.all(shared >= 1)
    assert 2 * words * part(name).clock_mhz / 1e3 <= part(name).ddr_gb_s
    assert 16 * words <= part(name).port_bits


def test_a_given_parameter_is_kept_and_the_design_fits(resnet18: tuple[Work, ...]) -> None:
    to = target("accel:zcu102/tm=64/dsp=1200")
    found = best(resnet18, to)
    assert found.design["tm"][0] == 64
    assert found.taken["dsp"] <= 1200
    check(found.design, 0, resnet18, to.part)


def test_less_memory_makes_another_design_and_a_slower_network(resnet18: tuple[Work, ...]) -> None:
    """With memories for a tenth of the channels Tn is less than what multipliers leave."""
    free, tight = best(resnet18, target("accel:zcu102")), best(resnet18, target("accel:zcu102/bram18=150"))
    assert tight.taken["bram18"] <= 150 < free.taken["bram18"]
    assert tight.latency_ms > free.latency_ms


def test_what_no_design_meets_is_told_with_the_least(resnet18: tuple[Work, ...]) -> None:
    with pytest.raises(Infeasible, match="no design fits zcu102: the least that any takes is .* bram18 of 2") as told:
        best(resnet18, target("accel:zcu102/bram18=2"))
    assert told.value.nearest["bram18"] > 2


def test_a_kernel_larger_than_a_given_tk_is_named(resnet18: tuple[Work, ...]) -> None:
    with pytest.raises(BadInput, match=r"layer 'conv1' has a kernel of 7x7 .* give tk=7"):
        best(resnet18, target("accel:zcu102/tk=3"))


def test_the_stem_of_resnet18_is_what_genes_are_for(resnet18: tuple[Work, ...]) -> None:
    """7x7 on 3 channels fills 3 input lanes; lanes that take taps, or blocks as channels, are several times faster."""
    with_genes = best(resnet18, target("accel:zcu102"))
    without = best(resnet18, target("accel:zcu102/unroll=0/space_to_depth=0"))
    stem = [found.rows[0].ms for found in (with_genes, without)]
    assert with_genes.latency_ms < without.latency_ms - 1.0
    assert stem[0] < 0.5 * stem[1]


NAMES = [
    ("accel:zcu10", "part 'zcu10' is unknown; did you mean 'zcu10"),
    ("accel:", "names no part; write accel:zcu102"),
    ("accel:zcu102@fast", "a clock in MHz 'fast' is not a number"),
    ("accel:zcu102/dps=5", "'dps' of device .* is unknown; did you mean 'dsp'"),
    ("accel:zcu102/dsp=many", "dsp 'many' is not a whole number"),
    ("accel:zcu102/mac_bits=5", "parameter 'mac_bits' of a design is 5; give one of 16, 8, 4"),
]


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_a_name_that_is_none_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        target(name)


def test_names_carry_clock_limits_and_shares() -> None:
    found = target("accel:ZCU102@150/dsp=50%/ddr_gb_s=9.6")
    assert found.part == replace(ZCU102, clock_mhz=150.0, dsp=1260, ddr_gb_s=9.6)
    assert limited_name("accel:zcu102/dsp=900", ["dsp=1200", "uram = 0"]) == "accel:zcu102/dsp=1200/uram=0"


def test_a_design_is_described_layer_by_layer(resnet18: tuple[Work, ...]) -> None:
    found = best(resnet18, target("accel:zcu102"))
    told = described(found, {"conv1": (3, 13)}, {"conv5": ((0, 4), (4, 8))})
    layers = told["layers"]
    assert isinstance(layers, list)
    assert sum(layer["ms"] for layer in layers) == pytest.approx(found.latency_ms)
    assert (layers[0]["weight_integer_bits"], layers[0]["weight_fraction_bits"]) == (3, 13)
    assert next(layer for layer in layers if layer["op"] == "conv5")["patterns"] == [[0, 4], [4, 8]]
    assert set(told["resources"]) == {*LIMITS, "ddr_gb_s"}  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "fewest"), [("accel:zcu102", 4), ("accel:pynq-z2", 4)])
def test_too_few_multipliers_are_told_with_how_many_would_do(name: str, fewest: int) -> None:
    own = works(small.plain_graph())
    for dsp in (0, fewest - 1):
        with pytest.raises(Infeasible, match=rf"the least that any takes is {fewest} dsp of {dsp};") as told:
            best(own, target(f"{name}/dsp={dsp}"))
        assert told.value.nearest == {"dsp": fewest}
    assert best(own, target(f"{name}/dsp={fewest}")).taken["dsp"] <= fewest
