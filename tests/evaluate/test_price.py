"""Prices: on a device whose latency is counted, tables from chains must foretell whole networks almost to the digit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import pytest

from chipfit.core.errors import Infeasible
from chipfit.core.graph import Graph, Op
from chipfit.core.kernel import Kernel
from chipfit.core.types import Artifact, DeviceFacts, Fidelity, Limit, Measurement
from chipfit.device.null import MS_PER_MMAC, MS_PER_OP, Null
from chipfit.evaluate.chains import ABREAST, LONG, beside, chain, recipe
from chipfit.evaluate.counts import peak_memory_mb, priced_counts
from chipfit.evaluate.design import fitted
from chipfit.evaluate.drawn import random_assignment
from chipfit.evaluate.kernel_ms import kernel_ms
from chipfit.evaluate.price import pricer
from chipfit.evaluate.pricing import NOISES, noise_of, scales
from chipfit.evaluate.timing import Timing
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from chipfit.search.assign import assign, reachable
from chipfit.space.edits import Precision, Skip, Width, apply
from chipfit.space.menu import Assignment, Menu
from chipfit.space.offer import offer
from made_up import Memory
from models.awkward import AWKWARD, INPUT_SHAPE


def conv(cin: int, cout: int, stride: int = 1, bits: int = 32, groups: int | str = 1) -> Kernel:
    attrs = {"kernel": (3, 3), "stride": (stride, stride), "padding": (1, 1), "dilation": (1, 1), "groups": groups}
    return Kernel("conv", cin, cout, (8, 8), bits, "relu", tuple(sorted(attrs.items())))


@pytest.mark.parametrize("name", ["resnet8", "mobilenetv2", "vgg6", "lenet5"])
def test_tables_foretell_whole_networks(name: str) -> None:
    graph = trace(BUILDERS[name](), (1, 28, 28)).graph
    offered = offer(graph, {32: 8, 8: 8})
    pricing = pricer(Timing(Null(), Memory())).price(graph, offered, np.random.default_rng(0), networks=40)
    errors = _errors(pricing.menu, graph, Null())
    assert np.median(errors) < 0.04
    assert max(errors) < 0.12


def test_tables_are_corrected_where_they_are_exploited() -> None:
    """A device that adds a cost no table knows of to narrow networks: timing optima tells it."""
    graph = trace(BUILDERS["vgg6"](), (1, 28, 28)).graph
    offered = offer(graph, {32: 8, 8: 8})
    pricing = pricer(Timing(Null(), Memory())).price(graph, offered, np.random.default_rng(0), networks=8)
    narrow = tuple(n - 1 for n in offered.menu.sizes)
    assert narrow not in pricing.assignments

    class Biased(Null):
        def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
            return [replace(m, value=1.2 * m.value) for m in super().measure(artifacts, fidelity)]

    refined = pricing.refined(graph, [narrow, narrow, pricing.assignments[0]], Timing(Biased(), Memory()))
    assert refined.assignments == (*pricing.assignments, narrow)
    true = refined.measured[-1]
    before, after = (abs(p.menu.total("latency_ms", narrow) - true) for p in (pricing, refined))
    assert after < before
    assert len(refined.predicted) == len(refined.measured) == len(refined.assignments)
    assert refined.refined(graph, [narrow], Timing(Biased(), Memory())) is refined


class Blocked(Null):
    """Float kernels fill blocks of 16 channels and keep maps so: narrower readers unpack a map, a max pool that reads
    int8 made of one is slow."""

    def facts(self) -> DeviceFacts:
        return replace(super().facts(), channel_block={32: 16, 8: 4})

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        counted = super().measure(artifacts, fidelity)
        return [replace(m, value=m.value + self.extra_ms(a.graph)) for a, m in zip(artifacts, counted, strict=True)]

    def extra_ms(self, graph: Graph) -> float:
        filled = sum(graph.macs(o) * (self.filled(graph, o) - 1) for o in graph if o.kind == "conv" and o.bits == 32)
        convs = [o for o in graph if o.kind == "conv" and o["groups"] == 1 and o.bits == 32]
        unpacked = {o.inputs[0] for o in convs if graph[o.inputs[0]].shape[0] < 16} - {"input"}
        pools = [o for o in graph if o.kind == "max_pool" and o.bits == 8 and graph[o.inputs[0]].bits == 32]
        slow = sum(prod(graph.in_shape(o)) for o in pools)
        return 0.003 * len(unpacked) + 2e-6 * slow + MS_PER_MMAC[32] / 1e6 * filled

    def filled(self, graph: Graph, o: Op) -> float:
        """What a convolution computes, of what it must."""
        widths = [o.shape[0]] if o["groups"] > 1 else [o.shape[0], graph.in_shape(o)[0]]
        return prod(-(-w // 16) * 16 / w for w in widths if w > 16)


@pytest.mark.parametrize("name", ["lenet5", "vgg6", "dscnn", "resnet8", "mobilenetv2"])
def test_layouts_are_priced_where_maps_change_them(name: str) -> None:
    graph = trace(BUILDERS[name](), (1, 28, 28)).graph
    device = Blocked()
    offered = offer(graph, device.facts().channel_block)
    pricing = pricer(Timing(device, Memory())).price(graph, offered, np.random.default_rng(0), networks=40)
    errors = _errors(pricing.menu, graph, device)
    assert np.median(errors) < 0.03
    assert max(errors) < 0.12


def test_widths_that_fill_the_same_blocks_are_measured_once() -> None:
    memory = Memory()
    ms = kernel_ms({conv(24, 24), conv(32, 32), conv(8, 8, groups="dw")}, Timing(Blocked(), memory))
    assert ms[conv(24, 24)] == ms[conv(32, 32)]
    assert len(memory.kept) == 4
    assert set(ms) == {conv(24, 24), conv(32, 32), conv(8, 8, groups="dw")}


def _errors(menu: Menu, graph: Graph, device: Null) -> list[float]:
    """How far a priced menu is off for 30 random networks, as shares of what they take."""
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(30):
        a = random_assignment(menu, rng)
        true = device.measure([_artifact(apply(graph, menu.edits(a)))], "final")[0].value
        errors.append(abs(menu.total("latency_ms", a) - true) / true)
    return errors


def _artifact(graph: Graph) -> object:
    return Artifact("onnx", b"", graph)


def test_a_second_pricing_measures_nothing() -> None:
    graph = trace(BUILDERS["vgg6"](), (1, 28, 28)).graph
    memory, offered = Memory(), offer(graph, {32: 16, 8: 8})
    first = pricer(Timing(Null(), memory)).price(graph, offered, np.random.default_rng(0), networks=4)
    kept = dict(memory.kept)

    class Silent(Null):
        def measure(self, artifacts: object, fidelity: object) -> list[Measurement]:
            raise AssertionError("measured again")

    second = pricer(Timing(Silent(), memory)).price(graph, offered, np.random.default_rng(0), networks=4)
    assert memory.kept == kept
    assert [t.table.tolist() for t in second.menu.terms] == [t.table.tolist() for t in first.menu.terms]


def test_counts_are_those_of_the_edited_graph() -> None:
    graph = trace(AWKWARD["SqueezeExcite"](), INPUT_SHAPE).graph
    offered = offer(graph, {8: 8}, bits=(32, 8))
    menu = priced_counts(graph, offered)
    rng = np.random.default_rng(0)
    for _ in range(20):
        a = random_assignment(menu, rng)
        edited = apply(graph, menu.edits(a))
        assert menu.total("macs", a) == edited.total_macs
        assert menu.total("params", a) == edited.total_params


def test_recipes_measure_marginal_cost() -> None:
    square = recipe(conv(16, 16))
    assert [sum(o.kind == "conv" for o in g) for g in square.graphs] == [1, LONG]
    assert square.value([1.0, 6.0], []) == pytest.approx(1.0)
    widening = recipe(conv(16, 24))
    assert [sum(o.kind == "conv" for o in g) for g in widening.graphs] == [1, ABREAST]
    assert widening.needs == (Kernel("add", 24, 24, (8, 8), 32),)
    strided = recipe(conv(16, 24, stride=2))
    assert [sum(o.kind == "add" for o in g) for g in strided.graphs] == [0, ABREAST - 1]
    assert strided.needs == (Kernel("add", 24, 24, (4, 4), 32),)
    assert conv(8, 8, stride=2).out_size == (4, 4)
    assert chain([conv(8, 8, groups="dw")]).total_macs == 8 * 9 * 64
    assert beside([conv(8, 16, stride=2)], 3).total_macs == 3 * 8 * 16 * 9 * 16
    narrow = recipe(conv(8, 8), block=16)
    assert [sum(o.kind == "add" for o in g) for g in narrow.graphs] == [0, ABREAST - 1]
    assert narrow.value([1.0, 5.5], [0.5]) == pytest.approx(1.0)


def test_additions_stand_behind_a_convolution() -> None:
    """What a runtime adds to the network's input it does not fuse."""
    plain, with_blocks = recipe(Kernel("add", 16, 16, (8, 8), 32)).graphs
    adds = [o for o in with_blocks if o.kind == "add"]
    assert len(adds) == LONG // 2
    assert not any("input" in o.inputs for o in adds)
    assert with_blocks.total_macs == plain.total_macs


