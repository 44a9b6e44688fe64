from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chipfit.core.errors import BadInput, Infeasible
from chipfit.device.accelerator.parts import LIMITS, part
from chipfit.device.accelerator.resources import check, fits, memory_gb_s, runs, used
from chipfit.device.accelerator.v2 import CORE, FULL
from chipfit.device.accelerator.work import Layer, works
from chipfit.nets.published import published
from chipfit.space.hardware import Designs

ZCU102 = part("zcu102")
NAMES = ("tm", "tn", "tr", "tc", "tk", "weight_port", "input_port", "output_port")


def design(*values: int, **more: int) -> Designs:
    return Designs.of(dict(zip(NAMES, values, strict=True)) | more)


LAYER = Layer("conv", 64, 64, (56, 56), (3, 3), (1, 1), (1, 1))


def amounts(designs: Designs, layers: list[Layer], **flags: bool) -> dict[str, float]:
    taken = used(designs, layers, ZCU102, replace(FULL, **flags))
    return {name: float(taken[name][0]) for name in LIMITS}


def test_by_hand() -> None:
    found = amounts(design(64, 32, 28, 28, 3, 8, 8, 8), [LAYER])
    # inputs: 2 x 32 banks of 30 x 30 words, outputs: 2 x 64 of 784, both within 1,024 words of one memory
    # weights: 64 x 32 banks of 2 x 9 words, 16 tables each
    assert found == {"dsp": 2048, "bram18": 64 + 128, "uram": 0, "lutram": 2048 * 16, "port_bits": 384}


def test_the_core_has_buffers_of_tr_tc_words_alone() -> None:
    taken = used(design(130, 19, 64, 64, 7, 18, 10, 2), [LAYER], ZCU102, CORE)
    assert taken.bram18[0] == 2 * (130 + 19) * 4
    assert taken.lutram[0] == 0


def test_two_engines_are_summed() -> None:
    found = amounts(design(64, 32, 28, 28, 3, 8, 8, 8, tm_dw=96), [LAYER])
    assert found["dsp"] == 2048 + 96
    assert found["bram18"] == 2 * (32 + 96) + 2 * (64 + 96)
    assert found["lutram"] == (2048 + 96) * 16


def test_narrow_factors_share_a_multiplier() -> None:
    int8 = replace(LAYER, weight_bits=8, value_bits=8)
    found = amounts(design(64, 33, 28, 28, 3, 8, 8, 8, mac_bits=8), [int8])
    assert found["dsp"] == 1056
    assert found["lutram"] == 64 * 33 * 8
    assert amounts(design(64, 32, 45, 45, 3, 8, 8, 8), [int8])["bram18"] == 64 * 2 + 128  # 47 x 47 and 45 x 45 of 2,048


def test_tiles_are_no_larger_than_the_networks_maps() -> None:
    large = amounts(design(64, 32, 64, 64, 3, 8, 8, 8), [LAYER])
    assert large["bram18"] == 64 * 4 + 128 * 4  # 58 x 58 inputs, 56 x 56 outputs
    strided = replace(LAYER, stride=(2, 2))
    assert amounts(design(64, 32, 28, 28, 3, 8, 8, 8), [strided])["bram18"] == 64 * 4 + 128  # 57 x 57 inputs


def test_weights_that_tables_cannot_hold_go_to_memories() -> None:
    # 11 x 11 taps: 242 words a bank, 64 tables each; 2,250 of the 2,508 banks fit the 144,000 tables
    found = amounts(design(76, 33, 28, 28, 11, 8, 8, 8), [LAYER])
    assert found["lutram"] == 2250 * 64
    assert found["bram18"] == 2 * 33 + 2 * 76 + 258


def test_output_buffers_go_to_uram_where_memories_run_short() -> None:
    kv260 = part("kv260")
    network = [replace(LAYER, outputs=24, inputs=24)]
    designs = design(24, 24, 56, 56, 3, 8, 8, 8)
    taken = used(designs, network, kv260)
    assert (taken.bram18[0], taken.uram[0]) == (2 * 24 * 4, 48)
    assert fits(taken, kv260)[0]
    without = replace(kv260, uram=0)
    taken = used(designs, network, without)
    assert (taken.bram18[0], taken.uram[0]) == (2 * 24 * 8, 0)
    assert not fits(taken, without)[0]


def test_half_the_buffers_without_double_buffering() -> None:
    found = amounts(design(64, 32, 28, 28, 3, 8, 8, 8), [LAYER], double_buffered=False)
    assert found["bram18"] == (64 + 128) / 2


def test_ports_are_held_to_the_boards_memory() -> None:
    zu3eg = part("zu3eg")
    taken = used(design(8, 8, 7, 7, 3, [3, 4], 3, 4), [LAYER], zu3eg)
    np.testing.assert_allclose(memory_gb_s(taken, zu3eg), [4.0, 4.4])
    assert fits(taken, zu3eg).tolist() == [True, False]


def test_what_does_not_fit_is_said_with_what_it_takes() -> None:
    check(design(64, 32, 28, 28, 3, 8, 8, 8), 0, [LAYER], ZCU102)
    with pytest.raises(Infeasible, match="does not fit zcu102: it takes 2640 dsp of 2520, 544 port_bits of 512") as e:
        check(design(80, 33, 28, 28, 3, 18, 8, 8), 0, [LAYER], ZCU102)
    assert e.value.nearest == {"dsp": 2640, "port_bits": 544}


def test_a_kernel_above_tk_is_named() -> None:
    network = works(published("resnet18"))
    many = design(64, 32, 28, 28, [3, 7], 8, 8, 8)
    assert runs(many, network).tolist() == [False, True]
    with pytest.raises(BadInput, match="layer 'conv1' has a kernel of 7x7, larger than the design's tk=3; give tk=7"):
        check(many, 0, network, ZCU102)
    check(design(64, 32, 28, 28, 4, 8, 8, 8, space_to_depth=1), 0, network, ZCU102)
