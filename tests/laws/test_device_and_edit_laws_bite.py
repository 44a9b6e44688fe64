"""The device and edit laws hold for what is right and name what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from chipfit.core.edits import Edit, Edited, Padded, Rounded, Same, Source, Take
from chipfit.core.graph import Graph, Network, Op, op
from chipfit.core.types import Artifact, DeviceFacts, Measurement, OpTime
from chipfit.space.edits import Precision, Width, from_plain, to_plain
from chipfit.testing import DeviceLaws, EditLaws

Breaches = Callable[[object], set[str]]
STATE = np.random.default_rng(0)


# --- devices

LINEAR = Graph((op("x", "input", (), (3,)), op("y", "linear", ("x",), (2,), "y", bias=0)), "y")


@dataclass
class Fake:
    """Takes 1 ms for each byte; runs one fixed matrix."""

    name: str = "fake"
    format: str = "onnx"
    closed: int = 0
    scale: list[float] = field(default_factory=lambda: [1.0])

    def facts(self) -> DeviceFacts:
        return DeviceFacts(self.name, "fake-1", (), {32: 8}, False, 0.1)

    def measure(self, artifacts: Sequence[Artifact], fidelity: str) -> list[Measurement]:
        return [self.one(a) for a in artifacts]

    def one(self, a: Artifact) -> Measurement:
        if b"garbage" in a.data:
            return Measurement("latency_ms", math.nan, "measured", "fake-1", "failed: not a model")
        return Measurement("latency_ms", float(len(a.data)), "measured", "fake-1", "exact", spread=0.01)

    def run(self, artifact: Artifact, inputs: np.ndarray) -> np.ndarray:
        return inputs @ np.arange(6, dtype=np.float32).reshape(3, 2)

    def profile(self, artifact: Artifact) -> list[OpTime]:
        return [OpTime("y", "linear", 2.0, 6, 24, "compute"), OpTime("x", "input", 0.0, 0, 0, "launch")]

    def close(self) -> None:
        self.closed += 1


class AnyDevice(DeviceLaws):
    data = b"model"

    def __init__(self, **wrong: Callable) -> None:
        self.wrong = wrong

    def open(self) -> Fake:  # type: ignore[override]
        device = Fake()
        for name, method in self.wrong.items():
            setattr(device, name, method)
        return device

    def artifacts(self) -> list[Artifact]:
        return [Artifact("onnx", self.data, LINEAR), Artifact("onnx", self.data * 2, LINEAR)]

    def inputs(self) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def altered(**fields: object) -> Callable:
    return lambda artifacts, fidelity: [replace(Fake().one(a), **fields) for a in artifacts]


def close_once() -> Callable:
    closed = []

    def close() -> None:
        assert not closed, "it was closed before"
        closed.append(True)

    return close


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ({"format": "rtl"}, "it_meets_the_protocol"),
        ({"name": ""}, "it_meets_the_protocol"),
        ({"facts": lambda: DeviceFacts("fake", "", (), {32: 8}, False, 0.1)}, "facts_are_stated_and_steady"),
        ({"facts": lambda: DeviceFacts("fake", "f", (), {}, False, 0.1)}, "facts_are_stated_and_steady"),
        (
            {"facts": lambda: DeviceFacts("fake", "f", (), {32: 8}, False, STATE.random())},
            "facts_are_stated_and_steady",
        ),
        ({"measure": lambda a, f: Fake().measure(a[:1], f)}, "one_measurement_for_each_artifact"),
        (
            {"measure": lambda a, f: Fake().measure([*a, *a][: max(1, len(a))] or AnyDevice().artifacts()[:1], f)},
            "no_artifacts_give_no_measurements",
        ),
        ({"measure": altered(value=0.0)}, "one_measurement_for_each_artifact"),
        ({"measure": altered(metric="macs")}, "one_measurement_for_each_artifact"),
        ({"measure": altered(where="")}, "a_final_look_is_a_measurement_too"),
        ({"measure": altered(protocol="")}, "a_broken_artifact_fails_alone"),
        ({"measure": altered(value=1.0)}, "a_broken_artifact_fails_alone"),
        (
            {"measure": lambda a, f: [replace(m, value=m.value * (1 + i)) for i, m in enumerate(Fake().measure(a, f))]},
            "an_artifact_is_as_fast_as_itself",
        ),
        ({"run": lambda a, x: Fake().run(a, x)[:2]}, "outputs_are_one_for_each_input_and_repeat"),
        ({"run": lambda a, x: Fake().run(a, x).astype(float)}, "outputs_are_one_for_each_input_and_repeat"),
        ({"run": lambda a, x: Fake().run(a, x)[:, :1]}, "outputs_are_one_for_each_input_and_repeat"),
        (
            {"run": lambda a, x: Fake().run(a, x) + np.float32(STATE.random())},
            "outputs_are_one_for_each_input_and_repeat",
        ),
        ({"run": lambda a, x: Fake().run(a, x - x.mean(0))}, "outputs_are_one_for_each_input_and_repeat"),
        ({"profile": lambda a: []}, "a_profile_is_slowest_first"),
        ({"profile": lambda a: Fake().profile(a)[::-1]}, "a_profile_is_slowest_first"),
        ({"close": close_once()}, "closing_twice_is_harmless"),
    ],
)
def test_a_wrong_device_is_caught(wrong: dict[str, Callable], law: str, breaches: Breaches) -> None:
    assert breaches(AnyDevice()) == set()
    assert law in breaches(AnyDevice(**wrong))


def test_a_format_without_bytes_cannot_be_broken(breaches: Breaches) -> None:
    class NoBytes(AnyDevice):
        data = b""

    flat = {"measure": lambda a, f: [replace(Fake().one(x), value=1.0) for x in a]}
    assert breaches(NoBytes(**flat)) == set()


# --- edits


def chain() -> Network:
    """Two hidden groups of 4 and 3 channels between three linear layers."""
    ops = (
        op("x", "input", (), (2,)),
        op("a", "linear", ("x",), (4,), "a", bias=1),
        op("b", "linear", ("a",), (3,), "b", bias=1),
        op("c", "linear", ("b",), (2,), "c", bias=0),
    )
    graph = Graph(ops, "c")
    rng = np.random.default_rng(0)
    shapes = {n: s for o in ops for n, s in graph.weight_shapes(o).items()}
    return Network(graph, {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()})


def edit_graph(graph: Graph, edits: Sequence[Edit]) -> Edited:
    keep = {e.group: tuple(e.keep) for e in edits if isinstance(e, Width)}
    bits = {e.site: e.bits for e in edits if isinstance(e, Precision)}
    arrays: dict[str, Source] = {}

    def changed(o: Op) -> Op:
        for name, shape in graph.weight_shapes(o).items():
            places = {0: keep.get(o.name), 1: keep.get(o.inputs[0])}
            axes = {axis: p for axis, p in places.items() if p is not None and axis < len(shape)}
            arrays[name] = Take(name, axes) if axes else Same(name)
        width = len(keep[o.name]) if o.name in keep else o.shape[0]
        return replace(o, shape=(width,), bits=bits.get(o.name, o.bits))

    made = Graph(tuple(changed(o) for o in graph.ops), graph.output)
    channels = {name: {0: places} for name, places in keep.items()}
    return Edited(made, arrays, {o.name: o.name for o in graph}, channels)


def edit_network(network: Network, edits: Sequence[Edit]) -> Network:
    weights = dict(network.weights)
    reader = {"a": "b", "b": "c"}
    for e in edits:
        if isinstance(e, Width):
            keep = list(e.keep)
            for name in ("weight", "bias"):
                weights[f"{e.group}.{name}"] = weights[f"{e.group}.{name}"][keep]
            weights[f"{reader[e.group]}.weight"] = weights[f"{reader[e.group]}.weight"][:, keep]
    return Network(edit_graph(network.graph, edits).graph, weights)


class AnyEdits(EditLaws):
    def __init__(
        self,
        on_graph: Callable = edit_graph,
        on_network: Callable = edit_network,
        trace: Callable = lambda module, shape: module,
        edits: Sequence[Edit] = (Width("a", (0, 2)), Width("b", (1,)), Precision("c", 8)),
    ) -> None:
        self.on_graph, self.on_network, self.traced, self.given = on_graph, on_network, trace, edits

    def network(self) -> Network:
        return chain()

    def edits(self) -> Sequence[Edit]:
        return self.given

    def trace(self) -> Callable:
        return self.traced

    def build(self) -> Callable:
        return lambda network: network

    def apply_network(self) -> Callable:
        return self.on_network

    def edited(self) -> Callable:
        return self.on_graph

    def to_plain(self) -> Callable:
        return to_plain

    def from_plain(self) -> Callable:
        return from_plain


def in_place(network: Network, edits: Sequence[Edit]) -> Network:
    if edits:
        network.weights["a.bias"][:] = 0.0
    return edit_network(network, edits)


def said(**wrong: Callable[[Edited], object]) -> Callable:
    """Edits a graph rightly, and says something wrong of it."""

    def on_graph(graph: Graph, edits: Sequence[Edit]) -> Edited:
        made = edit_graph(graph, edits)
        return replace(made, **{name: say(made) for name, say in wrong.items()})

    return on_graph


def test_only_edits_that_say_so_may_add_macs(breaches: Breaches) -> None:
    def doubled(graph: Graph, edits: Sequence[Edit]) -> Edited:
        """A precision of c makes b wider, of all things."""
        made = edit_graph(graph, edits)
        return edit_graph(graph, [*edits, Width("b", (0, 1, 2, 2, 1))]) if Precision("c", 8) in edits else made

    class Growing(AnyEdits):
        def grows(self) -> Callable[[Edit], bool]:
            return lambda edit: isinstance(edit, Precision)

    costs = "an_edit_changes_the_graph_and_costs_no_more"
    only = {"on_graph": doubled, "on_network": lambda n, es: edit_network(n, es), "edits": (Precision("c", 8),)}
    assert costs in breaches(AnyEdits(**only))  # type: ignore[arg-type]
    assert costs not in breaches(Growing(**only))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ({"edits": ()}, "graph_and_weights_agree"),
        ({"edits": (Width("a", (0, 1, 2, 3)),)}, "an_edit_changes_the_graph_and_costs_no_more"),
        ({"on_graph": lambda g, es: edit_graph(g, es[:1])}, "graph_and_weights_agree"),
        ({"on_graph": lambda g, es: edit_graph(g, [*es, Precision("a", 8)])}, "no_edits_change_nothing"),
        (
            {"on_graph": lambda g, es: edit_graph(g, [Width("b", tuple(range(9))), *es])},
            "an_edit_changes_the_graph_and_costs_no_more",
        ),
        (
            {
                "on_graph": lambda g, es: edit_graph(
                    g, [*es, Precision("b", 8)] if es and isinstance(es[0], Precision) else es
                )
            },
            "order_does_not_matter",
        ),
        ({"on_network": lambda n, es: Network(edit_graph(n.graph, es).graph, n.weights)}, "graph_and_weights_agree"),
        (
            {"on_graph": said(arrays=lambda e: {n: s for n, s in e.arrays.items() if n != "c.weight"})},
            "weights_are_what_is_said_of_the_arrays",
        ),
        (
            {"on_graph": said(arrays=lambda e: {n: Same(n) for n in e.arrays})},
            "weights_are_what_is_said_of_the_arrays",
        ),
        (
            {"on_graph": said(arrays=lambda e: {**e.arrays, "a.weight": Rounded(e.arrays["a.weight"], 1, 2)})},
            "weights_are_what_is_said_of_the_arrays",
        ),
        (
            {"on_graph": said(arrays=lambda e: {**e.arrays, "b.bias": Padded(e.arrays["b.bias"], {0: (0, 1)})})},
            "weights_are_what_is_said_of_the_arrays",
        ),
        (
            {"on_graph": said(stands_for=lambda e: dict(e.stands_for, a="b"))},
            "every_operator_stands_for_one_of_the_original",
        ),
        ({"on_graph": said(channels=lambda e: {})}, "every_operator_stands_for_one_of_the_original"),
        ({"on_network": in_place}, "what_is_edited_stays_as_it_was"),
        ({"trace": lambda module, shape: chain()}, "what_is_built_traces_to_the_same_graph"),
        ({"edits": (Width("a", [0, 1]),)}, "edits_can_be_written_and_read"),  # a list, where a tuple is promised
    ],
)
def test_wrong_edits_are_caught(wrong: dict[str, object], law: str, breaches: Breaches) -> None:
    assert breaches(AnyEdits()) == set()
    assert law in breaches(AnyEdits(**wrong))  # type: ignore[arg-type]