def test_equal_pools_read_maps_of_their_own() -> None:
    """Runtimes compute equal operators on one map once."""
    window = (("count_include_pad", 0), ("ceil", 0), ("kernel", (2, 2)), ("padding", (0, 0)), ("stride", (2, 2)))
    pools = recipe(Kernel("avg_pool", 16, 16, (8, 8), 32, "", window))
    read = [o.inputs for o in pools.graphs[1] if o.kind == "avg_pool"]
    assert len(set(read)) == len(read) == ABREAST
    assert pools.value([1.0, 10.0], [1.5, 0.5]) == pytest.approx(1.0)


def test_a_gate_stands_between_convolutions() -> None:
    plain, gated = recipe(Kernel("mul", 16, 16, (8, 8), 32, "", (("gate", 1),))).graphs
    products = [o for o in gated if o.kind == "mul"]
    assert products
    assert all({gated.in_shape(o, i) for i in (0, 1)} == {(16, 8, 8), (16, 1, 1)} for o in products)
    assert gated.total_macs == plain.total_macs


def test_activations_are_priced_with_what_they_follow() -> None:
    swish = replace(conv(16, 16), act="hard_swish")
    assert [sum(o.kind == "hard_swish" for o in g) for g in recipe(swish).graphs] == [1, LONG]
    plain, added = recipe(Kernel("add", 16, 16, (8, 8), 32, "hard_swish")).graphs
    assert sum(o.kind == "hard_swish" for o in added) == LONG // 2
    assert not any(o.kind == "hard_swish" for o in plain)


