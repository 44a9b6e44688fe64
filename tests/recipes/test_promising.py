"""Which models are worth a menu: accuracy less what shrinking to the budget is likely to cost."""

from __future__ import annotations

from chipfit.core.graph import Graph, Network, Op
from chipfit.core.types import Artifact, Candidate, Limit, Measurement, Trial
from chipfit.evaluate.screen import Screened
from chipfit.nets.zoo import Entry
from chipfit.recipes.fit import promising

GRAPH = Graph((Op("input", "input", (), (1, 4, 4)), Op("out", "flatten", ("input",), (16,))), "out")


def row(name: str, accuracy: float, ms: float) -> Screened:
    entry = Entry(name, Network(GRAPH, {}), "Apache-2.0", "test")
    values = (Measurement("latency_ms", ms, "measured"), Measurement("accuracy", accuracy, "measured"))
    return Screened(entry, 32, Artifact("onnx", b"", GRAPH), Trial(Candidate({"model": name}), values))


def names(rows: list[Screened], *budgets: float) -> list[str]:
    return [e.name for e in promising(rows, [(Limit("latency_ms", ms),) for ms in budgets])]


ROWS = [row("large", 0.95, 4.0), row("middle", 0.94, 2.0), row("small", 0.92, 0.5)]


def test_the_most_accurate_first_where_all_fit() -> None:
    assert names(ROWS, 5.0) == ["large", "middle", "small"]


def test_a_small_budget_begins_with_small_models() -> None:
    assert names(ROWS, 0.4) == ["small", "middle", "large"]


def test_budgets_take_turns() -> None:
    assert names(ROWS, 5.0, 0.25)[:2] == ["large", "small"]


def test_every_model_stays_in_the_list() -> None:
    assert sorted(names(ROWS, 0.01)) == ["large", "middle", "small"]
    failed = Trial(Candidate({"model": "bad"}), (), "it crashed")
    entry = Entry("bad", Network(GRAPH, {}), "Apache-2.0", "test")
    assert "bad" not in names([*ROWS, Screened(entry, 32, Artifact("onnx", b"", GRAPH), failed)], 5.0)
