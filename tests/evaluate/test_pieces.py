"""Costs over many decisions in tables over a few: exact where they are straight, at both ends, and while groups shrink
alike; between, off by how far the cost bends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from chipfit.core.types import Artifact, DeviceFacts, Fidelity, Measurement
from chipfit.device.null import Null
from chipfit.evaluate.counts import macs
from chipfit.evaluate.kernel import Channels, Kernel, Unit
from chipfit.evaluate.pieces import pieces
from chipfit.evaluate.price import price, random_assignment
from chipfit.evaluate.timing import Timing
from chipfit.evaluate.units import UnitMap
from chipfit.nets.trace import trace
from chipfit.space import edits as on_graph
from chipfit.space.groups import Segment
from chipfit.space.menu import MOST, Decision, Menu, Option
from chipfit.space.offer import offer
from made_up import Memory
from models.awkward import INPUT_SHAPE
from models.joined import JOINED

WIDTHS = ((16, 8), (24, 16, 8), (40, 32, 24, 16, 8), (30, 24, 16, 8))
WINDOW = (("dilation", (1, 1)), ("groups", 1), ("kernel", (3, 3)), ("padding", (1, 1)), ("stride", (1, 1)))


def menu() -> Menu:
    """Four widths, a fifth (of what reads them), and a precision."""
    groups = [Decision(f"w{i}", "width", tuple(Option(str(w), w) for w in ws)) for i, ws in enumerate(WIDTHS)]
    out = Decision("out", "width", tuple(Option(str(w), w) for w in (48, 32, 16)))
    bits = Decision("bits", "precision", (Option("fp32", 32), Option("int8", 8)))
    return Menu("", (*groups, out, bits))


def kernel(follow: bool = False) -> Kernel:
    """A convolution of the four groups, the second of them twice, and of 5 channels more; or what keeps their sum."""
    segments = [Segment(f"w{i}", ws[0]) for i, ws in enumerate(WIDTHS)] + [Segment("w1", 24), Segment("", 5)]
    decision = {f"w{i}": i for i in range(4)} | {"out": 4}
    ins = Channels.of(segments, decision)
    outs = ins if follow else Channels.of([Segment("out", 48)], decision)
    kind, attrs = ("relu", ()) if follow else ("conv", WINDOW)
    return Kernel(lambda i, o, b, _: Unit(kind, i, o, (8, 8), b, "", attrs), ins, outs, (5, 32))


def told(of: Kernel, value: Callable[[Unit], float], a: Sequence[int], own: bool = False) -> float:
    parts = pieces(of, menu(), own=own)
    return sum(p.numbers(value).get(tuple(a[d] for d in p.on), 0.0) for p in parts)


def true(of: Kernel, value: Callable[[Unit], float], a: Sequence[int]) -> float:
    chosen = {d: decision.options[o].value for d, (decision, o) in enumerate(zip(menu().decisions, a, strict=True))}
    unit = of.make(int(of.ins.total(chosen)), int(of.outs.total(chosen)), chosen[5], chosen[5])
    assert unit is not None
    return value(unit)


def drawn(n: int = 60) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [[int(rng.integers(k)) for k in menu().sizes] for _ in range(n)]


ENDS = [[0] * 6, [1, 2, 4, 3, 0, 0], [1, 2, 4, 3, 2, 1]]


def in_blocks(unit: Unit) -> float:
    """What kernels that fill blocks of 16 channels take."""
    return 1.0 + ceil(unit.cin / 16) * ceil(unit.cout / 16) * (0.4 if unit.bits == 8 else 1.0)


@pytest.mark.parametrize("follow", [False, True])
def test_each_part_is_on_a_few_decisions(follow: bool) -> None:
    parts = pieces(kernel(follow), menu())
    assert len(parts) == 4
    assert all(len(p.on) <= MOST for p in parts)
    assert kernel(follow).decisions == ((0, 1, 2, 3, 5) if follow else (0, 1, 2, 3, 4, 5))


def test_own_channels_add_up_in_whole_numbers() -> None:
    assert all(told(kernel(), macs, a, own=True) == true(kernel(), macs, a) for a in drawn())


@pytest.mark.parametrize("follow", [False, True])
def test_straight_lines_are_exact(follow: bool) -> None:
    def line(unit: Unit) -> float:
        return (3.0 + 2.0 * unit.cin) * (1.0 if follow else unit.cout) / unit.bits

    for a in [*drawn(), *ENDS]:
        assert told(kernel(follow), line, a) == pytest.approx(true(kernel(follow), line, a), rel=1e-12)


@pytest.mark.parametrize("follow", [False, True])
def test_any_cost_is_exact_at_both_ends(follow: bool) -> None:
    for a in ENDS:
        assert told(kernel(follow), in_blocks, a) == pytest.approx(true(kernel(follow), in_blocks, a), rel=1e-12)


def test_between_it_errs_by_less_than_a_block() -> None:
    """Of kernels that fill blocks of 16 channels, where groups are 16 to 40 wide."""
    errors = [abs(told(kernel(), in_blocks, a) / true(kernel(), in_blocks, a) - 1) for a in drawn(200)]
    assert max(errors) < 0.15
    assert np.mean(errors) < 0.05


def test_three_decisions_or_two_widths_are_one_table() -> None:
    whole = kernel()
    two = Kernel(whole.make, Channels(5, {0: 1}), whole.outs, whole.bits, block=(3,))
    (part,) = pieces(two, menu())
    assert part.on == (0, 3, 4, 5)
    three = Kernel(whole.make, Channels(0, {0: 1, 1: 1}), Channels(16, {}), whole.bits)
    assert [p.on for p in pieces(three, menu())] == [(0, 1, 5)]


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
    found = price(graph, offered, Timing(device, Memory()), np.random.default_rng(0), calibrate=24).menu
    assert all(len(t.on) <= MOST for t in found.terms)
    rng, errors = np.random.default_rng(1), []
    for _ in range(20):
        a = random_assignment(found, rng)
        graph_a = on_graph.apply(graph, found.edits(a))
        ms = device.measure([Artifact("onnx", b"", graph_a)], "final")[0].value
        errors.append(abs(found.total("latency_ms", a) / ms - 1))
    assert np.median(errors) < 0.05
    assert max(errors) < 0.25


def test_what_is_in_a_block_goes_with_it() -> None:
    graph = trace(JOINED["Nested"](), INPUT_SHAPE).graph
    offered = offer(graph, {32: 8, 8: 8})
    units, chosen = UnitMap(graph, offered), offered.menu
    inner = next(s for s in units.sites if s.op.name == "inner.0.0.0")
    (own,) = units.block([inner.op.name])
    gone = [o.label for o in chosen.decisions[own].options if o.value == 0]
    assert gone == ["skip", "skip with add@3", "skip with add@6"]
    for way in range(1, 4):
        assert units.unit(inner, {own: len(chosen.decisions[own].options) - way}) is None