def test_large_families_are_sampled_and_interpolated() -> None:
    """On a device that counts MACs, a grid tells everything between its points."""
    units = {conv(a, b) for a in range(8, 104, 8) for b in range(8, 136, 8)}
    memory = Memory()
    ms = kernel_ms(units, Timing(Null(), memory))
    assert len(memory.kept) < len(units) / 2
    for u in units:
        assert ms[u] == pytest.approx(u.cin * u.cout * 9 * 64 / 1e8 + 2 * MS_PER_OP, rel=1e-6)


def test_large_families_of_one_width_are_sampled_along_it() -> None:
    units = {conv(w, w, groups="dw") for w in range(8, 8 * 72, 8)}
    memory = Memory()
    ms = kernel_ms(units, Timing(Null(), memory))
    assert len(memory.kept) < len(units) / 3
    for u in units:
        assert ms[u] == pytest.approx(u.cin * 9 * 64 / 1e8 + 2 * MS_PER_OP, rel=1e-6)


def test_a_family_smaller_than_its_grid_is_measured_whole() -> None:
    """Eight units of 8 widths in and 4 out would be nine on a grid."""
    units = {conv(8 * (n + 1), 8 * (1 + n % 4)) for n in range(8)}
    memory = Memory()
    kernel_ms(units, Timing(Null(), memory))
    assert len(memory.kept) == 2 * len(units) + 2 * 4  # two chains each, and two for the additions of each width out


