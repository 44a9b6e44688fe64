"""The laws hold for what is right and name what is wrong: each breach is caught by the law that forbids it."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from chipfit.core.edits import Edit, Precision, Width
from chipfit.core.graph import Graph, Network, Op, op
from chipfit.core.types import Artifact, Candidate, DeviceFacts, Measurement, OpTime, Trial
from chipfit.search.random import Random
from chipfit.space.choices import Choices
from chipfit.testing import DeviceLaws, EditLaws, EvaluatorLaws, SpaceLaws, StrategyLaws

Laws = DeviceLaws | EditLaws | EvaluatorLaws | SpaceLaws | StrategyLaws


def breaches(laws: Laws) -> set[str]:
    """Names of the laws that do not hold."""
    found = set()
    for name in dir(laws):
        if name.startswith("test_"):
            try:
                getattr(laws, name)()
            except pytest.skip.Exception:
                pass
            except Exception:
                found.add(name.removeprefix("test_"))
    return found


def test_the_laws_need_no_framework() -> None:
    code = "import sys, chipfit.testing; sys.exit(any(m in sys.modules for m in ('torch', 'onnx', 'onnxruntime')))"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0


# --- spaces

INNER = Choices({"a": (0, 1, 2), "b": (0, 1, 2)})


@dataclass
class Patched:
    """A right space with one method replaced."""

    wrong: dict[str, Callable]

    def __getattr__(self, name: str) -> object:
        return self.wrong.get(name) or getattr(INNER, name)


class AnySpace(SpaceLaws):
    def __init__(self, **wrong: Callable) -> None:
        self.wrong = wrong

    def space(self) -> Patched:  # type: ignore[override]
        return Patched(self.wrong)


def constant(*_: object) -> Candidate:
    return Candidate({"a": 1, "b": 1})


def outside(*_: object) -> Candidate:
    return Candidate({"a": 1, "b": 1, "c": 1})


def spoilt(genes: np.ndarray) -> Candidate:
    found = INNER.decode(genes)
    genes += 1
    return found


def spoil(candidate: Candidate, *_: object) -> Candidate:
    candidate.values["a"] = (candidate.values["a"] + 1) % 3  # type: ignore[index,operator]
    return constant()


STATE = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ({"sample": constant}, "samples_differ_where_they_can"),
        ({"sample": lambda rng: INNER.sample(STATE)}, "one_seed_gives_one_sequence"),
        ({"sample": outside}, "samples_are_inside"),
        ({"sample": lambda rng: Candidate({"a": 1, "b": (0, math.nan)[0], 3: 1})}, "values_are_plain"),
        ({"encode": lambda c: INNER.encode(c).astype(float)}, "samples_are_inside"),
        ({"encode": lambda c: INNER.encode(c) + 1}, "samples_are_inside"),
        ({"encode": lambda c: INNER.encode(c)[:1]}, "samples_are_inside"),
        ({"decode": spoilt}, "any_genes_are_repaired"),
        ({"mutate": lambda c, rng: c}, "mutation_stays_inside_and_changes_something"),
        ({"mutate": outside}, "mutation_stays_inside_and_changes_something"),
        ({"mutate": spoil}, "mutation_stays_inside_and_changes_something"),
        ({"mutate": lambda c, rng: INNER.mutate(c, STATE)}, "variation_repeats_with_its_seed"),
        ({"cross": outside}, "crossing_stays_inside"),
        ({"cross": spoil}, "crossing_stays_inside"),
        ({"cross": constant}, "crossing_a_candidate_with_itself_gives_it_back"),
    ],
)
def test_a_wrong_space_is_caught(wrong: dict[str, Callable], law: str) -> None:
    assert breaches(AnySpace()) == set()
    assert law in breaches(AnySpace(**wrong))


# --- strategies


class Twice(Random):
    """Forgets what it proposed."""

    def ask(self, n: int) -> list[Candidate]:
        return [self.space.sample(self.rng) for _ in range(n)]


class Deaf(Random):
    """Does not listen to what it is told."""

    def tell(self, trials: Sequence[Trial]) -> None:
        pass


class Hurt(Random):
    """Gives up at the first failed trial."""

    def tell(self, trials: Sequence[Trial]) -> None:
        Random.tell(self, trials)
        if any(t.error for t in trials):
            self._seen.update(self.space.decode(np.array(g)).key for g in np.ndindex(3, 3))


class Greedy(Random):
    """Gives more than was asked for."""

    def ask(self, n: int) -> list[Candidate]:
        return Random.ask(self, n + 1)


class Unsettled(Random):
    """Changes its mind when it is told nothing."""

    def tell(self, trials: Sequence[Trial]) -> None:
        Random.tell(self, trials)
        self.rng.random()


class AnyStrategy(StrategyLaws):
    def __init__(self, make: Callable[[int], Random]) -> None:
        self.make = make

    def strategy(self, seed: int) -> Random:
        return self.make(seed)

    def reply(self, candidate: Candidate) -> Trial:
        return Trial(candidate, (Measurement("damage", 0.0, "counted"),))

    def size(self) -> int:
        return 9


def seeded(kind: type[Random]) -> Callable[[int], Random]:
    return lambda seed: kind(INNER, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("make", "law"),
    [
        (seeded(Twice), "nothing_is_proposed_twice_and_all_is_proposed"),
        (seeded(Deaf), "trials_of_an_earlier_run_are_not_proposed_again"),
        (seeded(Hurt), "failed_trials_are_survived"),
        (seeded(Greedy), "asking_for_nothing_gives_nothing"),
        (seeded(Unsettled), "telling_nothing_changes_nothing"),
        (lambda seed: Random(INNER, STATE), "the_same_replies_give_the_same_proposals"),
        (lambda seed: Random(INNER, np.random.default_rng(0)), "seeds_differ"),
    ],
)
def test_a_wrong_strategy_is_caught(make: Callable[[int], Random], law: str) -> None:
    class Small(AnyStrategy):
        batch = 2  # 9 candidates are more than two batches, so that seeds can differ

    assert breaches(Small(seeded(Random))) == set()
    assert law in breaches(Small(make))


# --- evaluators


def measured(value: float, metric: str = "damage", spread: float = 0.0) -> tuple[Measurement, ...]:
    return (Measurement(metric, value, "counted", spread=spread),)


def evaluate(candidates: Sequence[Candidate]) -> list[Trial]:
    return [
        Trial(c, error="it is broken") if c.values["a"] == 2 else Trial(c, measured(float(c.values["a"])))  # type: ignore[arg-type]
        for c in candidates
    ]


BROKEN = Candidate({"a": 2, "b": 0})


class AnyEvaluator(EvaluatorLaws):
    def __init__(self, call: Callable, broken: Candidate | None = BROKEN) -> None:
        self.call, self.bad = call, broken

    def evaluator(self) -> Callable:  # type: ignore[override]
        return self.call

    def candidates(self) -> list[Candidate]:
        return [Candidate({"a": 0, "b": 0}), Candidate({"a": 1, "b": 0})]

    def broken(self) -> Candidate | None:
        return self.bad


@pytest.mark.parametrize(
    ("call", "law"),
    [
        (lambda cs: evaluate(cs)[::-1], "one_trial_for_each_candidate_in_order"),
        (lambda cs: [Trial(c) for c in cs], "one_trial_for_each_candidate_in_order"),
        (lambda cs: [Trial(c, measured(1.0, "beauty")) for c in cs], "one_trial_for_each_candidate_in_order"),
        (lambda cs: [Trial(c, measured(math.nan)) for c in cs], "one_trial_for_each_candidate_in_order"),
        (lambda cs: [Trial(c, measured(1.0) * 2) for c in cs], "one_trial_for_each_candidate_in_order"),
        (
            lambda cs: [Trial(c, measured(1.0, m)) for c, m in zip(cs, ("damage", "macs"), strict=False)],
            "every_trial_has_the_same_metrics",
        ),
        (lambda cs: evaluate([*cs, *cs[:1]] or [Candidate({"a": 1})]), "no_candidates_give_no_trials"),
        (lambda cs: [Trial(c, measured(STATE.random(), spread=1e-6)) for c in cs], "a_second_look_agrees"),
        (lambda cs: [Trial(c, measured(1.0)) for c in cs], "a_failure_stays_with_its_candidate"),
        (
            lambda cs: evaluate(cs) if len(cs) < 3 else [Trial(c, error="one is broken") for c in cs],
            "a_failure_stays_with_its_candidate",
        ),
    ],
)
def test_a_wrong_evaluator_is_caught(call: Callable, law: str) -> None:
    assert breaches(AnyEvaluator(evaluate)) == set()
    assert law in breaches(AnyEvaluator(call))


def test_an_evaluator_that_cannot_fail_is_not_asked_to() -> None:
    assert breaches(AnyEvaluator(evaluate, broken=None)) == set()
    assert EvaluatorLaws().broken() is None


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
def test_a_wrong_device_is_caught(wrong: dict[str, Callable], law: str) -> None:
    assert breaches(AnyDevice()) == set()
    assert law in breaches(AnyDevice(**wrong))


def test_a_format_without_bytes_cannot_be_broken() -> None:
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


def edit_graph(graph: Graph, edits: Sequence[Edit]) -> Graph:
    widths = {e.group: len(e.keep) for e in edits if isinstance(e, Width)}
    bits = {e.site: e.bits for e in edits if isinstance(e, Precision)}

    def edited(o: Op) -> Op:
        return replace(o, shape=(widths.get(o.name, o.shape[0]),), bits=bits.get(o.name, o.bits))

    return Graph(tuple(edited(o) for o in graph.ops), graph.output)


def edit_network(network: Network, edits: Sequence[Edit]) -> Network:
    weights = dict(network.weights)
    reader = {"a": "b", "b": "c"}
    for e in edits:
        if isinstance(e, Width):
            keep = list(e.keep)
            for name in ("weight", "bias"):
                weights[f"{e.group}.{name}"] = weights[f"{e.group}.{name}"][keep]
            weights[f"{reader[e.group]}.weight"] = weights[f"{reader[e.group]}.weight"][:, keep]
    return Network(edit_graph(network.graph, edits), weights)


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

    def apply_graph(self) -> Callable:
        return self.on_graph


def in_place(network: Network, edits: Sequence[Edit]) -> Network:
    if edits:
        network.weights["a.bias"][:] = 0.0
    return edit_network(network, edits)


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
        ({"on_network": lambda n, es: Network(edit_graph(n.graph, es), n.weights)}, "graph_and_weights_agree"),
        ({"on_network": in_place}, "what_is_edited_stays_as_it_was"),
        ({"trace": lambda module, shape: chain()}, "what_is_built_traces_to_the_same_graph"),
        ({"edits": (Width("a", [0, 1]),)}, "edits_can_be_written_and_read"),  # a list, where a tuple is promised
    ],
)
def test_wrong_edits_are_caught(wrong: dict[str, object], law: str) -> None:
    assert breaches(AnyEdits()) == set()
    assert law in breaches(AnyEdits(**wrong))  # type: ignore[arg-type]
