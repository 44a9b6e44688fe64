"""What there is no time to measure is guessed from what there was time for, in an order that bounds the rest."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from chipfit.compress.profile import key
from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph
from chipfit.core.kernel import Kernel
from chipfit.core.types import Measurement
from chipfit.data.load import load_data
from chipfit.device.null import Null
from chipfit.evaluate import in_time
from chipfit.evaluate.damage import _measured, _table
from chipfit.evaluate.in_time import InTime, by_weight, guessed_ms, inputs_in_time, work
from chipfit.evaluate.price import pricer
from chipfit.evaluate.timing import Timing
from chipfit.evaluate.unscored import UNKNOWN, coarse_first, guessed, lost_shares
from chipfit.space.edits import drops, narrowed_to
from chipfit.space.groups import channel_groups
from chipfit.space.offer import offer
from recipes import small


class Memory(dict[str, Measurement]):
    """Remembers in a dict."""

    def put(self, key: str, measurement: Measurement) -> None:
        self[key] = measurement


class Slow(Timing):
    """A device on a simulated clock, each graph of which takes so many seconds to be timed."""

    def __init__(self, now: list[float], graph_s: float) -> None:
        super().__init__(Null(), Memory())
        self.now, self.graph_s, self.calls = now, graph_s, list[int]()

    def graphs(self, graphs: Sequence[Graph], fidelity: Any) -> list[Measurement]:
        self.calls.append(len(graphs))
        self.now[0] += self.graph_s * len(graphs)
        return super().graphs(graphs, fidelity)


def slow(seconds: float, graph_s: float) -> tuple[InTime, Slow]:
    now = [0.0]
    timing = Slow(now, graph_s)
    return InTime(timing, Deadline.after(seconds, clock=lambda: now[0])), timing


def test_without_a_deadline_all_graphs_are_one_request() -> None:
    timing = Slow([0.0], 1.0)
    graphs = [small.plain_graph()] * 70
    assert None not in InTime(timing, Deadline.never()).graphs(graphs)
    assert timing.calls == [70]


@pytest.mark.parametrize(("seconds", "graph_s"), [(100.0, 0.01), (100.0, 1.0), (100.0, 9.0), (0.0, 5.0)])
def test_timing_ends_at_the_deadline_give_or_take_the_next_graphs(seconds: float, graph_s: float) -> None:
    pace, timing = slow(seconds, graph_s)
    found = pace.graphs([small.plain_graph()] * 500)
    reached = sum(m is not None for m in found)
    assert found[:reached].count(None) == 0
    assert pace.asked == 500
    assert pace.reached == reached >= 1
    assert timing.now[0] <= max(seconds + graph_s, in_time.FIRST * graph_s)
    assert reached == 500 or timing.now[0] >= 0.9 * seconds


def conv(cin: int, cout: int, size: int = 8, kernel: int = 3, bits: int = 32, groups: Any = 1) -> Kernel:
    geometry = {"dilation": (1, 1), "groups": groups, "kernel": (kernel, kernel), "padding": (kernel // 2,) * 2,
                "stride": (1, 1)}  # fmt: skip
    return Kernel("conv", cin, cout, (size, size), bits, "relu", tuple(geometry.items()))


def test_the_heaviest_kinds_come_first_and_each_kind_by_its_ends() -> None:
    heavy = [conv(w, w, 32) for w in (8, 16, 24, 32)]
    light = [conv(w, w, 4) for w in (8, 16, 24)]
    order = by_weight([*light, *heavy])
    assert order[:4] == [heavy[-1], light[-1], heavy[0], light[0]]
    assert set(order) == {*heavy, *light}


def test_a_kernel_that_was_not_timed_costs_its_work_at_the_rate_of_those_like_it() -> None:
    known = {conv(16, 16): 2.0 * work(conv(16, 16)), conv(16, 16, bits=8): 0.5 * work(conv(16, 16, bits=8))}
    assert guessed_ms(conv(32, 32), known) == pytest.approx(2.0 * work(conv(32, 32)))
    assert guessed_ms(conv(32, 32, kernel=1, bits=8), known) == pytest.approx(0.5 * work(conv(32, 32, kernel=1)))
    assert guessed_ms(conv(32, 32), {}) == 0.0
    assert work(conv(64, 64, groups="dw")) < work(conv(64, 64)) / 8


def test_a_menu_that_was_priced_in_part_is_whole_and_says_so() -> None:
    graph = small.plain_graph()
    offered = offer(graph, {32: 8, 8: 8})
    pace, timing = slow(30.0, 1.0)
    part = pricer(timing).price(graph, offered, np.random.default_rng(0), deadline=pace.deadline)
    whole = pricer(Slow([0.0], 1.0)).price(graph, offered, np.random.default_rng(0))
    assert whole.timed == 1.0
    assert 0.0 < part.timed < 1.0
    assert timing.now[0] <= 32.0
    told, true = (p.menu.total("latency_ms", p.menu.as_is) for p in (part, whole))
    assert told == pytest.approx(true, rel=0.5)
    assert [t.table.shape for t in part.menu.terms] == [t.table.shape for t in whole.menu.terms]


@pytest.mark.parametrize(("took", "told"), [((1e-3, 30e-3, 1e-3, 1e-3, 2e-3, 1e-3, 1e-3), 1e-3), ((4.0,), 4.0)])
def test_a_pass_that_others_were_in_the_way_of_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, took: Sequence[float], told: float
) -> None:
    ticks = iter(np.cumsum([t for one in took for t in (0.0, one)]).tolist())
    monkeypatch.setattr(in_time, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    (entry, *_) = small.entries(load_data("digits"), steps=0)
    assert in_time.pass_s(entry.network) == pytest.approx(told / 4)


def test_inputs_are_fewer_where_the_network_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    late = Deadline.after(60.0, clock=lambda: 0.0)
    for pass_s, n in ((1e-4, 1600), (1e-2, None), (10.0, 16)):
        monkeypatch.setattr(in_time, "pass_s", lambda _, s=pass_s: s)
        found = inputs_in_time(cast(Any, SimpleNamespace()), 90, 50_000, late)
        assert found == n or (n is None and 16 < found < 1600)
    assert inputs_in_time(cast(Any, SimpleNamespace()), 90, 700, Deadline.never()) == 700


def test_the_ends_of_every_decision_are_scored_before_what_lies_between() -> None:
    menu = offer(small.plain_graph(), {32: 4, 8: 4}).menu
    singles = {(d, o): x.edits for d, of in enumerate(menu.decisions) for o, x in enumerate(of.options) if x.edits}
    order = coarse_first(menu, singles)
    assert sorted(order) == sorted(key(e) for e in singles.values())
    ends = {
        key(min((o.edits for o in of.options if o.edits), key=lambda edits: -drops(edits) or narrowed_to(edits) or 0))
        for of in menu.decisions
    }  # fmt: skip
    assert ends <= set(order[: len(ends)])


def test_what_was_not_scored_counts_as_the_worst_of_its_kind() -> None:
    menu = offer(small.plain_graph(), {32: 4, 8: 4}).menu
    bits = [(d, 1) for d, of in enumerate(menu.decisions) if of.kind == "precision"]
    widths = [(d, o) for d, of in enumerate(menu.decisions) if of.kind == "width" for o in range(1, len(of.options))]
    found = {bits[0]: 0.3, widths[-1]: 0.7}
    lost = lost_shares(menu, {g.name: g.size for g in channel_groups(small.plain_graph()).groups})
    told = guessed(menu, [*bits[1:], *widths[:-1]], found, lost)
    assert all(told[c] == 0.3 for c in bits[1:])
    own = [c for c in widths[:-1] if c[0] == widths[-1][0]]
    assert not set(own) & set(told)  # these lie on the line to the one that was scored
    others = [c for c in widths[:-1] if c not in own]
    assert others
    assert all(told[c] == pytest.approx(0.7 * (lost[c] / lost[widths[-1]]) ** 2) for c in others)
    assert set(guessed(menu, bits, {}, {}).values()) == {UNKNOWN}


def test_one_width_that_was_scored_tells_wider_ones_and_narrower_ones() -> None:
    """Narrower is worse, even where one width of each group is all there was time for."""
    menu = offer(small.plain_graph(), {32: 4, 8: 4}, bits=(32,)).menu
    sizes = {g.name: g.size for g in channel_groups(small.plain_graph()).groups}
    lost = lost_shares(menu, sizes)
    d = next(d for d, of in enumerate(menu.decisions) if of.kind == "width" and len(of.options) > 3)
    widths = [o for o in range(1, len(menu.decisions[d].options)) if (d, o) in lost]
    (picked,) = (o for e, o in _measured(menu, 1) if e == d and o in widths)
    assert widths[0] < picked < widths[-1] or len(widths) < 3
    table = _table(d, menu.decisions[d], {(d, picked): 0.4}, lost)
    assert table[picked] == 0.4
    assert (np.diff(table[[0, *widths]]) > 0).all()
    assert table[widths[-1]] == pytest.approx(0.4 * (lost[d, widths[-1]] / lost[d, picked]) ** 2)
