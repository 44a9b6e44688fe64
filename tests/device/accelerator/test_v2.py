"""The corrected model: known answers of its core, tile by tile against plain Python, and what must always hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipfit.device.accelerator.parts import part
from chipfit.device.accelerator.tiling import Columns, folded
from chipfit.device.accelerator.v2 import (
    CORE,
    FULL,
    cycles,
    ms,
    network_cycles,
    totals,
)
from chipfit.device.accelerator.work import Layer, Stream, works
from chipfit.nets.published import published
from chipfit.space.hardware import Designs

EXACT = 1e-9
ZCU102 = part("zcu102")
Table = list[dict[str, str]]
Convolutions = Callable[[str], list[Layer]]


def design(tm: int, tn: int, tr: int, tc: int, tk: int, *ports: int, **more: int) -> Designs:
    names = ("tm", "tn", "tr", "tc", "tk", "weight_port", "input_port", "output_port")
    return Designs.of(dict(zip(names, (tm, tn, tr, tc, tk, *ports), strict=True)) | more)


ALEXNET = design(70, 36, 64, 32, 11, 18, 6, 2)
RESNET18 = design(70, 36, 64, 64, 7, 18, 6, 6)
MOBILENET = design(160, 12, 32, 32, 3, 10, 10, 10, tm_dw=576)


def recorded(row: dict[str, str]) -> Layer:
    m, n, r, c, k, s, p = (int(row[x]) for x in ("outputs", "inputs", "rows", "columns", "kernel", "stride", "padding"))
    size = (int(row["true_rows"]),) * 2 if "true_rows" in row else (r, c)
    return Layer("", m, n, size, (k, k), (s, s), (p, p), groups=n if row["depthwise"] == "1" else 1)


@pytest.mark.parametrize(
    ("name", "on", "total"),
    [("alexnet", ALEXNET, 705_622), ("resnet18", RESNET18, 2_273_488), ("mobilenetv2", MOBILENET, 1_572_417.6)],
)
def test_core_cycles_of_each_recorded_layer(
    table: Callable[[str], Table], name: str, on: Designs, total: float
) -> None:
    rows = table(name)
    found = cycles([recorded(row) for row in rows], on, CORE)[0]
    assert found.tolist() == pytest.approx([float(row["v2"]) for row in rows], abs=1e-6)
    assert found.sum() == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "on", "ms_"),
    [
        ("resnet18", RESNET18, 11.36744),
        ("resnet34", RESNET18, 16.8308),
        ("mobilenet_v2", MOBILENET, 7.862088),
        ("alexnet", ALEXNET, 3.52811),
    ],
)
def test_core_latency_of_the_published_designs(convolutions: Convolutions, name: str, on: Designs, ms_: float) -> None:
    assert ms(convolutions(name), on, ZCU102, CORE).sum() == pytest.approx(ms_, rel=EXACT)


def test_each_layer_of_resnet18_at_its_cheapest(convolutions: Convolutions) -> None:
    """Four bits and five of nine taps: what no assignment of bits and 3x3 patterns can undercut on this design."""
    on = design(130, 19, 64, 64, 7, 18, 10, 2)
    dense = convolutions("resnet18")
    least = [replace(w, kept=5 if w.kernel == (3, 3) else 0, weight_bits=4) for w in dense]
    assert ms(dense, on, ZCU102, CORE).sum() == pytest.approx(10.958488, abs=5e-7)
    assert ms(least, on, ZCU102, CORE).sum() == pytest.approx(8.548428, abs=5e-7)


def test_loading_the_dense_layers_of_alexnet() -> None:
    dense = [w for w in works(published("alexnet")) if isinstance(w, Layer) and w.op.startswith("linear")]
    loading = sum(float(totals(w, Columns(ALEXNET)).weights[0]) for w in dense)
    assert loading == pytest.approx((9216 * 4096 + 4096 * 4096 + 4096 * 1000) / 18, rel=EXACT)
    assert loading / 2e5 == pytest.approx(16.28, abs=0.005)


def test_the_stem_of_resnet18() -> None:
    stem = works(published("resnet18"))[0]
    assert isinstance(stem, Layer)
    on = 76, 33, 28, 28, 7, 18, 10, 18
    assert cycles([stem], design(*on), CORE)[0, 0] == 49 * 112 * 112
    shared = cycles([stem], design(*on, unroll=1), CORE)[0, 0]
    assert shared == 5 * 112 * 112  # 33 lanes take 11 taps of 3 channels at once, and 49 taps then 5 steps
    as_blocks = folded(stem)
    assert as_blocks is not None
    assert (as_blocks.inputs, as_blocks.kernel, as_blocks.stride) == (12, (4, 4), (1, 1))
    assert cycles([stem], design(*on, space_to_depth=1), CORE)[0, 0] == 16 * 112 * 112
    assert cycles([replace(stem, first=False)], design(*on, space_to_depth=1), CORE)[0, 0] == 49 * 112 * 112


def test_blocks_of_positions_compute_the_same_convolution() -> None:
    """A 7x7 convolution of stride 2 and padding 3, and 4x4 on blocks: the kernel is moved one position and padded."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=14), rng.normal(size=7)
    padded = np.pad(x, 3)
    plain = [padded[2 * y : 2 * y + 7] @ w for y in range(7)]
    stem = Layer("", 1, 1, (7, 7), (7, 7), (2, 2), (3, 3), first=True)
    as_blocks = folded(stem)
    assert as_blocks is not None
    offset, taps = -3 % 2, as_blocks.kernel[0]
    kernel = np.pad(w, (offset, 2 * taps - 7 - offset)).reshape(taps, 2)
    blocks = np.pad(x, (3 + offset, 8)).reshape(-1, 2)
    folded_outputs = [(blocks[y : y + taps] * kernel).sum() for y in range(7)]
    np.testing.assert_allclose(folded_outputs, plain, rtol=1e-12)


