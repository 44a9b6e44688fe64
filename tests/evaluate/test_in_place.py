"""Networks are watched, so that kernels of any kind have a price, and all of them where chains would take too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph, Op, op
from chipfit.core.kernel import kernels
from chipfit.core.protocols import Node
from chipfit.core.types import Artifact, Fidelity, Measurement
from chipfit.device.null import Null, _op_ms
from chipfit.evaluate.drawn import random_assignment, to_watch
from chipfit.evaluate.in_place import LEAST, WATCHED, Watch
from chipfit.evaluate.observed import operators
from chipfit.evaluate.price import pricer
from chipfit.evaluate.timing import Timing
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from chipfit.space.edits import apply
from chipfit.space.offer import offer
from made_up import Memory
from models.awkward import AWKWARD, INPUT_SHAPE


class Watched(Null):
    """Lets itself be watched: its operators take what they count, in whole microseconds, all of them slower."""

    by_cuts = False
    looks = 0

    def observe(self, artifact: Artifact, runs: int) -> list[Node]:
        type(self).looks += 1
        graph = artifact.graph
        return [(o.name, o.kind, 1.2e3 * _op_ms(graph, o)) for o in graph if _op_ms(graph, o)]


class Converting(Watched):
    def observe(self, artifact: Artifact, runs: int) -> list[Node]:
        first = artifact.graph.ops[1].name
        layout: Node = ("ReorderOutput", "ReorderOutput", 3.0)
        own = super().observe(artifact, runs)
        return [layout, *own[:2], layout, (f"{first}/q", "QuantizeLinear", 5.0), ("Transpose_7", "Transpose", 1.0),
                *own[2:]]  # fmt: skip


def test_operators_sum_up_to_the_latency_and_conversions_stand_apart() -> None:
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    artifact = Artifact("onnx", b"", graph)
    whole = Measurement("latency_ms", 2.0, "measured")
    found = operators(Converting(), artifact, whole)
    assert found is not None
    assert sum(found.details.values()) + found.value == pytest.approx(2.0)
    assert found.details["1 converted"] == pytest.approx(5 / 3 * found.value)
    assert found.details["1 laid out"] == pytest.approx(4 / 3 * found.value)  # what is beside the conversion, no other


def test_what_was_watched_once_is_remembered_whatever_its_names() -> None:
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    renamed = Graph(
        tuple(op(f"n{o.name}", o.kind, tuple(f"n{i}" for i in o.inputs), o.shape, o.weights and f"n{o.weights}", o.bits,
                 **dict(o.attrs)) for o in graph),
        f"n{graph.output}",
    )  # fmt: skip
    Watched.looks, timing = 0, Timing(Watched(), Memory())
    first, again = timing.observed(graph), timing.observed(renamed)
    assert first is not None
    assert again is not None
    assert Watched.looks == 1
    assert {f"n{name}": ms for name, ms in first.ops.items()} == dict(again.ops)


@pytest.mark.parametrize("name", ["resnet8", "mobilenetv2", "vgg6"])
def test_tables_of_kernels_in_place_foretell_whole_networks(name: str) -> None:
    """Where chains would take longer than was planned."""
    graph = trace(BUILDERS[name](), (1, 28, 28)).graph
    offered, timing = offer(graph, {32: 8, 8: 8}), Timing(Watched(), Memory())
    pricing = pricer(timing).price(graph, offered, np.random.default_rng(0), planned_s=1e-3)
    assert WATCHED / 2 < len(pricing.measured) <= WATCHED  # of small menus some are drawn twice
    rng, errors = np.random.default_rng(1), []
    for _ in range(30):
        a = random_assignment(offered.menu, rng)
        true = sum(_op_ms(edited, o) for edited in [apply(graph, offered.menu.edits(a))] for o in edited)
        errors.append(abs(pricing.menu.total("latency_ms", a) / true - 1))
    assert np.mean(errors) < 0.05


def test_half_of_the_watched_networks_mix_precisions() -> None:
    """Borders are known by networks that have some."""
    graph = trace(BUILDERS["mobilenetv2"](), (1, 28, 28)).graph
    menu = offer(graph, {32: 8, 8: 8}).menu
    at = [n for n, d in enumerate(menu.decisions) if d.kind == "precision"]
    drawn = to_watch(menu, 128, np.random.default_rng(0))
    mixed = sum(len({a[n] for n in at}) > 1 for a in drawn)
    assert 0.35 < mixed / len(drawn) < 0.65


class LookedAt(Watched):
    """Looking at an operator takes two microseconds, and bringing a map to another precision three passes over it."""

    def observe(self, artifact: Artifact, runs: int) -> list[Node]:
        graph, nodes = artifact.graph, list[Node]()
        for o in (o for o in graph if _op_ms(graph, o)):
            nodes.append((o.name, o.kind, 1e3 * _op_ms(graph, o) + 2.0))
            if _crossed(graph, o):
                passes = [("Transpose", "Transpose"), (f"{o.name}/q", "QuantizeLinear"), ("Reorder", "Reorder")]
                nodes += [(name, kind, 1e3 * _pass_ms(o)) for name, kind in passes]
        return nodes

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        plain = super().measure(artifacts, fidelity)
        return [replace(m, value=m.value + _crossings_ms(a.graph)) for a, m in zip(artifacts, plain, strict=True)]


def _crossed(graph: Graph, o: Op) -> bool:
    return len(o.shape) == 3 and any(graph[u].bits != o.bits for u in graph.users[o.name])


def _pass_ms(o: Op) -> float:
    return 3e-7 * o.size


def _crossings_ms(graph: Graph) -> float:
    return sum(3 * _pass_ms(o) for o in graph if o.kind != "input" and _crossed(graph, o))


def test_what_looking_adds_and_what_layouts_take_are_told_apart() -> None:
    graph = trace(BUILDERS["mobilenetv2"](), (1, 28, 28)).graph
    offered, timing = offer(graph, {32: 8, 8: 8}), Timing(LookedAt(), Memory())
    pricing = pricer(timing).price(graph, offered, np.random.default_rng(0), planned_s=1e-3)
    rng, errors = np.random.default_rng(1), []
    for _ in range(30):
        a = random_assignment(offered.menu, rng)
        edited = apply(graph, offered.menu.edits(a))
        true = sum(_op_ms(edited, o) for o in edited) + _crossings_ms(edited)
        errors.append(pricing.menu.total("latency_ms", a) / true - 1)
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.03


def test_chains_are_taken_where_there_is_time_for_them() -> None:
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    Watched.looks = 0
    pricer(Timing(Watched(), Memory())).price(
        graph, offer(graph, {32: 8, 8: 8}), np.random.default_rng(0), networks=4, planned_s=1e6
    )
    assert Watched.looks == 0


def test_an_operator_that_no_chain_can_time_has_its_price() -> None:
    """Concatenations cost what they move; a device that cannot be watched has them guessed, and never free."""
    graph = trace(AWKWARD["Concat"](), INPUT_SHAPE).graph
    assert kernels(graph)["concat"].in_place
    for device in (Watched(), Null(), Blind()):
        pricing = pricer(Timing(device, Memory())).price(
            graph, offer(graph, {32: 8, 8: 8}), np.random.default_rng(0), networks=4
        )
        labels = {t.label for t in pricing.menu.terms if t.metric == "latency_ms" and t.table.max() > 0}
        assert "concat" in labels


class Blind(Watched):
    def observe(self, artifact: Artifact, runs: int) -> list[Node]:
        raise ValueError("a file that cannot be cut")


def test_watching_ends_at_the_deadline() -> None:
    now = [0.0]

    class Slow(Watched):
        def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
            now[0] += 10.0
            return super().measure(artifacts, fidelity)

    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    menu, rng = offer(graph, {32: 8, 8: 8}).menu, np.random.default_rng(0)
    graphs = [apply(graph, menu.edits(random_assignment(menu, rng))) for _ in range(12)]
    for seconds, reached in ((0.0, LEAST), (75.0, 8)):
        now[0] = 0.0
        watch = Watch(Timing(Slow(), Memory()), kernels, Deadline.after(seconds, clock=lambda: now[0]))
        watch.look(graphs, 12)
        assert watch.reached == reached