def test_odd_widths_are_measured_as_they_are() -> None:
    """A layer of 30 channels as it came takes longer than one of 32: it is not rounded up."""
    memory = Memory()
    kernel_ms({conv(30, 30), conv(32, 32)}, Timing(Blocked(), memory))
    assert len(memory.kept) == 4


def test_units_that_cannot_be_timed_are_not_free() -> None:
    """A runtime that fails on chains of 24 channels: those cost what like ones do."""

    class Failing(Null):
        def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
            failed = [any(o.shape[0] == 24 for o in a.graph) for a in artifacts]
            counted = zip(super().measure(artifacts, fidelity), failed, strict=True)
            return [replace(m, value=float("nan")) if bad else m for m, bad in counted]

    units = {conv(w, w) for w in (16, 24, 32)}
    ms, true = kernel_ms(units, Timing(Failing(), Memory())), kernel_ms(units, Timing(Null(), Memory()))
    assert ms[conv(32, 32)] == true[conv(32, 32)]
    assert 0.5 < ms[conv(24, 24)] / true[conv(24, 24)] < 2


def test_a_design_holds_its_budget_when_measured() -> None:
    """Tables that promise too much are found out by timing, and the limit is scaled until the design holds."""
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    offered = offer(graph, {8: 8}, bits=(32,))
    timing = Timing(Null(), Memory())
    menu = priced_counts(graph, offered)
    honest = pricer(timing).price(graph, offered, np.random.default_rng(0), networks=4).menu
    terms = [replace(t, table=t.table * 0.8) for t in honest.terms if t.metric == "latency_ms"]
    damage = [replace(t, metric="damage", table=t.table.max() - t.table) for t in menu.terms if t.metric == "macs"]
    menu = menu.priced([*terms, *damage])
    budget = 0.5 * Null().measure([_artifact(graph)], "final")[0].value

    def solve(limits: object) -> tuple[int, ...]:
        return assign(menu, limits)  # type: ignore[arg-type]

    design = fitted(menu, graph, [Limit("latency_ms", budget)], timing, solve, lambda a: menu.total("damage", a))
    assert 0.85 * budget <= design.measured_ms <= budget
    assert design.predicted_ms < design.measured_ms


@pytest.mark.parametrize(("share", "held"), [(0.985, True), (0.9, False)])
def test_a_budget_a_little_below_what_tables_reach_is_decided_by_measuring(share: float, held: bool) -> None:
    """These tables are too slow by a few per cent."""
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    offered, timing = offer(graph, {8: 8}, bits=(32,)), Timing(Null(), Memory())
    honest = pricer(timing).price(graph, offered, np.random.default_rng(0), networks=40).menu
    slow = [replace(t, table=t.table * 1.08) for t in honest.terms if t.metric == "latency_ms"]
    counts = [t for t in priced_counts(graph, offered).terms if t.metric == "macs"]
    damage = [replace(t, metric="damage", table=t.table.max() - t.table) for t in counts]
    menu = honest.priced([*slow, *damage])
    least = menu.total("latency_ms", assign(menu.priced([*slow, *(replace(t, metric="damage") for t in slow)]), []))
    limit = Limit("latency_ms", share * least)
    solve = lambda limits: assign(menu, limits)  # noqa: E731
    if held:
        found = fitted(menu, graph, [limit], timing, solve, lambda a: menu.total("damage", a))
        assert found.measured_ms <= limit.value < found.predicted_ms
    else:
        with pytest.raises(Infeasible, match="is impossible"):
            fitted(menu, graph, [limit], timing, solve, lambda a: menu.total("damage", a))