@pytest.fixture(scope="module")
def tile_walk() -> ModuleType:
    folder = str(Path(__file__).resolve().parents[3] / "benchmarks")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import tile_walk

        return tile_walk


def tiles(large: int, **more: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, int]]:
    some = st.integers(1, large)
    plain = {"tm": some, "tn": some, "tr": some, "tc": some, "tk": st.just(9)}
    ports = dict.fromkeys(("weight_port", "input_port", "output_port"), st.integers(1, 24))
    engines = {"tm_dw": st.integers(0, large), "mac_bits": st.sampled_from([4, 8, 16]), "unroll": st.integers(0, 1)}
    return st.fixed_dictionaries(plain | ports | engines | more)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """Any layer: grouped, depth-wise, dilated, oblong, pruned, of few bits."""
    small = st.integers(1, 5)
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    outs, ins = groups * draw(st.integers(1, 9)), groups * draw(st.integers(1, 9))
    if draw(st.booleans()) and groups > 1:
        outs = ins = groups
    kernel = draw(st.tuples(small, small))
    bits = st.integers(2, 16)
    return Layer(
        "any",
        outs,
        ins,
        draw(st.tuples(st.integers(1, 20), st.integers(1, 20))),
        kernel,
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
        kept=draw(st.integers(0, kernel[0] * kernel[1])),
        weight_bits=draw(bits),
        value_bits=draw(bits),
    )


@settings(max_examples=150)
@given(layers(), st.lists(tiles(12), min_size=1, max_size=4))
def test_all_designs_at_once_are_each_walked_tile_by_tile(
    tile_walk: ModuleType, layer: Layer, some: list[dict[str, int]]
) -> None:
    together = Designs.of({name: [one[name] for one in some] for name in some[0]})
    walked = [tile_walk.work_cycles(layer, together.plain(i)) for i in range(len(some))]
    np.testing.assert_allclose(cycles([layer], together)[:, 0], walked, rtol=1e-9)


@settings(max_examples=150)
@given(layers(), tiles(12))
def test_no_layer_is_faster_than_its_multipliers_or_its_ports(layer: Layer, one: dict[str, int]) -> None:
    on = Designs.of(one)
    factors = one["tm_dw"] if layer.depthwise and one["tm_dw"] else one["tm"] * one["tn"]
    for model in (FULL, CORE, replace(FULL, double_buffered=False)):
        latency = cycles([layer], on, model)[0, 0]
        assert latency >= layer.kept_macs / factors * (1 - EXACT)
        alone = np.array(totals(layer, Columns(on)))
        assert latency >= alone.max() * (1 - EXACT)


