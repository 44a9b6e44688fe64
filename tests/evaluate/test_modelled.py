"""A menu's latency on designs of an accelerator is that of the edited networks, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.graph import LAYERS, Graph
from chipfit.core.types import Limit
from chipfit.device.accelerator.device import Accelerator
from chipfit.device.accelerator.named import target
from chipfit.device.accelerator.resources import fits, used
from chipfit.device.accelerator.v2 import network_cycles
from chipfit.device.accelerator.work import Layer, works
from chipfit.evaluate import modelled
from chipfit.evaluate.codesigned import codesigned, grown, larger
from chipfit.evaluate.counts import priced_counts
from chipfit.evaluate.design import lost_work, timed
from chipfit.evaluate.drawn import random_assignment
from chipfit.evaluate.modelled import costs
from chipfit.evaluate.price import pricer
from chipfit.evaluate.sizes import Sizes
from chipfit.evaluate.timing import Timing
from chipfit.nets.trace import trace
from chipfit.search.design_costs import Tabled, tabled
from chipfit.space.edits import apply
from chipfit.space.edits.expand import Expand
from chipfit.space.edits.pattern import candidates
from chipfit.space.edits.precision import JOINS
from chipfit.space.knobs import Knobs
from chipfit.space.menu import MOST
from chipfit.space.offer import Offer, offer
from made_up import Memory
from models.awkward import INPUT_SHAPE
from models.joined import JOINED
from recipes import small

TARGET = "accel:pynq-z2/dsp=64"


def with_knobs(graph: Graph) -> Offer:
    layers = [o for o in graph if o.kind == "conv"]
    knobs = {
        o.name: Knobs(patterns=(candidates(3, 4)[:4],) if o["kernel"] == (3, 3) else (), formats=((2, 4),), int8=True)
        for o in layers
    }
    return offer(graph, {32: 8, 8: 8}, bits=(32,), knobs=knobs)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return trace(small.residual().eval(), (1, 8, 8)).graph


def test_tables_add_up_to_what_each_edited_network_takes_on_each_design(graph: Graph) -> None:
    offered = with_knobs(graph)
    rng = np.random.default_rng(0)
    found = costs(graph, offered.menu, target(TARGET), rng)
    some = np.arange(0, found.count, max(1, found.count // 7))
    held = tabled(found, some)
    for _ in range(25):
        a = random_assignment(offered.menu, rng)
        work = works(apply(graph, offered.menu.edits(a)))
        want = network_cycles(work, found.designs.take(some)) / (found.part.clock_mhz * 1e3)
        got = [held.priced(offered.menu, n).total("latency_ms", a) for n in range(len(some))]
        assert got == pytest.approx(want.tolist(), rel=1e-9)


@pytest.mark.parametrize("name", ["Dense", "InBlocks"])
def test_layers_behind_many_groups_are_on_four_decisions_at_most(name: str) -> None:
    """Exact as they are and at their narrowest; between, off by how far a layer's tiles bend."""
    graph = trace(JOINED[name]().eval(), INPUT_SHAPE).graph
    menu = offer(graph, {32: 8, 8: 8}, bits=(32,), depth=False).menu
    found = costs(graph, menu, target(TARGET), np.random.default_rng(0))
    assert max(map(len, found.scopes)) <= MOST
    some = np.arange(0, found.count, max(1, found.count // 5))
    held, rng = tabled(found, some), np.random.default_rng(1)
    narrowest = tuple(int(n) - 1 for n in menu.sizes)
    errors = []
    for a in (menu.as_is, narrowest, *(random_assignment(menu, rng) for _ in range(10))):
        cycles = network_cycles(works(apply(graph, menu.edits(a))), found.designs.take(some))
        true = cycles / (found.part.clock_mhz * 1e3)
        told = np.array([held.priced(menu, n).total("latency_ms", a) for n in range(len(some))])
        errors.append(float(np.max(np.abs(told / true - 1))))
    assert max(errors[:2]) < 1e-9
    assert max(errors) < 0.15


def test_edits_of_weights_are_read_off_the_graph(graph: Graph) -> None:
    menu = with_knobs(graph).menu
    layer = next(d for d in menu.decisions if d.name.endswith("/weights") and any("taps" in o.label for o in d.options))
    name = layer.name.removesuffix("/weights")
    seen = {}
    for option in layer.options:
        found = next(w for w in works(apply(graph, option.edits)) if w.op == name)
        assert isinstance(found, Layer)
        seen[option.label] = (found.taps, found.weight_bits, found.value_bits)
    assert seen["as it is"] == (9, 16, 16)
    assert seen["6 bit"] == (9, 6, 16)
    assert seen["int8"] == (9, 8, 8)
    assert seen["5 of 9 taps, int8"] == (5, 8, 8)


def test_contenders_hold_the_fastest_design_of_the_untouched_network(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = with_knobs(graph)
    everyone = costs(graph, offered.menu, target(TARGET), np.random.default_rng(0))
    monkeypatch.setattr(modelled, "MOST_TIMES", 1.0)
    few = costs(graph, offered.menu, target(TARGET), np.random.default_rng(0))
    assert few.count == modelled.FEWEST_DESIGNS < everyone.count
    least = [network_cycles(works(graph), c.designs).min() for c in (everyone, few)]
    assert least[0] == least[1]


def test_designs_that_hold_int8_networks_alone_run_these_and_no_others(graph: Graph) -> None:
    """Banks of weights in half as many bits leave room for more multipliers."""
    layers = [o.name for o in graph if o.kind in LAYERS | JOINS]
    menu = offer(graph, {32: 8, 8: 8}, bits=(32,), knobs={name: Knobs(int8=True) for name in layers}).menu
    to = target("accel:pynq-z2/dsp=64/lutram=256/bram18=80")
    found = costs(graph, menu, to, np.random.default_rng(0))
    tight = ~fits(used(found.designs, works(graph), to.part), to.part)
    assert tight.any()
    assert not tight.all()
    in_int8 = tuple(len(d.options) - 1 if d.name.endswith(("/weights", "/values")) else 0 for d in menu.decisions)
    one_in_16 = tuple(0 if d == 0 else o for d, o in enumerate(reversed(in_int8)))[::-1]
    everyone = tabled(found, np.arange(found.count))
    for assignment, runs_on_all in ((menu.as_is, False), (one_in_16, False), (in_int8, True)):
        ms = sum(t[(slice(None), *(assignment[d] for d in on))] for on, t in zip(*_of(everyone), strict=True))
        work = works(apply(graph, menu.edits(assignment)))
        assert np.isinf(ms[tight]).all() != runs_on_all
        reached = np.isfinite(ms)
        expected = network_cycles(work, found.designs.take(reached)) / (to.part.clock_mhz * 1e3)
        np.testing.assert_allclose(ms[reached], expected)
        assert fits(used(found.designs.take(reached), work, to.part), to.part).all()


def _of(everyone: Tabled) -> tuple[tuple[tuple[int, ...], ...], tuple[np.ndarray, ...]]:
    return everyone.scopes, everyone.held


def test_a_joint_search_ends_within_the_budget_on_the_device(graph: Graph) -> None:
    """What it finds is simulated on every design of the part, and never worse than the best design kept fixed."""
    offered = with_knobs(graph)
    device = Accelerator(TARGET)
    timing = Timing(device, Memory())
    pricing = pricer(timing).price(graph, offered, np.random.default_rng(0))
    assert pricing.costs is not None
    assert (pricing.error, pricing.predicted) == (0.0, ())
    counted = priced_counts(graph, offered).priced([t for t in pricing.menu.terms if t.metric == "latency_ms"])
    menu = counted.priced(lost_work(counted, 1.0))
    budget = 0.5 * device.chosen(graph).latency_ms
    limits = [Limit("latency_ms", budget)]
    found = codesigned(menu, pricing.costs, graph, limits, timing, Sizes(menu, graph, timing))
    assert found.joint.gap == 0.0
    assert found.design.measured_ms <= budget
    assert found.design.measured_ms == device.chosen(apply(graph, menu.edits(found.design.assignment))).latency_ms


def test_kernels_grow_where_that_costs_nothing_that_a_budget_lacks(graph: Graph) -> None:
    """The widest kernels that a budget has room for; nothing where there is none."""
    layers = [o.name for o in graph if o.kind == "conv" and o["kernel"] == (3, 3)]
    offered = offer(graph, {32: 8, 8: 8}, bits=(32,), knobs={name: Knobs(expand=True, int8=True) for name in layers})
    timing = Timing(Accelerator(TARGET), Memory())
    menu = pricer(timing).price(graph, offered, np.random.default_rng(0)).menu
    as_is = timed(menu, graph, menu.as_is, timing)
    assert [decision for decision, _ in larger(menu, menu.as_is)] == [menu.find(f"{n}/weights") for n in layers]
    assert grown(menu, graph, as_is, timing, as_is.measured_ms) is None
    made = grown(menu, graph, as_is, timing, 1.5 * as_is.measured_ms)
    assert made is not None
    assert as_is.measured_ms < made.measured_ms <= 1.5 * as_is.measured_ms
    assert {type(e) for e in menu.edits(made.assignment)} == {Expand}