def test_what_misses_the_margin_and_holds_the_limit_is_taken_where_nothing_else_is() -> None:
    """A bad moment had a tighter margin aimed at, below what the menu reaches."""
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    offered, timing = offer(graph, {8: 8}, bits=(32,)), Timing(Null(), Memory())
    priced = pricer(timing).price(graph, offered, np.random.default_rng(0), networks=40).menu
    counts = [t for t in priced_counts(graph, offered).terms if t.metric == "macs"]
    damage = [replace(t, metric="damage", table=t.table.max() - t.table) for t in counts]
    menu = priced.priced([*priced.terms, *damage])
    _, fastest = reachable(menu, "latency_ms")
    least_ms = timing.graphs([apply(graph, menu.edits(fastest))], "final")[0].value
    solve, limit = lambda limits: assign(menu, limits), Limit("latency_ms", 1.05 * least_ms)
    found = fitted(menu, graph, [limit], timing, solve, lambda a: menu.total("damage", a), margin=0.8)
    assert 0.8 * limit.value < found.measured_ms <= limit.value


class Moody(Null):
    """Every quick timing of a whole network is off by a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        off = self._factor if fidelity == "quick" else 1.0
        return [replace(m, value=off * m.value) for m in super().measure(artifacts, fidelity)]


def _fitted_to(share: float, device: Null) -> tuple[Graph, Assignment, float]:
    """A graph edited for a share of what its tables say that it takes, as that device times it, and the limit (ms)."""
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    offered = offer(graph, {8: 8}, bits=(32,))
    priced = pricer(Timing(Null(), Memory())).price(graph, offered, np.random.default_rng(0), networks=40).menu
    counts = [t for t in priced_counts(graph, offered).terms if t.metric == "macs"]
    damage = [replace(t, metric="damage", table=t.table.max() - t.table) for t in counts]
    menu = priced.priced([*priced.terms, *damage])
    limit = Limit("latency_ms", share * menu.total("latency_ms", menu.as_is))
    found = fitted(
        menu, graph, [limit], Timing(device, Memory()), lambda limits: assign(menu, limits),
        lambda a: menu.total("damage", a),
    ).assignment  # fmt: skip
    return apply(graph, menu.edits(found)), found, limit.value


def test_a_bad_moment_does_not_cost_a_good_design() -> None:
    """A quick timing that contradicts the tables is taken again before the design is given up."""
    assert _fitted_to(0.5, Moody(1.1))[1] == _fitted_to(0.5, Null())[1]


@pytest.mark.parametrize("share", [0.4, 0.5, 0.6, 0.7, 0.8])
def test_a_flattering_moment_does_not_choose_a_design_that_its_file_breaks(share: float) -> None:
    """A quick timing that holds the limit by little is taken again, as the file will be."""
    edited, _, limit_ms = _fitted_to(share, Moody(0.96))
    assert Null().measure([_artifact(edited)], "final")[0].value <= limit_ms


def test_peak_memory_by_hand() -> None:
    graph = trace(AWKWARD["Flat"](), INPUT_SHAPE).graph
    # the leaky ReLU after the convolution is not in place: two maps of 16*8*8 floats are alive together
    assert peak_memory_mb(graph) == pytest.approx(2 * 16 * 64 * 4 / 1e6)


def test_edits_of_all_kinds_apply_together() -> None:
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    edited = apply(graph, [Skip("3.add"), Width("0", tuple(range(8))), Precision("4.body.0", 8)])
    assert "3.body.0" not in edited.by_name
    assert edited["4.body.0"].bits == 8
    assert edited["0"].shape == (8, 28, 28)


def test_noise_is_not_fitted() -> None:
    """On a busy machine scales are drawn to what is known of them, on a quiet one to what was measured."""
    rng, spread = np.random.default_rng(3), np.full(12, 0.5)
    sums, true = rng.uniform(0.0, 1.0, (24, 12)), np.exp(0.2 * rng.normal(size=12))
    fresh = rng.uniform(0.0, 1.0, (200, 12))
    quiet = sums @ true * (1 + 0.003 * rng.normal(size=24))
    busy = sums @ true * (1 + 0.06 * rng.normal(size=24))
    assert noise_of(sums, quiet, spread) == NOISES[0]
    assert noise_of(sums, busy, spread) >= NOISES[2]
    for measured, most in ((quiet, 0.02), (busy, 0.06)):
        errors = fresh @ scales(sums, measured, spread) / (fresh @ true) - 1
        assert np.abs(errors).mean() < most