@settings(max_examples=60)
@given(layers(), tiles(12))
def test_fewer_taps_bits_and_flags_never_cost_cycles(layer: Layer, one: dict[str, int]) -> None:
    on = Designs.of(one)
    full = cycles([layer], on)[0, 0]
    whole = replace(layer, kept=0, weight_bits=16, value_bits=16)
    assert full <= cycles([whole], on)[0, 0] * (1 + EXACT)
    assert cycles([layer], on, replace(FULL, fill_drain=False))[0, 0] <= full
    assert full <= cycles([layer], on, replace(FULL, double_buffered=False))[0, 0]
    assert cycles([layer], on, replace(CORE, edge_tiles=True))[0, 0] <= cycles([layer], on, CORE)[0, 0] * (1 + EXACT)


def test_a_whole_network_is_the_sum_of_its_work_over_any_number_of_designs() -> None:
    network = works(published("resnet18"))
    rng = np.random.default_rng(0)
    many = Designs.of(
        {"tm": rng.integers(8, 200, 9000), "tn": rng.integers(1, 40, 9000), "tr": rng.integers(4, 64, 9000)}
        | {"tc": 28, "tk": 7, "weight_port": 8, "input_port": 8, "output_port": 4}
    )
    each = cycles(network, many)
    assert each.shape == (9000, len(network))
    np.testing.assert_allclose(network_cycles(network, many), each.sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(cycles(network, many.take([17, 8999])), each[[17, 8999]])


def test_by_hand_with_edges_fill_and_drain() -> None:
    """5 rows in tiles of 4 and 1, 3 channels out in tiles of 2 and 1; arithmetic decides everywhere."""
    layer = Layer("", 3, 2, (5, 4), (3, 3))
    on = design(2, 2, 4, 4, 3, 1000, 1000, 1000)
    arithmetic = 9 * (5 * 4) * 2
    first_tile = 9 * 4 * 4
    drained = 2 * 4 * 4 / 1000
    assert cycles([layer], on)[0, 0] == pytest.approx(arithmetic + first_tile + drained)
    assert cycles([layer], on, replace(FULL, fill_drain=False))[0, 0] == arithmetic
    assert cycles([layer], on, CORE)[0, 0] == 9 * 4 * 4 * 2 * 2


def test_streams_are_as_slow_as_the_slower_port() -> None:
    add = Stream("add", "add", 2 * 640, 640)
    assert cycles([add], design(2, 2, 4, 4, 3, 1, 10, 4))[0, 0] == 160  # 640 / 4 out, 1280 / 10 in
    halved = replace(add, value_bits=8)
    assert cycles([halved], design(2, 2, 4, 4, 3, 1, 10, 4))[0, 0] == 80


def test_groups_share_the_lanes_and_large_ones_follow_one_another() -> None:
    wide = (10**6,) * 3
    four = Layer("", 16, 16, (8, 8), (3, 3), groups=4)
    # groups of 4 x 4: two fit beside each other into 8 x 8, all four into 16 x 16, none into 3 x 4
    steps = {8: 2, 16: 1}
    for lanes, rounds in steps.items():
        assert cycles([four], design(lanes, lanes, 8, 8, 3, *wide), CORE)[0, 0] == rounds * 9 * 64
    assert cycles([four], design(3, 4, 8, 8, 3, *wide), CORE)[0, 0] == 4 * 2 * 9 * 64


def test_a_multiplier_of_fewer_bits_takes_several_passes() -> None:
    wide = (10**6,) * 3
    layer = Layer("", 4, 4, (8, 8))
    for bits, passes in ((16, 1), (8, 4), (4, 16)):
        assert cycles([layer], design(4, 4, 8, 8, 3, *wide, mac_bits=bits), CORE)[0, 0] == passes * 64
    few = replace(layer, weight_bits=4, value_bits=8)
    assert cycles([few], design(4, 4, 8, 8, 3, *wide, mac_bits=8), CORE)[0, 0] == 64
    assert cycles([few], design(4, 4, 8, 8, 3, *wide, mac_bits=4), CORE)[0, 0] == 2 * 64


def test_a_kernel_above_tk_does_not_run() -> None:
    stem = Layer("", 8, 3, (16, 16), (7, 7), (2, 2), (3, 3), first=True)
    assert cycles([stem], design(8, 12, 8, 8, 5, 8, 8, 8))[0, 0] == np.inf
    assert cycles([stem], design(8, 12, 8, 8, 5, 8, 8, 8, space_to_depth=1))[0, 0] < np.inf  # 4x4 on blocks
