"""Costs over many decisions in tables over a few: exact where they are straight, at both ends, and while groups shrink
alike; between, off by how far the cost bends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from chipfit.core.kernel import Kernel
from chipfit.core.types import Artifact, DeviceFacts, Fidelity, Measurement
from chipfit.device.null import Null
from chipfit.evaluate.cells import Cells
from chipfit.evaluate.counts import macs
from chipfit.evaluate.drawn import random_assignment
from chipfit.evaluate.pieces import pieces
from chipfit.evaluate.price import pricer
from chipfit.evaluate.timing import Timing
from chipfit.nets.trace import trace
from chipfit.space import edits as on_graph
from chipfit.space.menu import MOST
from chipfit.space.offer import offer
from made_up import Memory
from models.awkward import INPUT_SHAPE
from models.joined import JOINED

WIDTHS = ((16, 8), (24, 16, 8), (40, 32, 24, 16, 8), (30, 24, 16, 8))
WINDOW = (("dilation", (1, 1)), ("groups", 1), ("kernel", (3, 3)), ("padding", (1, 1)), ("stride", (1, 1)))
OUT, BITS = (48, 32, 16), (32, 8)
SIZES = (*map(len, WIDTHS), len(OUT), len(BITS))


def kernel(follow: bool, a: Sequence[int]) -> Kernel:
    """A convolution of four groups, the second of them twice, and of 5 channels more; or what keeps their sum."""
    widths = [w[o] for w, o in zip(WIDTHS, a, strict=False)]
    total = sum(widths) + widths[1] + 5
    if follow:
        return Kernel("relu", total, total, (8, 8), BITS[a[5]])
    return Kernel("conv", total, OUT[a[4]], (8, 8), BITS[a[5]], "", WINDOW)


def cells(follow: bool = False, decisions: Sequence[int] = range(6)) -> Cells[Kernel]:
    """That kernel under the options of some decisions, one at a time, as they are read off a graph."""

    def one(d: int, o: int) -> Kernel:
        return kernel(follow, [o if e == d else 0 for e in range(6)])

    as_is = kernel(follow, [0] * 6)
    alone = {d: tuple(one(d, o) for o in range(SIZES[d])) for d in decisions if not (follow and d == 4)}
    says = {d: tuple(100 * d + o for o in range(SIZES[d])) for d in alone}
    return Cells("kernel", tuple(alone), as_is, alone, says, {})


def told(of: Cells[Kernel], value: Callable[[Kernel], float], a: Sequence[int], own: bool = False) -> float:
    parts = pieces(of, own=own)
    return sum(p.numbers(value).get(tuple(a[d] for d in p.on), 0.0) for p in parts)


def drawn(n: int = 60) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [[int(rng.integers(k)) for k in SIZES] for _ in range(n)]


ENDS = [[0] * 6, [1, 2, 4, 3, 0, 0], [1, 2, 4, 3, 2, 1]]


def in_blocks(kernel: Kernel) -> float:
    """What kernels that fill blocks of 16 channels take."""
    return 1.0 + ceil(kernel.cin / 16) * ceil(kernel.cout / 16) * (0.4 if kernel.bits == 8 else 1.0)


@pytest.mark.parametrize("follow", [False, True])
def test_each_part_is_on_a_few_decisions(follow: bool) -> None:
    parts = pieces(cells(follow))
    assert len(parts) == 4
    assert all(len(p.on) <= MOST for p in parts)
    assert [p.again for p in parts] == [False, *[not follow] * 3]


@pytest.mark.parametrize("follow", [False, True])
def test_own_channels_add_up_in_whole_numbers(follow: bool) -> None:
    def count(kernel: Kernel) -> int:
        return kernel.cin if follow else macs(kernel)

    for a in drawn():
        assert told(cells(follow), count, a, own=True) == count(kernel(follow, a))
    assert all(k.cin >= 0 for p in pieces(cells(follow), own=True) for k in p.records)


@pytest.mark.parametrize("follow", [False, True])
def test_straight_lines_are_exact(follow: bool) -> None:
    def line(kernel: Kernel) -> float:
        return (3.0 + 2.0 * kernel.cin) * (1.0 if follow else kernel.cout) / kernel.bits

    for a in [*drawn(), *ENDS]:
        assert told(cells(follow), line, a) == pytest.approx(line(kernel(follow, a)), rel=1e-12)


@pytest.mark.parametrize("follow", [False, True])
def test_any_cost_is_exact_at_both_ends(follow: bool) -> None:
    for a in ENDS:
        assert told(cells(follow), in_blocks, a) == pytest.approx(in_blocks(kernel(follow, a)), rel=1e-12)


def test_between_it_errs_by_less_than_a_block() -> None:
    """Of kernels that fill blocks of 16 channels, where groups are 16 to 40 wide."""
    errors = [abs(told(cells(), in_blocks, a) / in_blocks(kernel(False, a)) - 1) for a in drawn(200)]
    assert max(errors) < 0.15
    assert np.mean(errors) < 0.05


def test_three_decisions_or_two_widths_are_one_table() -> None:
    (three,) = pieces(cells(decisions=(0, 1, 5)))
    assert three.on == (0, 1, 5)
    assert all(len(mix) == 1 for mix in three.cells.values())
    (two,) = pieces(with_a_block(cells(decisions=(0, 4, 5))))
    assert two.on == (0, 4, 5, 6)
    assert two.cells[0, 0, 0, 1] == ()


def with_a_block(of: Cells[Kernel]) -> Cells[Kernel]:
    """The same in a block that a seventh decision drops."""
    alone = {**of.alone, 6: (of.as_is, None)}
    return replace(of, on=(*of.on, 6), alone=alone, says={**of.says, 6: (600, 601)})


def test_what_drops_a_sum_drops_each_part_of_it() -> None:
    parts = pieces(with_a_block(cells(decisions=range(5))))
    assert [p.on for p in parts] == [(g, 4, 6) for g in range(4)]
    assert all(p.cells[0, 0, 1] == () != p.cells[0, 0, 0] for p in parts)


class Lumpy(Null):
    """Kernels fill blocks of 16 channels in and out."""

    def facts(self) -> DeviceFacts:
        return replace(super().facts(), channel_block={32: 16, 8: 16})

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        counted = super().measure(artifacts, fidelity)
        return [replace(m, value=m.value + self.lumps(a)) for m, a in zip(counted, artifacts, strict=True)]

    def lumps(self, artifact: Artifact) -> float:
        graph, extra = artifact.graph, 0.0
        for o in graph:
            if o.kind == "conv" and o["groups"] == 1:
                cin, cout = graph.in_shape(o)[0], o.shape[0]
                filled = ceil(cin / 16) * ceil(cout / 16) * 256 / (cin * cout)
                extra += graph.macs(o) / 1e8 * (filled - 1)
        return extra


BENT = ("Ways nested", "Ways depthwise", "Dense", "InBlocks", "OneConv", "Nested")


@pytest.mark.parametrize(
    ("name", "device"), [*((n, Null()) for n in JOINED if n != "Ways"), *((n, Lumpy()) for n in BENT)]
)
def test_latencies_of_joined_networks_are_foretold(name: str, device: Null) -> None:
    graph = trace(JOINED[name](), INPUT_SHAPE).graph
    offered = offer(graph, {32: 8, 8: 8})
    found = pricer(Timing(device, Memory())).price(graph, offered, np.random.default_rng(0), networks=24).menu
    assert all(len(t.on) <= MOST for t in found.terms)
    rng, errors = np.random.default_rng(1), []
    for _ in range(20):
        a = random_assignment(found, rng)
        graph_a = on_graph.apply(graph, found.edits(a))
        ms = device.measure([Artifact("onnx", b"", graph_a)], "final")[0].value
        errors.append(abs(found.total("latency_ms", a) / ms - 1))
    assert np.median(errors) < 0.05
    assert max(errors) < 0.25
